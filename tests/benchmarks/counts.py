"""What processes did, in numbers: modules compiled, taken from bytecode, written; and what a variant claims of them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

# What `python -v` says of a module compiled, of one from bytecode, and of a pyc written.
_STOCK_COMPILED = re.compile(r"^# code object from (?!')(.+)$", re.MULTILINE)
_STOCK_HIT = re.compile(r"^# code object from '", re.MULTILINE)
_STOCK_STORED = re.compile(r"^# created '.*pyc'$", re.MULTILINE)
_OURS_COMPILED = re.compile(r": miss \([\w-]+\) (.+), compiled")  # in the lines of PYCACHEHOOK_LOG


class ClaimError(AssertionError):
    """A variant did not do what it is measured for."""


@dataclass(frozen=True)
class Counts:
    """Modules that came from bytecode, were `compiled` (so many `distinct` files), and `stored`; over all processes."""

    hits: int
    compiled: int
    stored: int
    distinct: int


@dataclass(frozen=True)
class Claim:
    """What the counts of a variant must be for its figures to mean anything, tried `trials` times, untimed."""

    text: str
    holds: Callable[[Counts], bool]
    trials: int = 1


WARM = Claim("compiles nothing", lambda counts: counts.compiled == 0)
ONCE = Claim(
    "compiles and stores every file once", lambda counts: counts.compiled == counts.stored == counts.distinct > 0, 3
)


def stock_counts(said: str) -> Counts:
    """Return what processes under `-v` wrote to standard error, in numbers."""
    compiled = _STOCK_COMPILED.findall(said)
    hits, stored = len(_STOCK_HIT.findall(said)), len(_STOCK_STORED.findall(said))
    return Counts(hits, len(compiled), stored, len(set(compiled)))


def our_counts(stats: str, log: str) -> Counts:
    """Return what processes wrote to the files of PYCACHEHOOK_STATS and PYCACHEHOOK_LOG, in numbers."""
    processes = [json.loads(line) for line in stats.splitlines()]
    hits, compiled, stored = (sum(each[name] for each in processes) for name in ("hits", "compiled", "stored"))
    return Counts(hits, compiled, stored, len(set(_OURS_COMPILED.findall(log))))
