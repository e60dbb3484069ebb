"""The loader: `get_code` uses the cache, and everything else is inherited from `SourceFileLoader`.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from . import own_modules
from ._compat import SourceFileLoader, hidden_from_tracebacks, replaced_step
from .events import ABSENT, ARCHIVE, COMPILE, IO_ERROR, OTHER_MODE, Miss, Outcome, Stats, Stopwatch
from .pyc import UNCHECKED_HASH
from .store import Store
from .system import BUILTINS, is_foreign, is_refusal, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from os import stat_result
    from types import CodeType
    from typing import Any

    from .archive import Archive, ArchivedModules, Listings
    from .store import InTree

    Rule = tuple[Callable[[str], bool], "Policy | None"]


__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module


class Policy:
    """The places that are asked for some sources, in order, and the store that receives new entries."""

    __slots__ = ("places", "stats", "store")

    def __init__(
        self,
        places: "tuple[Archive | Store | InTree, ...]",
        store: Store | None,
        stats: Stats,
    ) -> None:
        self.places = places
        self.store = store
        self.stats = stats

    def look_up(
        self, path: str, location: str | None = None, watch: "Stopwatch | None" = None
    ) -> "tuple[CodeType | None, Outcome]":
        """Return the code of the first valid entry for the source at `path`, or None, and the outcome of the lookup.

        `location` is the entry's path in `store`, if it is known. The lookup ends at a writable store that holds a
        defective entry: the source is compiled, and the entry replaced.
        """
        store = self.store
        if location is None and store is not None:
            location = store.path(path)
        reason, detail = ABSENT, ""
        source: tuple[bytes, stat_result] | None = None
        for place in self.places:
            try:
                return place.find(path, location, None if source is None else source[0], watch), place.hit_outcome
            except Miss as miss:
                source = miss.source or source
                location = miss.location or location
                if reason == ABSENT:
                    reason, detail = miss.reason, miss.detail
                if miss.reason != ABSENT and place.may_write:
                    break
            except OSError as error:  # the source is unreadable, which the loader will report
                if is_foreign(error):
                    raise
                return None, Outcome("", IO_ERROR, "the source cannot be read")
        return None, Outcome("", reason, detail, source, location)


class Policies:
    """The policy for every source. `uninstall` empties it; the loaders then act as the standard loader."""

    __slots__ = ("archived", "default", "holds", "loader", "restore_prefix", "rules")

    def __init__(self) -> None:
        self.default: Policy | None = None
        self.rules: tuple[Rule, ...] = ()
        self.holds: Callable[[str], bool] | None = None  # the argument `is_file` of `find_in_listings`
        self.archived: ArchivedModules | None = None  # for `find_in_listings`
        self.loader: type[CachingLoader] | None = None  # None: CachingLoader
        self.restore_prefix: Callable[[], None] = lambda: None  # restores the `sys.pycache_prefix` from before the hook

    def replace(
        self,
        default: Policy | None,
        rules: "tuple[Rule, ...]" = (),
        listings: "Listings | None" = None,
        loader: "type[CachingLoader] | None" = None,
    ) -> None:
        """Use other policies from now on.

        `rules` are pairs of a predicate on paths and a policy, which is None for sources that are not cached.
        `listings` are the directory listings of archives, and `loader` is the class of loaders if it is not
        `CachingLoader`.
        """
        self.default, self.rules, self.loader = default, rules, loader
        if listings is None:
            self.archived = None
        elif default is None or rules:
            self.archived = own_modules.require("archive").ArchivedModules(listings)
        else:
            archived_modules = own_modules.require("archive").ArchivedModules
            self.archived = archived_modules(listings, loader or CachingLoader, self, default.store)
        store = None if default is None or rules else default.store
        self.holds = store.holds if store is not None and store.mode == UNCHECKED_HASH else None

    def of(self, path: str) -> Policy | None:
        """Return the policy of the first rule that matches `path`, or the default; None if it is not to be cached."""
        for matches, policy in self.rules:
            if matches(path):
                return policy
        return self.default


_STOCK = Policies()  # caches nothing


class CachingLoader(SourceFileLoader):
    """A `SourceFileLoader` that takes bytecode from the places of its path's policy, and stores new bytecode.

    It is a subclass because pytest, importlib.resources and others check for one. It pickles as a standard loader,
    equals a standard loader of the same module, and acts as one if it is created without policies.
    """

    __slots__ = ("_archive_entry", "_location", "_policies")

    def __init__(
        self,
        fullname: str,
        path: str,
        policies: Policies = _STOCK,
        archive_entry: "tuple[Archive, int, int] | None" = None,
        location: "tuple[Store, str] | None" = None,
    ) -> None:
        self.name = fullname
        self.path = path
        self._policies = policies
        self._archive_entry = archive_entry  # (archive, offset, size), if the finder found the module in one
        self._location = location  # a store and the entry's path in it, computed by the finder

    def __eq__(self, other: object) -> bool:
        alike = isinstance(other, CachingLoader) or type(other) is SourceFileLoader or _is_of_start_up(other)
        return alike and self.__dict__ == other.__dict__

    __hash__ = SourceFileLoader.__hash__

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return SourceFileLoader, (self.name, self.path)

    @hidden_from_tracebacks
    def get_code(self, fullname: str) -> "CodeType | None":
        """Return the module's code object: from the first place with a valid entry, else compiled and stored.

        Raises what the standard loader raises: ImportError for another module's name, OSError for an unreadable source,
        SyntaxError and the like for one that does not compile. No fault of the cache raises.
        """
        path = self.path if fullname == self.name else self.get_filename(fullname)  # raises ImportError
        policies = self._policies
        policy = policies.of(path) if policies.rules else policies.default
        if policy is None:
            return SourceFileLoader.get_code(self, fullname)
        try:
            return self._get_code(fullname, path, policy)
        except BaseException as error:
            if not _is_due_to_cache(error):
                raise
        return self._get_code_without_cache(fullname, path, policy)

    @hidden_from_tracebacks
    def _get_code(self, fullname: str, path: str, policy: Policy) -> "CodeType | None":
        if replaced_step(self) is not None:
            policy.stats.miss(OTHER_MODE, fullname, path, stored=False)
            return self._get_code_by_steps(fullname)
        watch = Stopwatch() if policy.stats.listeners else None
        # The archive is not among the places if the hook has been installed with other archives since.
        if self._archive_entry is not None and self._archive_entry[0] in policy.places:
            archive, offset, size = self._archive_entry
            try:
                loaded = archive.load(offset, size, path, None, watch)
            except (Miss, OSError) as error:  # the lookup below reports the reason
                if is_foreign(error):
                    raise
            else:
                policy.stats.hit(ARCHIVE, fullname, path, watch)
                return loaded
        store = policy.store
        known = self._location
        code, outcome = policy.look_up(path, known[1] if known is not None and known[0] is store else None, watch)
        if code is None:
            return self._compile(fullname, policy, outcome, watch)
        policy.stats.hit(outcome.place, fullname, path, watch)
        return code

    @hidden_from_tracebacks
    def _get_code_without_cache(self, fullname: str, path: str, policy: Policy) -> "CodeType":
        policy.stats.miss(IO_ERROR, fullname, path, stored=False)
        try:  # the standard loader does this, too, and an audit hook may refuse it
            if policy.store is not None:
                self.get_data(policy.store.in_tree(path))
        except OSError:
            pass
        return source_to_code(self, self.get_data(path), path, fullname)

    @hidden_from_tracebacks
    def _compile(self, fullname: str, policy: Policy, outcome: Outcome, watch: Stopwatch | None) -> "CodeType":
        """Return the code that no place had: compiled, and stored where that is possible."""
        path, store = self.path, policy.store
        compiling = own_modules.load("on_miss.compiling") if store is not None and store.may_write else None
        code: CodeType
        if compiling is not None:
            code, outcome = compiling.compile_and_store(self, fullname, store, policy.stats, outcome, watch=watch)
        else:
            data = self.get_data(path) if outcome.source is None else outcome.source[0]
            code = source_to_code(self, data, path, fullname)
            if watch is not None:
                watch(COMPILE)
        policy.stats.count(outcome, fullname, path, watch)
        return code

    def path_stats(self, path: str) -> "Mapping[str, Any]":
        """Return the source's mtime and size, as the standard loader does; raises OSError.

        Where a tool has replaced a step of the loader, this always raises OSError: the standard `get_code`, which the
        tool may call, then neither reads nor writes bytecode. Otherwise it would use this cache.
        """
        if self._policies.default is not None and replaced_step(self) is not None:
            raise OSError(None, "no bytecode is used: a tool has replaced a step of the loader", path)
        return SourceFileLoader.path_stats(self, path)

    @hidden_from_tracebacks
    def _get_code_by_steps(self, fullname: str) -> "CodeType | None":
        """Return the code that the loader's steps, replaced or not, produce, without reading bytecode."""
        if replaced_step(self) == "get_code":
            return SourceFileLoader.get_code(self, fullname)
        path = self.get_filename(fullname)
        return source_to_code(self, self.get_data(path), path, fullname)


def _is_of_start_up(loader: object) -> bool:
    """Return whether this is a loader of the start-up module, for a module of the standard library."""
    return type(loader).__module__ == "_pycachehook_startup"


def _is_due_to_cache(error: BaseException) -> bool:
    """Return whether the standard loader may succeed: it needs fewer frames, and fewer operations may be refused."""
    try:
        return type(error) is RecursionError or is_refusal(error)
    except BaseException as refusal:  # a hook that refuses access to a traceback
        if type(refusal) is not type(error):
            raise
        return True


@hidden_from_tracebacks
def source_to_code(loader: "Any", data: bytes, path: str, fullname: str) -> "CodeType":
    """Compile as `loader` does, with the module's name from Python 3.15 on. Raises SyntaxError and the like."""
    if system.version >= (3, 15):
        return loader.source_to_code(data, path, fullname)  # type: ignore[no-any-return]
    return loader.source_to_code(data, path)  # type: ignore[no-any-return]
