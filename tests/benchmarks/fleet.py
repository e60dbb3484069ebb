"""A model of the time until a fleet's first import, with figures that are measured here.

`python -m tests.benchmarks.fleet` prints the table of `docs/pages/how-to/bundles.md`.

Assumptions: a server's bandwidth is shared equally by all simultaneous transfers; a node's own link carries at most
`LINK`; verification runs after the transfer, at the measured rate; a metadata server of a shared file system answers
`METADATA` operations per second in total; nodes start within one second, uniformly distributed. Nothing fails.
"""

from __future__ import annotations

import argparse
import math
import random
from dataclasses import dataclass

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

    payload: float
    environment: float
    verify: float
    operations: int


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
    lines = ["| nodes | way | 50 % | 99 % | bytes sent by one server |", "|---|---|---|---|---|"]
    for nodes in NODES:
        for way in WAYS:
            half, most, sent = simulate(figures, nodes, way, random.Random(19))
            lines.append(f"| {nodes:,} | {way} | {half:.1f} s | {most:.1f} s | {sent / 1000:,.2f} GB |")
    return "\n".join(lines)


def main() -> None:
    """Print the table for the given figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--payload", type=float, default=47.1, help="MB that are transferred")
    parser.add_argument("--environment", type=float, default=9.2, help="MB that one start reads without an archive")
    parser.add_argument("--verify", type=float, default=0.8, help="seconds of digests, zstd, signature and index")
    parser.add_argument(
        "--operations", type=int, default=7113, help="file operations of one start, as strace counts them"
    )
    given = parser.parse_args()
    print(table(Figures(given.payload, given.environment, given.verify, given.operations)))


if __name__ == "__main__":
    main()
