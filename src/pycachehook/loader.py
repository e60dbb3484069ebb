"""The loader: `get_code` in three short steps, and everything else as `SourceFileLoader` has it.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from ._compat import SOURCE_TO_CODE_TAKES_NAME, SourceFileLoader, finished_module, hidden_from_tracebacks
from .events import ABSENT, IO_ERROR, LOCK_TIMEOUT, Miss, Stats
from .store import Source, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, ModuleType

    from .store import InTree

    Rule = tuple[Callable[[str], bool], "Policy | None"]


class Policy:
    """The places for some sources, in the order in which they are asked, and the store that a new entry goes to."""

    __slots__ = ("places", "stats", "store")

    def __init__(self, places: "tuple[Store | InTree, ...]", store: Store | None, stats: Stats) -> None:
        self.places = places
        self.store = store
        self.stats = stats

    def look_up(self, path: str) -> "tuple[CodeType | None, str]":
        """Return `(code, place)`; or `(None, reason)`, the reason of the first place that held anything.

        A store that holds an entry with a defect is not passed over: what follows is compiled, and replaces it.
        """
        reason = ABSENT
        for place in self.places:
            try:
                return place.find(path), place.name
            except Miss as miss:
                if reason == ABSENT:
                    reason = miss.reason
                if miss.reason != ABSENT and place.heals:
                    break
            except OSError:  # the source cannot be read: the loader will say so
                return None, IO_ERROR
        return None, reason


class Policies:
    """The policy for every source. Emptied by `uninstall`, and then loaders do as the stock loader does."""

    __slots__ = ("default", "rules")

    def __init__(self) -> None:
        self.default: Policy | None = None
        self.rules: tuple[Rule, ...] = ()

    def replace(self, default: Policy | None, rules: "tuple[Rule, ...]" = ()) -> None:
        """Put other policies in force; `rules` are pairs of a predicate on paths and a policy, or None for "not ours"."""
        self.default, self.rules = default, rules

    def of(self, path: str) -> Policy | None:
        """Return the policy for the source at `path`: the first rule's that matches, or the default; None: not ours."""
        for matches, policy in self.rules:
            if matches(path):
                return policy
        return self.default


_STOCK = Policies()  # nothing is ours


class CachingLoader(SourceFileLoader):
    """A `SourceFileLoader` whose bytecode comes from, and goes to, the places that the policy for its path names.

    It is a subclass because pytest, importlib.resources and others ask for one. It pickles as a stock loader, equals
    one of the same module, and is one if made by a tool that knows of no policies.
    """

    __slots__ = ("_policies",)

    def __init__(self, fullname: str, path: str, policies: Policies = _STOCK) -> None:
        self.name = fullname
        self.path = path
        self._policies = policies

    def __eq__(self, other: object) -> bool:
        return type(other) in (CachingLoader, SourceFileLoader) and self.__dict__ == other.__dict__

    __hash__ = SourceFileLoader.__hash__

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return SourceFileLoader, (self.name, self.path)

    @hidden_from_tracebacks
    def get_code(self, fullname: str) -> "CodeType | None":
        """Return the module's code object: from the first place with a valid entry, or compiled, and then stored.

        Raises what the stock loader raises: ImportError for another module's name, OSError for a source that cannot
        be read, SyntaxError and its like for one that does not compile. Nothing about the cache raises.
        """
        path = self.path if fullname == self.name else self.get_filename(fullname)  # which raises
        policies = self._policies
        policy = policies.of(path) if policies.rules else policies.default
        if policy is None:
            return SourceFileLoader.get_code(self, fullname)
        code, outcome = policy.look_up(path)
        if code is None:
            return self._fill(fullname, Source(path), policy, outcome)
        policy.stats.hit(outcome, fullname, path)
        return code

    @hidden_from_tracebacks
    def _fill(self, fullname: str, source: Source, policy: Policy, reason: str) -> "CodeType":
        """Compile the source and store the entry, unless another process does so meanwhile."""
        store = policy.store
        writer = finished_module("pycachehook.writer") if store is not None and store.heals else None
        if store is None or writer is None:
            code = self._compile(fullname, source)
            policy.stats.miss(reason, fullname, source.path, stored=False)
            return code
        _read(source)  # while there is a file descriptor for it: the lock will take one
        with writer.SingleFlight(store.directory, store.path(source.path), policy.stats) as flight:
            entry = _found_meanwhile(store, source) if flight.may_write else None
            if entry is not None:
                policy.stats.hit(store.name, fullname, source.path)
                return entry
            code = self._compile(fullname, source)
            stored = flight.may_write and _write(writer, policy, store, source, code)
        policy.stats.miss(LOCK_TIMEOUT if flight.timed_out else reason, fullname, source.path, stored=stored)
        return code

    @hidden_from_tracebacks
    def _compile(self, fullname: str, source: Source) -> "CodeType":
        data = _read(source)
        if data is None:
            data = self.get_data(source.path)  # raises what the stock loader would have raised
        if SOURCE_TO_CODE_TAKES_NAME:
            return self.source_to_code(data, source.path, fullname)  # type: ignore[call-arg,arg-type,unused-ignore]
        return self.source_to_code(data, source.path)


def _read(source: Source) -> bytes | None:
    try:
        return source.data()
    except OSError:
        return None


def _found_meanwhile(store: Store, source: Source) -> "CodeType | None":
    """Look again, with the lock in hand: whoever had it before may have compiled just this file."""
    try:
        return store.find(source.path)
    except (Miss, OSError):
        return None


def _write(writer: "ModuleType", policy: Policy, store: Store, source: Source, code: "CodeType") -> bool:
    try:
        data, mode = store.encode(code, source), source.status().st_mode
    except (OSError, ValueError):  # the source is gone by now; or the code holds what marshal cannot write
        return False
    stored: bool = writer.write_entry(store.directory, store.path(source.path), data, mode, policy.stats)
    return stored
