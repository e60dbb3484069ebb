"""A model of the time until a fleet's first import, with figures that are measured here.

`python -m tests.benchmarks.fleet` prints the table of `docs/pages/how-to/bundles.md`; `--chart FILE` draws its plot, as the
build of the documentation does.

Assumptions: a server's bandwidth is shared equally by all simultaneous transfers; a node's own link carries at most
`LINK`; verification runs after the transfer, at the measured rate; a metadata server of a shared file system answers
`METADATA` operations per second in total; nodes start within one second, uniformly distributed. Nothing fails.
"""

from __future__ import annotations

import argparse
import math
import random
from dataclasses import dataclass
from pathlib import Path

NODES = (100, 1000, 10_000)
LINK = 1250.0  # MB/s of one node, 10 Gbit/s
REGISTRY = 1250.0  # MB/s of one registry
OBJECT_STORE = 100_000.0  # MB/s of an object store in total
OBJECT_STREAM = 90.0  # MB/s of one connection to an object store
MIRRORS = 16  # children of each node in a tree of mirrors or peers
METADATA = 50_000.0  # operations per second of a shared file system's metadata server
FILE_SYSTEM = 20_000.0  # MB/s that a shared file system reads in total
START_WINDOW = 1.0  # seconds


@dataclass(frozen=True)
class Figures:
    """The measured figures: sizes in MB, `verify` in seconds, system calls of one start.

    `verify` is the time for digests, zstd, signature and index.
    """

    payload: float = 47.1
    environment: float = 9.2
    verify: float = 0.8
    operations: int = 7113


def registry(figures: Figures, nodes: int) -> tuple[float, float]:
    """Return the seconds of a transfer and the MB that one server sends, with one registry for all nodes."""
    return max(figures.payload * nodes / REGISTRY, figures.payload / LINK), figures.payload * nodes


def object_store(figures: Figures, nodes: int) -> tuple[float, float]:
    """Return the same for an object store, which distributes its objects over many servers."""
    each = min(OBJECT_STREAM, OBJECT_STORE / nodes, LINK)
    return figures.payload / each, figures.payload * nodes


def tree(figures: Figures, nodes: int) -> tuple[float, float]:
    """Return the same for mirrors or peers: each one with the complete archive sends it to `MIRRORS` others."""
    levels = math.ceil(math.log(nodes * (MIRRORS - 1) + 1, MIRRORS))
    return levels * figures.payload * MIRRORS / LINK, figures.payload * MIRRORS


def mpi(figures: Figures, nodes: int) -> tuple[float, float]:
    """Return the same for `archive spread`: a binomial broadcast in chunks, which overlap."""
    levels = math.ceil(math.log2(nodes))
    return figures.payload / LINK * 2 + levels * 4 / LINK, figures.payload


def shared_file_system(figures: Figures, nodes: int) -> tuple[float, float]:
    """Return the same for starts that read the environment from a shared file system, without an archive."""
    return (
        nodes * figures.operations / METADATA + nodes * figures.environment / FILE_SYSTEM,
        figures.environment * nodes,
    )


WAYS = {
    "one registry": registry,
    "object store": object_store,
    "mirrors or peers": tree,
    "MPI": mpi,
    "shared file system": shared_file_system,
}


def simulate(figures: Figures, nodes: int, way: str, chance: random.Random) -> tuple[float, float, float]:
    """Return the time to the first import at the 50th and the 99th percentile, and the MB that one server sends."""
    transfer, sent = WAYS[way](figures, nodes)
    verify = 0.0 if way == "shared file system" else figures.verify
    # A node that begins late shares with fewer others; jitter of 10 % of a transfer stands for effects not in the model.
    times = sorted(
        chance.uniform(0, START_WINDOW) + transfer * max(0.1, chance.gauss(0.95, 0.1)) + verify for _ in range(nodes)
    )
    return times[nodes // 2], times[nodes * 99 // 100], sent


def table(figures: Figures) -> str:
    """Return the table, in Markdown."""
    lines = ["| nodes | transfer by | 50 % | 99 % | bytes sent by one server |", "|---|---|---|---|---|"]
    for nodes in NODES:
        for way in WAYS:
            half, most, sent = simulate(figures, nodes, way, random.Random(19))
            lines.append(f"| {nodes:,} | {way} | {half:.1f} s | {most:.1f} s | {sent / 1000:,.2f} GB |")
    return "\n".join(lines)


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 60, 150, 20, 45  # pixels: the whole, and its margins
SECONDS = (1, 10, 100, 1000, 10_000)  # the vertical axis
COLOURS = ("#3572a5", "#d1731c", "#3f8f4a", "#b03a8b", "#777777")


def _x(nodes: float) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * math.log(nodes / NODES[0]) / math.log(NODES[-1] / NODES[0])


def _y(seconds: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * math.log(seconds / SECONDS[0]) / math.log(SECONDS[-1])


def _text(x: float, y: float, text: str, anchor: str = "middle") -> str:
    font = "font-family='system-ui, sans-serif' font-size='12'"
    return f"<text x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}' fill='#777777' {font}>{text}</text>"


def chart(figures: Figures) -> str:
    """Return the plot as SVG: seconds to the first import over nodes, both logarithmic; the line's band is 50 to 99 %."""
    parts = [_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "nodes"), _text(LEFT, TOP - 6, "seconds")]
    for seconds in SECONDS:
        y = _y(seconds)
        parts.append(f"<line x1='{LEFT}' x2='{WIDTH - RIGHT}' y1='{y:.1f}' y2='{y:.1f}' stroke='#77777744'/>")
        parts.append(_text(LEFT - 8, y + 4, f"{seconds:,}", "end"))
    parts += [_text(_x(nodes), HEIGHT - BOTTOM + 18, f"{nodes:,}") for nodes in NODES]
    ends = []
    for way, colour in zip(WAYS, COLOURS, strict=True):
        found = [(_x(nodes), *map(_y, simulate(figures, nodes, way, random.Random(19))[:2])) for nodes in NODES]
        line = " ".join(f"{x:.1f},{half:.1f}" for x, half, _ in found)
        band = " ".join([line, *(f"{x:.1f},{most:.1f}" for x, _, most in reversed(found))])
        parts.append(f"<polygon points='{band}' fill='{colour}' fill-opacity='.3'/>")
        parts.append(f"<polyline points='{line}' fill='none' stroke='{colour}' stroke-width='2'/>")
        ends.append((found[-1][1], way, colour))
    last = float(HEIGHT)
    for y, way, colour in sorted(ends, reverse=True):  # from the bottom up, with room for each name
        last = min(y, last - 14)
        parts.append(_text(WIDTH - RIGHT + 8, last + 4, way, "start").replace("#777777", colour))
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}'>"
        f"<title>Seconds to the first import, by the number of nodes</title>\n{body}\n</svg>\n"
    )


def main() -> None:
    """Print the table for the figures that are given, or draw it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payload", type=float, default=Figures.payload, help="MB that are transferred")
    parser.add_argument(
        "--environment", type=float, default=Figures.environment, help="MB that one start reads without an archive"
    )
    parser.add_argument(
        "--verify", type=float, default=Figures.verify, help="seconds of digests, zstd, signature and index"
    )
    parser.add_argument(
        "--operations", type=int, default=Figures.operations, help="file operations of one start, as strace counts them"
    )
    parser.add_argument("--chart", metavar="FILE", type=Path, help="write the plot there")
    given = parser.parse_args()
    figures = Figures(given.payload, given.environment, given.verify, given.operations)
    if given.chart:
        given.chart.write_text(chart(figures), encoding="utf-8")
    print(table(figures))


if __name__ == "__main__":
    main()
