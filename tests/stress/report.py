"""The figures of a run, and those among them that are failures."""

from __future__ import annotations

from typing import Any

Figures = dict[str, Any]

SHOWN = 2000  # characters of a problem, of 20 problems at most


def failures(figures: Figures) -> dict[str, int]:
    """Return the number of occurrences of each failure that occurred."""
    counters = figures["counters"]
    counts = {
        "wrong results": counters["wrong"],
        "exceptions": counters["exceptions"] + figures["crashes"],
        "hangs": figures["hangs"],
        "unexplained left-over temporaries": len(figures["left over"]["unexplained"]),
        "problems afterwards": len(figures["problems"]),
    }
    return {name: count for name, count in counts.items() if count}


def table(figures: Figures) -> str:
    """Return the figures as lines of text."""
    counters, left = figures["counters"], figures["left over"]
    misses = list(counters)[list(counters).index("errors") + 1 :]
    head = ("python", "seed", "seconds", "workers", "subject", "modules")
    lines = [", ".join(f"{name} {figures[name]}" for name in head)]
    lines += [
        _line("imports", counters["imports"], _pick(counters, "hits", "compiled", "stored", "errors")),
        _line("misses", sum(counters[name] for name in misses), _pick(counters, *misses)),
        _line("processes", figures["processes"]),
        _line("kills", sum(figures["kills"].values()), figures["kills"]),
        _line("stops", figures["stops"]),
        _line("edits", sum(figures["edits"][name] for name in ("in place", "by rename")), figures["edits"]),
        _line("faults injected", sum(figures["faults"].values()) + counters["limits"]),
        *(f"  {name:<26}{count:>9}" for name, count in figures["faults"].items()),
        f"  {'limit to file sizes':<26}{counters['limits']:>9}",
        *(f"  {name:<26}unavailable: needs {need}" for name, need in figures["unavailable"].items()),
        *(f"  {name:<26}left out" for name in figures["left out"]),
        _line("wrong results", counters["wrong"]),
        _line("exceptions", counters["exceptions"] + figures["crashes"]),
        _line("hangs", figures["hangs"]),
        _line("left-over temporaries", sum(map(len, left.values())), {name: len(left[name]) for name in left}),
        _line("problems afterwards", len(figures["problems"])),
    ]
    lines += [f"{report['kind']} (process {report['pid']}): {report['text']}" for report in figures["reports"]]
    lines += [problem[:SHOWN] for problem in figures["problems"][:20]]
    lines += [f"unexplained: {path}" for path in left["unexplained"]]
    failed = failures(figures)
    lines.append("failed: " + ", ".join(f"{count} {name}" for name, count in failed.items()) if failed else "passed")
    return "\n".join(lines)


def _line(name: str, count: int, parts: dict[str, int] | None = None) -> str:
    detail = f"  ({', '.join(f'{part} {number}' for part, number in parts.items())})" if parts else ""
    return f"{name:<28}{count:>9}{detail}"


def _pick(counters: dict[str, int], *names: str) -> dict[str, int]:
    return {name: counters[name] for name in names}
