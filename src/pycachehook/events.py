"""The words for what a lookup can come to, and the counters that listen to them.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

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


class Miss(Exception):  # noqa: N818 -- the word of the field: no error, but a place's answer
    """A place's answer when it has no valid entry: `reason` is one of `REASONS`, `detail` a few words more."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class Stats:
    """The counters of one process.

    `hits_by_place` counts lookups that an entry answered, `misses` those that none did, by reason; `compiled` the
    files compiled, `stored` the entries written, `errors` the faults met on the way, `shared_bytes` the bytes of all
    shared entries that were loaded.
    """

    __slots__ = ("compiled", "errors", "hits_by_place", "log", "misses", "shared_bytes", "stored")

    def __init__(self) -> None:
        self.log: Callable[[str], None] | None = None  # takes one line of text
        self.reset()

    def reset(self) -> None:
        """Set every counter to zero, as a forked child must."""
        self.hits_by_place = dict.fromkeys(PLACES, 0)
        self.misses: dict[str, int] = {}
        self.compiled = 0
        self.stored = 0
        self.errors = 0
        self.shared_bytes = 0

    @property
    def hits(self) -> int:
        """Lookups that an entry answered, over all places."""
        return sum(self.hits_by_place.values())

    def hit(self, place: str, name: str, path: str) -> None:
        """Count a lookup that `place` answered."""
        self.hits_by_place[place] += 1
        if self.log is not None:
            self.log(f"{name}: hit ({place}) {path}")

    def miss(self, reason: str, name: str, path: str, *, stored: bool) -> None:
        """Count a lookup that no place answered, so that the source was compiled, and perhaps stored."""
        self.misses[reason] = self.misses.get(reason, 0) + 1
        self.compiled += 1
        self.stored += stored
        if self.log is not None:
            self.log(f"{name}: miss ({reason}) {path}, compiled{' and stored' if stored else ''}")

    def fault(self, sentence: str) -> None:
        """Count a fault of the environment that was met by going on without."""
        self.errors += 1
        if self.log is not None:
            self.log(f"fault: {sentence}")

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
