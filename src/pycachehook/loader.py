"""The loader: `get_code` in three short steps, and everything else as `SourceFileLoader` has it.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import sys

from ._compat import SourceFileLoader, compiles_plainly, finished_module, hidden_from_tracebacks, source_to_code
from .events import ABSENT, ARCHIVE, IO_ERROR, Miss, Stats
from .pyc import UNCHECKED_HASH
from .store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType

    from .archive import Archive, Listings
    from .content_store import Unshared
    from .store import InTree

    Rule = tuple[Callable[[str], bool], "Policy | None"]


# Packages that look their own loader up by its exact type. pip has a copy of distlib, and some pips do so at every use:
# an environment in which pip no longer installs is worse than one `__init__` that is not cached.
ASKED_FOR_THEIR_TYPE = ("distlib",)


class Policy:
    """The places for some sources, in the order in which they are asked, and the store that a new entry goes to.

    `unshared` takes its place for a loader that does not compile plainly: an entry that goes by what is in its source
    must depend on nothing else. None: it takes no other.
    """

    __slots__ = ("places", "stats", "store", "unshared")

    def __init__(
        self,
        places: "tuple[Archive | Store | InTree | Unshared, ...]",
        store: Store | None,
        stats: Stats,
        unshared: "Policy | None" = None,
    ) -> None:
        self.places = places
        self.store = store
        self.stats = stats
        self.unshared = unshared

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

    __slots__ = ("archived", "default", "known", "loader", "rules", "unstored")

    def __init__(self) -> None:
        self.default: Policy | None = None
        self.rules: tuple[Rule, ...] = ()
        self.unstored: list[
            tuple[Store, str, bytes, CodeType]
        ] = []  # what was compiled before anything could be stored
        self.known: Callable[[str], bool] | None = None  # what says, without a look at it, that a source is there
        self.archived: Listings | None = None  # what answers for whole directories
        self.loader: type[CachingLoader] | None = None  # the class of loaders, if it is another one

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

    __slots__ = ("_entry", "_policies")

    def __init__(
        self,
        fullname: str,
        path: str,
        policies: Policies = _STOCK,
        entry: "tuple[Archive, int, int] | None" = None,
    ) -> None:
        self.name = fullname
        self.path = path
        self._policies = policies
        self._entry = entry  # where the finder has seen it in an archive: offset and size in bytes

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
        if self._entry is not None and self._entry[0] in policy.places:  # else others have been put in force since
            archive, offset, size = self._entry
            try:
                loaded = archive.load(offset, size, path)
            except (Miss, OSError):
                pass  # the look-up below will say why
            else:
                policy.stats.hit(ARCHIVE, fullname, path)
                return loaded
        if policy.unshared is not None and not compiles_plainly(self):
            policy = policy.unshared
        code, outcome = policy.look_up(path)
        if code is not None:
            policy.stats.hit(outcome, fullname, path)
            return code
        store = policy.store
        compiling = finished_module("pycachehook.on_miss.compiling") if store is not None and store.heals else None
        if compiling is not None:
            compiled: CodeType = compiling.compile_and_store(self, fullname, store, policy.stats, outcome)
            unstored, policies.unstored = policies.unstored, []
            for earlier in unstored:
                compiling.store_late(*earlier, policy.stats)
            return compiled
        data = self.get_data(path)
        code = source_to_code(self, data, path, fullname)
        policy.stats.miss(outcome, fullname, path, stored=False)
        # It is halfway through its own import, and will be there soon; else it is gone for good.
        may_store = store is not None and store.heals and store.refusal(self, data) is None
        if store is not None and may_store and "pycachehook.on_miss.compiling" in sys.modules:
            policies.unstored.append((store, path, data, code))
        return code
