"""A summary of a recorded start as lines of text: the parts of its time, and how to reduce them."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from pycachehook.events import ARCHIVE

from .trace import Import, Process
from .trace_events import PHASES

MOST = 10  # modules in a list of the most expensive
_LEAST = 0.01  # part of the whole start; smaller savings are not reported

# Estimates of what remains if the advice is followed. `python -m tests.benchmarks --only advice` compares them with
# measured savings.
_UNMARSHAL_OF_COMPILE = 0.12  # time to load an entry divided by the time to compile its source
_LEAST_OF_ARCHIVE = 0.1  # part of the whole start that an archive must be able to save at most
_EXIT_OF_FROZEN = 0.1  # time of the exit with frozen objects, divided by that without
_LONG_START = 25  # modules that one import must execute for `gc = "freeze"` to freeze anything


def lines(process: Process) -> Iterator[str]:
    """Yield the summary of one process."""
    whole = process.duration or 1.0  # a damaged recording may have no time in it
    yield f"{process.command}: {_ms(whole)}, of which"
    for name, time in process.parts().items():
        yield f"  {_ms(time):>10}  {time / whole:4.0%}  {name}"
    sums = process.phase_sums()
    yield "phases of the imports:"
    for phase in PHASES:
        if sums[phase]:
            yield f"  {_ms(sums[phase]):>10}  {sums[phase] / whole:4.0%}  {phase}"
    count, spent = process.collection_sums()
    if count:
        yield f"garbage collections during imports and at exit: {count}, {_ms(spent)} (they are in the parts above)"
    yield from _most("by their own time", process.imports, "own")
    yield from _most("with all that they import", process.imports, "duration")
    missed = Counter(one.reason for one in process.imports if one.verdict == "miss")
    if missed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in missed.most_common())
        yield f"not in the cache: {_modules(sum(missed.values()))} ({reasons})"
    advice = list(advise(process))
    yield "what would help:" if advice else "nothing is left that pycachehook could make shorter by more than 1 %"
    for one in advice:
        yield f"  {_ms(one.saving) if one.known else 'not known':>10}  {one.text}"
    yield "not known: which modules the program used after it had imported them (see `run --lazy`, from Python 3.15 on)"


class Advice(NamedTuple):
    """What would make a start shorter: the saving in microseconds, and a sentence; `kind` is a word for programs.

    If the saving is not `known`, it is at most that.
    """

    saving: float
    kind: str
    text: str
    known: bool = True


def advise(process: Process, least: float = _LEAST) -> list[Advice]:
    """Return advice, the largest saving first, without savings below this part of the process's duration."""
    sums = process.phase_sums()
    hits = [one for one in process.imports if one.verdict == "hit" and one.place != ARCHIVE]
    compiled = [one for one in process.imports if one.verdict == "miss"]
    compiling = sum(one.phases.get(phase, 0.0) for one in compiled for phase in ("compile", "write", "wait"))
    of_hits = sum(one.phases.get(phase, 0.0) for one in hits for phase in ("find", "read", "check"))
    found = [
        Advice(
            compiling - _UNMARSHAL_OF_COMPILE * sums["compile"],
            "precompile",
            f"pycachehook precompile ({_modules(len(compiled))} {'was' if len(compiled) == 1 else 'were'} compiled)",
        ),
        Advice(_frozen(process), "freeze", 'gc = "freeze" (collections during imports, and the exit)'),
        Advice(
            of_hits,
            "archive",
            f"an archive with unchecked-hash (less than the {_ms(of_hits)} of find, read and check)",
            known=False,
        ),
    ]
    limits = {"archive": max(least, _LEAST_OF_ARCHIVE)}
    return sorted((one for one in found if one.saving > limits.get(one.kind, least) * process.duration), reverse=True)


def _frozen(process: Process) -> float:
    """Return the saving of `gc = "freeze"`: of the collections during imports, and of the exit."""
    if process.frozen or max((_size(one) for one in process.outermost), default=0) < _LONG_START:
        return 0.0
    end = process.exit if process.exit is not None else process.ended
    inside = sum(time for began, time in process.collections if began < end) + process.short_collections[1]
    if process.exit is None or process.torn_down is None:
        return inside
    # After the modules, the interpreter frees the rest, which takes as long; seen only from outside.
    left = process.ended if process.measured else 2 * process.torn_down - process.exit
    return inside + (1 - _EXIT_OF_FROZEN) * (left - process.exit)


def _size(outer: Import) -> int:
    """Return the number of modules that an import executed from sources or bytecode."""
    pending, count = [outer], 0
    while pending:
        one = pending.pop()
        count += bool(one.verdict)
        pending += one.children
    return count


def _most(how: str, imports: Sequence[Import], attribute: str) -> Iterator[str]:
    chosen = sorted(imports, key=lambda one: -float(getattr(one, attribute)))[:MOST]
    if chosen:
        yield f"most expensive modules {how}:"
    for one in chosen:
        yield f"  {_ms(getattr(one, attribute)):>10}  {one.name}"


def _modules(number: int) -> str:
    return f"{number} module{'' if number == 1 else 's'}"


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.1f} ms"
