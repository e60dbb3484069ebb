"""Counts of modules compiled, loaded from bytecode, and written; and the counts that a variant claims."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass

# The lines of `python -v` for a module compiled, for one from bytecode, and for a pyc written.
_STOCK_COMPILED = re.compile(r"^# code object from (?!')(.+)$", re.MULTILINE)
_STOCK_HIT = re.compile(r"^# code object from '", re.MULTILINE)
_STOCK_STORED = re.compile(r"^# created '.*pyc'$", re.MULTILINE)
_OURS_COMPILED = re.compile(r": miss \([\w-]+\) (.+), compiled")  # in the lines of PYCACHEHOOK_LOG


class ClaimError(AssertionError):
    """A variant did not do what it is measured for."""


@dataclass(frozen=True)
class Counts:
    """Modules from bytecode, `compiled` ones (of `distinct` files), and `stored` ones; over all processes."""

    hits: int
    compiled: int
    stored: int
    distinct: int


@dataclass(frozen=True)
class Claim:
    """A condition on the counts of a variant, without which its figures mean nothing.

    It is checked in `trials` untimed runs.
    """

    text: str
    holds: Callable[[Counts], bool]
    trials: int = 1


WARM = Claim("compiles nothing", lambda counts: counts.compiled == 0)
ONCE = Claim(
    "compiles and stores every file once", lambda counts: counts.compiled == counts.stored == counts.distinct > 0, 3
)


def stock_counts(said: str) -> Counts:
    """Return the counts from the standard error of processes run with `-v`."""
    compiled = _STOCK_COMPILED.findall(said)
    hits, stored = len(_STOCK_HIT.findall(said)), len(_STOCK_STORED.findall(said))
    return Counts(hits, len(compiled), stored, len(set(compiled)))


def our_counts(stats: str, log: str) -> Counts:
    """Return the counts from the files of PYCACHEHOOK_STATS and PYCACHEHOOK_LOG."""
    processes = [json.loads(line) for line in stats.splitlines()]
    hits, compiled, stored = (sum(each[name] for each in processes) for name in ("hits", "compiled", "stored"))
    return Counts(hits, compiled, stored, len(set(_OURS_COMPILED.findall(log))))
