"""Recorded starts: reading the files of `tracing`, and comparing the times of one start or several.

A recording is a file of Chrome trace events. Times are in microseconds, as in these events.
"""

import os
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pycachehook.errors import ConfigError, PycacheHookError

from .trace_events import PHASES, events_of

NOT_FOUND = "not found"  # the verdict for a module that no finder knew
_NANOSECONDS = 1000  # in a microsecond


@dataclass
class Import:
    """One import: when it began and ended, its phases by name, and its outcome in the cache.

    `phases` has those of `PHASES` that were measured, without the time of nested imports.
    """

    name: str
    thread: int
    began: float
    ended: float
    phases: dict[str, float] = field(default_factory=dict)
    verdict: str = ""
    place: str = ""
    reason: str = ""
    path: str = ""
    loader: str = ""
    depth: int = 0
    children: list["Import"] = field(default_factory=list)

    @property
    def duration(self) -> float:
        """The time from the search for the module to the end of its body, nested imports included."""
        return self.ended - self.began

    @property
    def own(self) -> float:
        """The duration without that of nested imports."""
        return self.duration - sum(each.duration for each in self.children)


@dataclass
class Process:
    """One process: its imports in the order in which they ended, those that are not nested, and other events."""

    number: int
    command: str
    python: str
    began: float
    ended: float
    imports: list[Import]
    outermost: list[Import]
    collections: list[tuple[float, float]]  # begin and duration of each long one during imports and at exit
    short_collections: tuple[int, float]  # number and duration of the others
    recorded: float  # time at which the recording began
    exit: float | None = None  # time at which the program had ended
    torn_down: float | None = None  # time at which its modules were gone
    measured: bool = False  # whether `began` and `ended` were measured from outside
    frozen: bool = False  # whether `gc = "freeze"` had frozen objects at the exit

    @property
    def duration(self) -> float:
        """The time from the start of the process to its end."""
        return self.ended - self.began

    def phase_sums(self) -> dict[str, float]:
        """Return the time of each phase, summed over all imports."""
        return {phase: sum(each.phases.get(phase, 0.0) for each in self.imports) for phase in PHASES}

    def parts(self) -> dict[str, float]:
        """Return the parts of the process's duration by name; their sum is the duration."""
        imports = sum(each.duration for each in self.outermost if each.thread == self.main_thread)
        end = self.exit if self.exit is not None else self.ended
        parts = {
            "start of the interpreter": self.recorded - self.began,
            "imports": imports,
            "the program between its imports": end - self.recorded - imports,
            "exit": self.ended - end,
        }
        return {name: max(0.0, each) for name, each in parts.items()}

    def collection_sums(self) -> tuple[int, float]:
        """Return the number and the duration of all garbage collections during imports and at exit."""
        count, spent = self.short_collections
        return len(self.collections) + count, sum(time for _, time in self.collections) + spent

    @property
    def main_thread(self) -> int:
        """The thread that imported first."""
        return self.imports[0].thread if self.imports else 0


def read(path: str) -> list[Process]:
    """Return the processes in a recording, a file or a directory of files, in the order in which they began.

    Raises ConfigError if `path` is not a recording.
    """
    try:
        files = [os.path.join(path, name) for name in sorted(os.listdir(path))] if os.path.isdir(path) else [path]
        found = [_by_process(events_of(file)) for file in files if file.endswith(".json")]
    except OSError as error:
        raise ConfigError(f"The recording {path} cannot be read: {error.strerror or error}.") from None
    processes = [_process(number, each) for number, each in _joined(found)]
    if not processes:
        raise ConfigError(
            f"{path} contains no recording: give a file or directory written by `run --trace FILE.json` or PYCACHEHOOK_TRACE."
        )
    return sorted(processes, key=lambda process: process.began)


def _by_process(events: Iterable[Mapping[str, Any]]) -> dict[int, list[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    for event in events:
        found.setdefault(event["pid"], []).append(event)
    return found


def _joined(files: Iterable[Mapping[int, list[Mapping[str, Any]]]]) -> Iterator[tuple[int, list[Mapping[str, Any]]]]:
    """Yield a number and the events of each process. Processes in different files differ, even with the same number.

    Containers number their processes alike. Only an event that was measured from outside belongs to the process in
    another file that has its number and began within its time.
    """
    several = [each for file in files for each in file.items()]
    outside = [(number, events[0]) for number, events in several if [each["name"] for each in events] == ["process"]]
    attached: set[int] = set()
    used: set[int] = set()
    for number, events in sorted(several, key=lambda each: len(each[1]), reverse=True):
        if id(events[0]) in attached:
            continue
        began = min(event["ts"] for event in events)
        for other, whole in outside:
            if other == number and whole is not events[0] and 0 <= began - whole["ts"] <= whole["dur"]:
                events.append(whole)
                attached.add(id(whole))
                break
        free = number if number not in used else max(used) + 1
        used.add(free)
        yield free, events


def _process(number: int, events: Sequence[Mapping[str, Any]]) -> Process:
    marks = {event["name"]: event for event in events if event["cat"] == "process"}
    imports = [_import(event) for event in events if event["cat"] == "import"]
    outermost = list(_nest(imports))
    times = [time for event in events for time in (event["ts"], event["ts"] + event["dur"])]
    whole = marks.get("process")
    short = [event["args"] for event in events if "count" in event["args"]]
    begin: Mapping[str, Any] = marks.get("begin", {"ts": min(times), "args": {}})
    return Process(
        number,
        begin["args"].get("argv", ""),
        begin["args"].get("python", ""),
        whole["ts"] if whole else min(times),
        whole["ts"] + whole["dur"] if whole else max(times),
        imports,
        outermost,
        [(event["ts"], event["dur"]) for event in events if event["cat"] == "gc" and event["name"] == "collection"],
        (sum(each["count"] for each in short), sum(each["spent"] for each in short) / _NANOSECONDS),
        begin["ts"],
        marks["exit"]["ts"] if "exit" in marks else None,
        marks["torn down"]["ts"] if "torn down" in marks else None,
        whole is not None,
        "exit" in marks and "frozen" in marks["exit"]["args"],
    )


def _import(event: Mapping[str, Any]) -> Import:
    arguments = event["args"]
    phases = {name: arguments[name] / _NANOSECONDS for name in PHASES if name in arguments}
    one = Import(event["name"], event["tid"], event["ts"], event["ts"] + event["dur"], phases)
    for name in ("verdict", "place", "reason", "path", "loader"):
        setattr(one, name, str(arguments.get(name, "")))
    if arguments.get("found") == 0:
        one.verdict = NOT_FOUND
    return one


def _nest(imports: Sequence[Import]) -> Iterator[Import]:
    """Add each nested import to its outer one, yield those that are not nested, and compute `execute`."""
    waiting: dict[int, list[Import]] = {}
    for one in imports:  # in the order in which they ended, so nested imports come first
        stack = waiting.setdefault(one.thread, [])
        while stack and stack[-1].began >= one.began:
            one.children.append(stack.pop())
        one.children.reverse()
        stack.append(one)
    for stack in waiting.values():
        yield from stack
        pending = list(stack)
        while pending:
            one = pending.pop()
            for child in one.children:
                child.depth = one.depth + 1
            pending += one.children
            one.phases["execute"] = max(0.0, one.own - sum(one.phases.values()))


@dataclass(frozen=True)
class Difference:
    """A module's own time in two recordings, in microseconds, and the variation between the runs of each."""

    module: str
    before: float
    after: float
    noise: float


@dataclass(frozen=True)
class Comparison:
    """Two recordings of the same program, by module and as a whole; times are medians, in microseconds."""

    before: float
    after: float
    noise: float
    modules: list[Difference]

    @property
    def ratio(self) -> float:
        """The whole time of the second recording divided by that of the first."""
        return self.after / self.before if self.before else 1.0

    def as_dict(self) -> dict[str, object]:
        """Return the JSON object that `--json` prints."""
        modules = [vars(each) for each in self.modules]
        return {
            "before": self.before,
            "after": self.after,
            "noise": self.noise,
            "ratio": self.ratio,
            "modules": modules,
        }


def runs(processes: Sequence[Process]) -> list[Process]:
    """Return the process of each run: those whose duration was measured from outside, or else the first process."""
    whole = [process for process in processes if process.measured]
    return whole or [processes[0]]


def compare(before: Sequence[Process], after: Sequence[Process]) -> Comparison:
    """Compare recordings of one run or several, module by module, the largest difference first.

    The noise of a time is half its interquartile range over the runs, added for both recordings. Raises
    PycacheHookError if a recording has no imports.
    """
    olds, news = runs(before), runs(after)
    if not any(each.imports for each in olds) or not any(each.imports for each in news):
        raise PycacheHookError("There is nothing to compare: a recording has no imports in it.")
    differences = []
    old_times, new_times = _own_times(olds), _own_times(news)
    for name in dict.fromkeys((*old_times, *new_times)):
        old, new = old_times.get(name, []), new_times.get(name, [])
        one = Difference(name, _median(old), _median(new), _noise(old) + _noise(new))
        differences.append(one)
    differences.sort(key=lambda one: -abs(one.after - one.before))
    totals = [[each.duration for each in several] for several in (olds, news)]
    noise = sum(_noise(each) for each in totals)
    return Comparison(_median(totals[0]), _median(totals[1]), noise, differences)


def _own_times(processes: Sequence[Process]) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    for process in processes:
        for one in process.imports:
            times.setdefault(one.name, []).append(one.own)
    return times


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def _noise(values: Sequence[float]) -> float:
    if len(values) < 2:  # noqa: PLR2004 -- one value shows no variation
        return 0.0
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return (third - first) / 2
