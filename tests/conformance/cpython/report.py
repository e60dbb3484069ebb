"""The printed report about one interpreter, and the results in it that are failures."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .comparison import AGAIN
from .deviations import Deviation
from .suite import ELSEWHERE

Figures = dict[str, Any]


def failures(figures: Figures) -> dict[str, int]:
    """Return the number of occurrences of each failure that occurred."""
    counts = {
        "unlisted differences": sum(len(each["unlisted"]) for each in figures["modules"].values()),
        "listed differences that are none": sum(len(each["no longer"]) for each in figures["modules"].values()),
        "listed differences that their options do not remove": sum(
            len(each["no way back"]) for each in figures["modules"].values()
        ),
        "interpreters without a test package": int(not figures["modules"]),
    }
    return {name: count for name, count in counts.items() if count}


def summary(figures: Figures, deviations: Iterable[Deviation]) -> str:
    """Return the figures of one interpreter as lines of text."""
    modules = figures["modules"]
    lines = [
        "",
        f"Python {figures['python']}, mode {figures['mode']}",
        f"{'':<38}compared  skipped  listed  unlisted  fail in both",
    ]
    rows = {name: _counts(each) for name, each in modules.items()}
    rows["all"] = [sum(column) for column in zip(*rows.values(), strict=True)] or [0] * 5
    lines += [f"{name:<38}{a:>8}{b:>9}{c:>8}{d:>10}{e:>14}" for name, (a, b, c, d, e) in rows.items()]
    lines.append(
        f"(what differs unexpectedly is run alone, {AGAIN} times on both sides, and counts if it differs each time)"
    )
    if figures["no suite"]:
        lines.append(f"this interpreter comes without its test package: {figures['no suite']}")
    lines += [
        f"not in this interpreter's test package: {name}"
        + (f" (part of {ELSEWHERE[name]})" if name in ELSEWHERE else "")
        for name in figures["not there"]
    ]
    found: dict[str, list[str]] = {}
    for each in modules.values():
        for test, what in each["listed"].items():
            found.setdefault(what, []).append(test)
    for deviation in deviations:
        if deviation.what in found:
            lines += ["", f"differ on purpose: {deviation.what}", f"  why: {deviation.reason}"]
            lines += [f"  {test}" for test in found[deviation.what]]
    lines += _listing(modules, "fail in both, pass without a prefix", "fail under any prefix, the hook's or CPython's:")
    lines += _listing(modules, "fail in any case", "fail on this machine with CPython alone, too:")
    lines += _listing(modules, "as without a prefix", "fail under a prefix, and end with the hook as without one:")
    lines += _listing(modules, "unsteady", f"differed once, and agreed when run alone {AGAIN} times, so do not count:")
    lines += _listing(modules, "no longer", "LISTED, BUT DO NOT DIFFER:")
    lines += _listing(modules, "no way back", "LISTED, AND DIFFER UNDER THE OPTIONS GIVEN FOR IT, TOO:")
    lines += _listing(modules, "unlisted", "DIFFER, AND ARE NOT LISTED:")
    failed = failures(figures)
    lines += ["", "failed: " + ", ".join(f"{count} {name}" for name, count in failed.items()) if failed else "passed"]
    return "\n".join(lines)


def _counts(module: Figures) -> list[int]:
    both = len(module["fail in both, pass without a prefix"]) + len(module["fail in any case"])
    return [module["compared"], module["skipped"], len(module["listed"]), len(module["unlisted"]), both]


def _listing(modules: Figures, kind: str, heading: str) -> list[str]:
    lines = []
    for each in modules.values():
        for test in each[kind]:
            lines.append(f"  {test}")
            if isinstance(each[kind], dict):
                shown = each[kind][test]
                lines.append(f"    {shown['difference']}")
                lines += [f"    {name}: {_said(shown[name])}" for name in ("prefix", "hook") if shown[name]]
    return ["", heading, *lines] if lines else []


def _said(text: str) -> str:
    """Return the line of a traceback with the exception."""
    lines = text.strip().splitlines()
    return next((line for line in reversed(lines) if re.match(r"[\w.]+: ", line)), lines[-1])
