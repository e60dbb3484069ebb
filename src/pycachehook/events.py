"""The outcomes of a lookup, and the counters of them.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from .system import BUILTINS, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import stat_result

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

ABSENT = "absent"
STALE_SOURCE = "stale-source"
OTHER_MODE = "other-mode"
WRONG_MAGIC = "wrong-magic"
CORRUPT = "corrupt"
UNTRUSTED = "untrusted"
IO_ERROR = "io-error"
LOCK_TIMEOUT = "lock-timeout"

REASONS = (ABSENT, STALE_SOURCE, OTHER_MODE, WRONG_MAGIC, CORRUPT, UNTRUSTED, IO_ERROR, LOCK_TIMEOUT)

ARCHIVE = "archive"
STORE = "store"
IN_TREE = "in_tree"

PLACES = (ARCHIVE, STORE, IN_TREE)

HIT = "hit"
MISS = "miss"
COMPILED = "compiled"
STORED = "stored"
FAULT = "fault"

EVENTS = (HIT, MISS, COMPILED, STORED, FAULT)

READ, UNMARSHAL, CHECK, WAIT, COMPILE, WRITE = PHASES = ("read", "unmarshal", "check", "wait", "compile", "write")


class Miss(Exception):  # noqa: N818 -- a normal outcome, not an error
    """Raised by a place without a valid entry: `reason` is one of `REASONS`, `detail` explains it in a few words.

    `source` is the pair of the source's bytes and status, if they have been read; `location` is the path of the entry,
    if it was computed from them. Compilation then reads and computes neither again.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.source: tuple[bytes, stat_result] | None = None
        self.location: str | None = None


class Outcome:
    """The result of a lookup.

    `place` is the place that had the code, one of `PLACES`, or "" if none had it. In that case `reason` and `detail`
    are those of the first place with a file, or of a failure to store the compiled code, and `stored` is whether it was
    stored. `source` and `location` are those of the `Miss`.
    """

    __slots__ = ("detail", "location", "place", "reason", "source", "stored")

    def __init__(
        self,
        place: str = "",
        reason: str = "",
        detail: str = "",
        source: "tuple[bytes, stat_result] | None" = None,
        location: str | None = None,
    ) -> None:
        self.place = place
        self.reason = reason
        self.detail = detail
        self.source = source
        self.location = location
        self.stored = False


class Stopwatch:
    """Durations in nanoseconds by phase, for an `Event`: a call ends the phase that it names.

    One is created only if there are listeners.
    """

    __slots__ = ("_began", "nanoseconds")

    def __init__(self) -> None:
        self.nanoseconds: dict[str, int] = {}
        self._began = system.perf_counter_ns()

    def __call__(self, phase: str) -> None:
        """Add the time since the last call, or since the creation, to `phase`."""
        now = system.perf_counter_ns()
        self.nanoseconds[phase] = self.nanoseconds.get(phase, 0) + now - self._began
        self._began = now


class Event:
    """One event of one lookup, passed to the callbacks of `pycachehook.on_event`.

    `event` is one of `EVENTS`. `module` and `path` name the module and its source; both are "" for a fault that belongs
    to no lookup. `place` is one of `PLACES`: for a hit, the one that held the entry, for a stored entry `STORE`, also
    in the event of its miss, else "". `reason` is one of `REASONS` for a miss, a sentence for a fault, else "".
    `nanoseconds` maps the name of each phase of the lookup, of those in `PHASES`, to its duration.
    """

    __slots__ = ("event", "module", "nanoseconds", "path", "place", "reason")

    def __init__(
        self,
        event: str,
        module: str = "",
        path: str = "",
        *,
        place: str = "",
        reason: str = "",
        nanoseconds: "dict[str, int] | None" = None,
    ) -> None:
        self.event = event
        self.module = module
        self.path = path
        self.place = place
        self.reason = reason
        self.nanoseconds = {} if nanoseconds is None else nanoseconds  # the events of one lookup have the same

    def __repr__(self) -> str:
        fields = ((name, getattr(self, name)) for name in ("module", "path", "place", "reason", "nanoseconds"))
        return f"<pycachehook.Event {self.event}{''.join(f' {name}={value!r}' for name, value in fields if value)}>"


# The callbacks of this process. The `Stats` of the installed hook calls them for each event.
process_listeners: "list[Callable[[Event], object]]" = []


class Stats:
    """The counters of one process.

    `hits_by_place` counts the lookups that found a valid entry, by place; `misses` counts the others, by reason.
    `compiled` is the number of files compiled, `stored` the number of entries written, `errors` the number of faults
    that were worked around, `shared_bytes` the size of all entries loaded from a shared store. Each callable in
    `listeners` is called with an `Event`; where there are no listeners, no event is created.
    """

    __slots__ = ("compiled", "errors", "hits_by_place", "listeners", "log", "misses", "shared_bytes", "stored")

    def __init__(self, listeners: "list[Callable[[Event], object]] | None" = None) -> None:
        self.log: Callable[[Event], object] | None = None  # a listener of these counters alone: PYCACHEHOOK_LOG
        self.listeners: list[Callable[[Event], object]] = [] if listeners is None else listeners
        self.reset()

    def reset(self) -> None:
        """Set every counter to zero, as is done in a forked child."""
        self.hits_by_place = dict.fromkeys(PLACES, 0)
        self.misses: dict[str, int] = {}
        self.compiled = 0
        self.stored = 0
        self.errors = 0
        self.shared_bytes = 0

    def add(self, other: "Stats") -> None:
        """Add the counters of `other` to these."""
        for mine, more in ((self.hits_by_place, other.hits_by_place), (self.misses, other.misses)):
            for name, count in more.items():
                mine[name] = mine.get(name, 0) + count
        self.compiled += other.compiled
        self.stored += other.stored
        self.errors += other.errors
        self.shared_bytes += other.shared_bytes

    @property
    def hits(self) -> int:
        """The number of lookups that found a valid entry, over all places."""
        return sum(self.hits_by_place.values())

    def hit(self, place: str, name: str, path: str, watch: "Stopwatch | None" = None) -> None:
        """Count a lookup for which `place` held a valid entry."""
        self.hits_by_place[place] += 1
        if self.listeners or self.log is not None:
            self.tell(Event(HIT, name, path, place=place, nanoseconds=None if watch is None else watch.nanoseconds))

    def miss(self, reason: str, name: str, path: str, *, stored: bool, watch: "Stopwatch | None" = None) -> None:
        """Count a lookup without a valid entry; the source was compiled, and the result perhaps stored."""
        self.misses[reason] = self.misses.get(reason, 0) + 1
        self.compiled += 1
        self.stored += stored
        if self.listeners or self.log is not None:
            times = None if watch is None else watch.nanoseconds
            self.tell(Event(MISS, name, path, place=STORE if stored else "", reason=reason, nanoseconds=times))
            self.tell(Event(COMPILED, name, path, nanoseconds=times))
            if stored:
                self.tell(Event(STORED, name, path, place=STORE, nanoseconds=times))

    def count(self, outcome: Outcome, name: str, path: str, watch: "Stopwatch | None" = None) -> None:
        """Count the outcome of a lookup."""
        if outcome.place:
            self.hit(outcome.place, name, path, watch)
        else:
            self.miss(outcome.reason, name, path, stored=outcome.stored, watch=watch)

    def fault(self, sentence: str) -> None:
        """Count a fault of the environment that was worked around."""
        self.errors += 1
        if self.listeners or self.log is not None:
            self.tell(Event(FAULT, reason=sentence))

    def tell(self, event: Event) -> None:
        """Call each listener with the event, and remove one that raises an `Exception`, so that no import fails for it.

        MemoryError and exceptions that are no `Exception`, such as KeyboardInterrupt, are not the listener's fault and
        are raised.
        """
        if self.log is not None:
            self.log(event)
        for listener in [*self.listeners]:
            try:
                listener(event)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 -- a function of the program may raise anything
                self.listeners[:] = [kept for kept in self.listeners if kept is not listener]
                name = getattr(type(listener), "__name__", "")
                if self.log is not None:
                    sentence = f"an event listener (a {name}) raised {type(error).__name__} and is no longer called"
                    self.log(Event(FAULT, reason=sentence))

    def __repr__(self) -> str:
        return f"<pycachehook.Stats {self.as_dict()}>"

    def as_dict(self) -> dict[str, object]:
        """Return the counters under the names that `PYCACHEHOOK_STATS` writes."""
        shared = {"shared_bytes": self.shared_bytes} if self.shared_bytes else {}
        return {
            "hits": self.hits,
            "hits_by_place": dict(self.hits_by_place),
            "compiled": self.compiled,
            "stored": self.stored,
            "misses": dict(self.misses),
            "errors": self.errors,
            **shared,
        }
