"""Compare the hook with CPython under a cache prefix, module by module and test by test."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .deviations import Deviation
from .environments import HOOK, PLAIN, PREFIX
from .runs import SKIPPED, Outcome, Outcomes

AGAIN = 3  # runs of a test alone, on both sides, before an unexpected outcome counts

ABSENT = Outcome("absent")

Say = Callable[[str], object]


class Run(Protocol):
    """Runs a module of the suite, or single tests of it, and returns the outcomes on each of the given sides."""

    def __call__(
        self, module: str, sides: Collection[str], tests: Collection[str] = ..., options: Mapping[str, str] = ...
    ) -> Sequence[Outcomes]:
        """Run the tests; `options` are those of the hook."""


@dataclass(frozen=True)
class Difference:
    """The outcome of a test with a cache prefix, and its outcome with the hook."""

    prefix: Outcome
    hook: Outcome

    def __str__(self) -> str:
        return f"prefix: {self.prefix}; hook: {self.hook}"


Differences = dict[str, Difference]


@dataclass
class Result:
    """The results of the tests of a module.

    `compared` tests ran on both sides, and `skipped` ones on neither. `differ` differed in every run; `unsteady`
    differed once, and had the same outcome when they were run alone. `fail_in_both` says whether CPython passes them
    without a prefix. `as_plain` fail under a prefix alone: with the hook they end as with CPython without one, because
    the hook restores the prefix for programs that write bytecode into source trees.
    """

    compared: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    differ: Differences = field(default_factory=dict)
    unsteady: Differences = field(default_factory=dict)
    fail_in_both: dict[str, bool] = field(default_factory=dict)
    as_plain: list[str] = field(default_factory=list)
    no_way_back: Differences = field(default_factory=dict)


def compare(run: Run, module: str, listed: Mapping[str, Deviation], say: Say) -> Result:
    """Run a module on both sides, run tests with unexpected outcomes alone, and report them to `say`.

    A test in `listed` is expected to differ, except with the options that its deviation names; no other test may
    differ.
    """
    say(f"{module}: on both sides")
    prefix, hook = run(module, (PREFIX, HOOK))
    found = differences(prefix, hook)
    result = Result()
    for test, outcome in hook.items():
        kept = result.skipped if outcome.word == SKIPPED and test not in found else result.compared
        kept.append(test)
    result.compared += [test for test in prefix if test not in hook]
    better = [
        test for test, pair in found.items() if test not in listed and not pair.prefix.is_good and pair.hook.is_good
    ]
    if better:
        say(f"{module}: {len(better)} that fail under a prefix alone, without one")
        (plain,) = run(module, (PLAIN,), better)
        result.as_plain = [test for test in better if plain.get(test, ABSENT) == found[test].hook]
        found = {test: pair for test, pair in found.items() if test not in result.as_plain}
    surprising = [test for test in result.compared if (test in found) != (test in listed)]
    result.differ = {test: each for test, each in found.items() if test not in surprising}
    for test in surprising:
        say(f"{module}: {test} alone, {AGAIN} times")
        rounds = [differences(*run(module, (PREFIX, HOOK), [test])) for _ in range(AGAIN)]
        if all(test in each for each in rounds):
            result.differ[test] = rounds[-1][test]
        elif test in found or any(test in each for each in rounds):
            result.unsteady[test] = found.get(test) or next(each[test] for each in rounds if test in each)
    failing = [test for test, outcome in hook.items() if not outcome.is_good and test not in found]
    if failing:
        say(f"{module}: {len(failing)} that fail on both sides, without a prefix")
        (plain,) = run(module, (PLAIN,), failing)
        result.fail_in_both = {test: plain.get(test, ABSENT).is_good for test in failing}
    for deviation in dict.fromkeys(listed.values()):
        expected = {test: each.prefix for test, each in result.differ.items() if listed.get(test) is deviation}
        if expected:
            say(f"{module}: {len(expected)} that are listed, with {dict(deviation.options)}")
            (again,) = run(module, (HOOK,), list(expected), deviation.options)
            result.no_way_back |= differences(expected, {test: again[test] for test in expected if test in again})
    return result


def differences(prefix: Outcomes, hook: Outcomes) -> Differences:
    """Return the tests whose outcomes differ, or that only one side has."""
    pairs = {test: Difference(prefix.get(test, ABSENT), hook.get(test, ABSENT)) for test in prefix | hook}
    return {test: pair for test, pair in pairs.items() if pair.prefix != pair.hook}
