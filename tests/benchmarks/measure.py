"""Time whole processes, the variants in turn, and compare them pair by pair.

One round takes each variant once, every other round in the opposite order, so that a slowdown of the machine affects
all variants. A ratio is taken within a round, from two samples close in time; the reported value is the median of these
ratios over the rounds, with their quartiles. A first round warms up, and is not counted.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from .counts import WARM, Claim, ClaimError, Counts, our_counts, stock_counts

Record = dict[str, str | int | float]
Condition = Callable[[], AbstractContextManager[object]]

MILLISECONDS = 1000.0  # in a second
STEERING = ("PYTHON", "PYCACHEHOOK_")  # prefixes of environment variables that configure Python or this project


class Skipped(Exception):  # noqa: N818 -- no error: the measurement is not possible here
    """A measurement is not possible on this machine; the message says why."""


@dataclass(frozen=True)
class Sample:
    """One run of a variant: `wall` and `cpu` (user and system, summed over its processes), in seconds."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Variant:
    """One way to start a program: `processes` of them at once, in the directory `cwd`.

    `condition` is entered before, and left after, each run, untimed. `hooked` says whether the hook or Python counts.
    """

    name: str
    python: Path
    code: str
    cwd: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    processes: int = 1
    condition: Condition = nullcontext
    claim: Claim | None = None
    hooked: bool = False


Series = dict[str, list[Sample]]  # by the variant's name, one for each round


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without variables that configure Python or this project."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith(STEERING)}, **extra}


def sample(variant: Variant) -> Sample:
    """Run the variant once, from the first spawn to the last exit; raises CalledProcessError if a process fails."""
    environment = clean_environment(**variant.environment)
    with variant.condition():
        before = Priority.before_exec() if variant.processes == 1 else None
        began = time.perf_counter()
        children = [_start(variant, environment, before=before) for _ in range(variant.processes)]
        cpu = _wait(children)
        return Sample(time.perf_counter() - began, cpu)


class Priority:
    """Whether single processes are started with the scheduler's real-time priority, so that others do not delay them.

    The priority is not inherited. The kernel interrupts such processes if they take a processor for a whole second;
    therefore there is a pause before each.
    """

    real_time = False
    pause = 0.05  # seconds

    @classmethod
    def before_exec(cls) -> Callable[[], None] | None:
        """Return the function to call in the child, after the pause, or None."""
        if not cls.real_time:
            return None
        time.sleep(cls.pause)
        return cls._raise

    @staticmethod
    def _raise() -> None:
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO)))


def _start(
    variant: Variant,
    environment: Mapping[str, str],
    *options: str,
    stderr: IO[str] | None = None,
    before: Callable[[], None] | None = None,
) -> subprocess.Popen[bytes]:
    command: list[str | Path] = [variant.python, *options, "-c", variant.code]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        command,
        env=environment,
        cwd=variant.cwd,
        stdin=quiet,
        stdout=quiet,
        stderr=stderr,
        preexec_fn=before,  # noqa: PLW1509 -- there are no threads here
    )


def _wait(children: Sequence[subprocess.Popen[bytes]]) -> float:
    """Return the sum of the children's processor times, in seconds, after all have ended successfully."""
    cpu = 0.0
    for child in children:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        cpu += usage.ru_utime + usage.ru_stime
    for child in children:
        if child.returncode:
            raise subprocess.CalledProcessError(child.returncode, child.args)
    return cpu


def count(variant: Variant) -> Counts:
    """Run the variant once, untimed and verbose: with `-v`, or with the hook's counters and log."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        stats = Path(folder, "stats")
        outputs = [
            stack.enter_context(Path(folder, f"{number}").open("w+", errors="replace"))
            for number in range(variant.processes)
        ]
        extra = {"PYCACHEHOOK_STATS": str(stats), "PYCACHEHOOK_LOG": "stderr"} if variant.hooked else {}
        environment = clean_environment(**{**variant.environment, **extra})  # in place of a file of its own
        options = () if variant.hooked else ("-v",)
        with variant.condition():
            _wait([_start(variant, environment, *options, stderr=output) for output in outputs])
        said = "".join(Path(output.name).read_text(errors="replace") for output in outputs)
        return our_counts(stats.read_text(), said) if variant.hooked else stock_counts(said)


def check(variant: Variant) -> Counts:
    """Return the variant's counts; raises ClaimError if its claim fails in all trials."""
    claim = variant.claim
    if claim is None:
        return count(variant)
    for _ in range(claim.trials):
        counts = count(variant)
        if not claim.holds(counts):
            raise ClaimError(f"{variant.name} {claim.text}, or should: {counts}")
    return counts


def interleave(variants: Sequence[Variant], rounds: int, take: Callable[[Variant], Sample] = sample) -> Series:
    """Return the samples of each variant, one for each round, as returned by `take`."""
    series: Series = {variant.name: [] for variant in variants}
    for number in range(rounds + 1):
        for variant in variants[:: -1 if number % 2 else 1]:
            taken = take(variant)
            if number:  # the first warms up
                series[variant.name].append(taken)
    return series


def ratios(series: Series, name: str, baseline: str, unit: str = "wall") -> list[float]:
    """Return the ratios of a variant's times to the baseline's, round by round; `unit` is "wall" or "cpu"."""
    pairs = zip(times(series, name, unit), times(series, baseline, unit), strict=True)
    return [one / other for one, other in pairs]


def times(series: Series, name: str, unit: str) -> list[float]:
    """Return a variant's times in seconds, one for each round; `unit` is "wall" or "cpu"."""
    return [each.wall if unit == "wall" else each.cpu for each in series[name]]


def median_ms(series: Series, name: str, unit: str = "wall") -> float:
    """Return the median time of a variant in milliseconds."""
    return MILLISECONDS * statistics.median(times(series, name, unit))


def spread(values: Sequence[float]) -> str:
    """Return the first and third quartile as text."""
    first, _, third = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    return f"{first:.2f}-{third:.2f}"


@dataclass(frozen=True)
class Measurement:
    """The result of a measurement: tables by their headings, and the samples (seconds) by case and variant."""

    tables: dict[str, list[Record]]
    samples: dict[str, Series]


def measure(
    cases: Mapping[str, Sequence[Variant]],
    rounds: int,
    *baselines: str,
    take: Callable[[Variant], Sample] = sample,
) -> Measurement:
    """Time the variants of each case against the variants named as baselines, after a check of their claims."""
    rows: list[Record] = []
    samples: dict[str, Series] = {}
    for case, variants in cases.items():
        print(f"  {case}", file=sys.stderr)
        for variant in variants:
            if variant.claim is WARM:
                sample(variant)  # fills its cache
        counts = {variant.name: check(variant) for variant in variants}
        samples[case] = interleave(variants, rounds, take)
        rows += [_row(case, samples[case], name, baselines, counts[name]) for name in samples[case]]
    return Measurement({"median times, and medians of ratios (iqr: their quartiles)": rows}, samples)


def _row(case: str, series: Series, name: str, baselines: Sequence[str], counts: Counts) -> Record:
    row: Record = {"case": case, "variant": name}
    row |= {f"{unit} ms": median_ms(series, name, unit) for unit in ("wall", "cpu")}
    for baseline in baselines:
        found = ratios(series, name, baseline)
        row |= {f"wall/{baseline}": statistics.median(found), f"iqr/{baseline}": spread(found)}
        row[f"cpu/{baseline}"] = statistics.median(ratios(series, name, baseline, "cpu"))
    return row | {"hits": counts.hits, "compiled": counts.compiled, "stored": counts.stored}


def means(samples: Mapping[str, Series], baselines: Sequence[str]) -> list[Record]:
    """Return the geometric mean over the cases of each variant's median ratios, one row for each variant."""
    return [
        {"variant": name}
        | {
            f"{unit}/{baseline}": statistics.geometric_mean(
                statistics.median(ratios(series, name, baseline, unit)) for series in samples.values()
            )
            for baseline in baselines
            for unit in ("wall", "cpu")
        }
        for name in next(iter(samples.values()))
    ]
