"""A summary of a recorded start as lines of text: the parts of its time, and how to reduce them."""

from collections import Counter
from collections.abc import Iterator, Sequence

from .trace import PHASES, Import, Process

MOST = 10  # modules in a list of the most expensive
_LEAST = 0.01  # part of the whole start; smaller savings are not reported
# An archive replaces finding, reading and checking by one lookup; see the page on benchmarks.
_ARCHIVE_KEEPS = 0.35
_UNMARSHAL_OF_COMPILE = 0.12  # time to load an entry divided by the time to compile its source
_LARGE_PART = 0.3  # part of the imports' time; a package above it may be worth a late import


def lines(process: Process) -> Iterator[str]:
    """Yield the summary of one process."""
    whole = process.duration
    yield f"{process.command}: {_ms(whole)}, of which"
    for name, time in process.parts().items():
        yield f"  {_ms(time):>10}  {time / whole:4.0%}  {name}"
    sums = process.phase_sums()
    yield "phases of the imports:"
    for phase in PHASES:
        if sums[phase]:
            yield f"  {_ms(sums[phase]):>10}  {sums[phase] / whole:4.0%}  {phase}"
    collections = process.collections
    if collections:
        spent = sum(time for _, time in collections)
        yield f"garbage collections: {len(collections)}, {_ms(spent)} (they are in the parts above)"
    yield from _most("by their own time", process.imports, "own")
    yield from _most("with all that they import", process.imports, "duration")
    missed = Counter(one.reason for one in process.imports if one.verdict == "miss")
    if missed:
        reasons = ", ".join(f"{count} {reason}" for reason, count in missed.most_common())
        yield f"not in the cache: {sum(missed.values())} modules ({reasons})"
    advice = list(advise(process))
    yield "what would help:" if advice else "nothing is left that pycachehook could make shorter by more than 1 %"
    for saving, text in advice:
        yield f"  {_ms(saving):>10}  {text}"
    yield "not known: which modules the program used after it had imported them"


def advise(process: Process) -> list[tuple[float, str]]:
    """Return advice as (expected saving in microseconds, text), the largest saving first."""
    sums = process.phase_sums()
    compiled = [one for one in process.imports if one.verdict == "miss"]
    compiling = sum(one.phases.get(phase, 0.0) for one in compiled for phase in ("compile", "write", "wait"))
    found = [
        (
            compiling - _UNMARSHAL_OF_COMPILE * sums["compile"],
            f"pycachehook precompile ({len(compiled)} modules were compiled)",
        ),
        (_frozen(process), 'gc = "freeze" (collections during imports and at the exit)'),
        (
            (1 - _ARCHIVE_KEEPS) * (sums["find"] + sums["read"] + sums["check"]),
            "an archive (find, read and check)",
        ),
    ]
    return sorted(((saving, text) for saving, text in found if saving > _LEAST * process.duration), reverse=True)


def _frozen(process: Process) -> float:
    """Return the saving of `gc = "freeze"`: the time of collections during imports and at the exit."""
    end = process.exit if process.exit is not None else process.ended
    inside = [time for began, time in process.collections if began >= end or _within(began, process.outermost)]
    return sum(inside)


def _within(time: float, imports: Sequence[Import]) -> bool:
    return any(one.began <= time <= one.ended for one in imports)


def _most(how: str, imports: Sequence[Import], attribute: str) -> Iterator[str]:
    chosen = sorted(imports, key=lambda one: -float(getattr(one, attribute)))[:MOST]
    if chosen:
        yield f"most expensive modules {how}:"
    for one in chosen:
        yield f"  {_ms(getattr(one, attribute)):>10}  {one.name}"


def _ms(microseconds: float) -> str:
    return f"{microseconds / 1000:.1f} ms"
