"""The outcomes of a lookup, and the counters of them.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import stat_result

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


class Miss(Exception):  # noqa: N818 -- a normal outcome, not an error
    """Raised by a place without a valid entry: `reason` is one of `REASONS`, `detail` explains it in a few words.

    `source` are the bytes of the source and its status, if they have been read; `location` is the path of the entry, if
    it was computed from them. Compiling the source then needs neither a second time.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail
        self.source: tuple[bytes, stat_result] | None = None
        self.location: str | None = None


class Event:
    """One event of one lookup, passed to the callbacks of `pycachehook.on_event`.

    `event` is one of `EVENTS`. `module` and `path` name the module and its source; both are "" for a fault that belongs
    to no lookup. `place` is one of `PLACES`: for a hit, the one that held the entry, for a stored entry `STORE`, else
    "". `reason` is one of `REASONS` for a miss, a sentence for a fault, else "". `nanoseconds` maps the name of each
    measured phase to its duration.
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
        nanoseconds: "Mapping[str, int] | None" = None,
    ) -> None:
        self.event = event
        self.module = module
        self.path = path
        self.place = place
        self.reason = reason
        self.nanoseconds = {} if nanoseconds is None else dict(nanoseconds)

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
        self.log: Callable[[str], None] | None = None  # called with one line of text
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

    def hit(self, place: str, name: str, path: str) -> None:
        """Count a lookup for which `place` held a valid entry."""
        self.hits_by_place[place] += 1
        if self.log is not None:
            self.log(f"{name}: hit ({place}) {path}")
        if self.listeners:
            self.tell(Event(HIT, name, path, place=place))

    def miss(self, reason: str, name: str, path: str, *, stored: bool) -> None:
        """Count a lookup without a valid entry; the source was compiled, and the result perhaps stored."""
        self.misses[reason] = self.misses.get(reason, 0) + 1
        self.compiled += 1
        self.stored += stored
        if self.log is not None:
            self.log(f"{name}: miss ({reason}) {path}, compiled{' and stored' if stored else ''}")
        if self.listeners:
            self.tell(Event(MISS, name, path, reason=reason))
            self.tell(Event(COMPILED, name, path))
            if stored:
                self.tell(Event(STORED, name, path, place=STORE))

    def fault(self, sentence: str) -> None:
        """Count a fault of the environment that was worked around."""
        self.errors += 1
        if self.log is not None:
            self.log(f"fault: {sentence}")
        if self.listeners:
            self.tell(Event(FAULT, reason=sentence))

    def tell(self, event: Event) -> None:
        """Call each listener with the event, and remove one that raises an `Exception`, so that no import fails for it.

        MemoryError and exceptions that are no `Exception`, such as KeyboardInterrupt, are not the listener's fault and
        are raised.
        """
        for listener in [*self.listeners]:
            try:
                listener(event)
            except MemoryError:
                raise
            except Exception as error:  # noqa: BLE001 -- a function of the program may raise anything
                self.listeners[:] = [kept for kept in self.listeners if kept is not listener]
                if self.log is not None:
                    name = getattr(type(listener), "__name__", "")
                    self.log(f"an event listener (a {name}) raised {type(error).__name__} and is no longer called")

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
