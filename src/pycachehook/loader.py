"""The loader: `get_code` in three short steps, and everything else as `SourceFileLoader` has it.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from . import own_modules
from ._compat import SourceFileLoader, hidden_from_tracebacks, replaced_step, source_to_code
from .events import ABSENT, ARCHIVE, IO_ERROR, OTHER_MODE, Miss, Stats
from .pyc import UNCHECKED_HASH
from .store import Store
from .system import BUILTINS, is_foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType
    from typing import Any

    from .archive import Archive, Listings
    from .store import InTree

    Rule = tuple[Callable[[str], bool], "Policy | None"]


__builtins__ = BUILTINS  # what programs patch in `builtins` later does not reach this module

# Packages that look their own loader up by its exact type. pip has a copy of distlib, and some pips do so at every use:
# an environment in which pip no longer installs is worse than one `__init__` that is not cached.
ASKED_FOR_THEIR_TYPE = ("distlib",)


class Policy:
    """The places for some sources, in the order in which they are asked, and the store that a new entry goes to."""

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

    def look_up(self, path: str, location: str | None = None) -> "tuple[CodeType | None, str]":
        """Return `(code, place)`; or `(None, reason)`, the reason of the first place that held anything.

        A store that holds an entry with a defect is not passed over: what follows is compiled, and replaces it.
        """
        reason = ABSENT
        for place in self.places:
            try:
                return place.find(path, location if place is self.store else None), place.name
            except Miss as miss:
                if reason == ABSENT:
                    reason = miss.reason
                if miss.reason != ABSENT and place.heals:
                    break
            except OSError as error:  # the source cannot be read: the loader will say so
                if is_foreign(error):
                    raise
                return None, IO_ERROR
        return None, reason


class Policies:
    """The policy for every source. Emptied by `uninstall`, and then loaders do as the stock loader does."""

    __slots__ = ("archived", "default", "known", "leave_prefix", "loader", "rules")

    def __init__(self) -> None:
        self.default: Policy | None = None
        self.rules: tuple[Rule, ...] = ()
        self.known: Callable[[str], bool] | None = None  # what says, without a look at it, that a source is there
        self.archived: Listings | None = None  # what answers for whole directories
        self.loader: type[CachingLoader] | None = None  # the class of loaders, if it is another one
        self.leave_prefix: Callable[[], None] = lambda: None  # restores the `sys.pycache_prefix` that was found

    def replace(
        self,
        default: Policy | None,
        rules: "tuple[Rule, ...]" = (),
        archived: "Listings | None" = None,
        loader: "type[CachingLoader] | None" = None,
    ) -> None:
        """Put other policies in force; `rules` are pairs of a predicate on paths and a policy, or None for "not ours".

        `archived` are the directories that archives answer for, `loader` is the class of loaders if it is another one.
        """
        self.default, self.rules = default, rules
        self.archived, self.loader = archived, loader
        if archived is not None and default is not None and not rules:
            archived.loader, archived.policies, archived.left_alone = (
                loader or CachingLoader,
                self,
                ASKED_FOR_THEIR_TYPE,
            )
            if default.store is not None:
                archived.prefix, archived.suffix = default.store.prefix, default.store.suffix
        store = None if default is None or rules else default.store
        self.known = store.holds if store is not None and store.mode == UNCHECKED_HASH else None

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

    __slots__ = ("_archived", "_location", "_policies")

    def __init__(
        self,
        fullname: str,
        path: str,
        policies: Policies = _STOCK,
        archived: "tuple[Archive, int, int] | None" = None,
        location: "tuple[Store, str] | None" = None,
    ) -> None:
        self.name = fullname
        self.path = path
        self._policies = policies
        self._archived = archived  # where the finder has seen it in an archive: offset and size in bytes
        self._location = location  # where the finder has computed that its entry lies, and in which store

    def __eq__(self, other: object) -> bool:
        alike = isinstance(other, CachingLoader) or type(other) is SourceFileLoader
        return alike and self.__dict__ == other.__dict__

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
        if replaced_step(self) is not None:
            policy.stats.miss(OTHER_MODE, fullname, path, stored=False)
            return self._get_code_by_steps(fullname)
        if self._archived is not None and self._archived[0] in policy.places:  # else others have been installed since
            archive, offset, size = self._archived
            try:
                loaded = archive.load(offset, size, path)
            except (Miss, OSError) as error:  # the lookup below will say why
                if is_foreign(error):
                    raise
            else:
                policy.stats.hit(ARCHIVE, fullname, path)
                return loaded
        store = policy.store
        location = self._location
        code, outcome = policy.look_up(path, location[1] if location is not None and location[0] is store else None)
        if code is not None:
            policy.stats.hit(outcome, fullname, path)
            return code
        compiling = own_modules.load("on_miss.compiling") if store is not None and store.heals else None
        if compiling is not None:
            compiled: CodeType = compiling.compile_and_store(self, fullname, store, policy.stats, outcome)
            return compiled
        code = source_to_code(self, self.get_data(path), path, fullname)
        policy.stats.miss(outcome, fullname, path, stored=False)
        return code

    def path_stats(self, path: str) -> "Mapping[str, Any]":
        """Return the source's mtime and size, as the stock loader does; raises OSError.

        Where a tool has replaced a step of the loader it always raises OSError. The stock `get_code`, which such a
        tool may call, then neither reads nor writes bytecode, for which it would use this cache.
        """
        if self._policies.default is not None and replaced_step(self) is not None:
            raise OSError(None, "no bytecode is used: a tool has replaced a step of the loader", path)
        return SourceFileLoader.path_stats(self, path)

    @hidden_from_tracebacks
    def _get_code_by_steps(self, fullname: str) -> "CodeType | None":
        """Return what the loader's own steps make of the source, as tools have left them, without any bytecode."""
        if replaced_step(self) == "get_code":
            return SourceFileLoader.get_code(self, fullname)
        path = self.get_filename(fullname)
        return source_to_code(self, self.get_data(path), path, fullname)
