"""What is installed in this interpreter: the finder, the policies, and what they change in `sys`.

And the start-up that the activation files call, which needs no more than this: the `Hook` that programs see is made
when one asks for it.

Start-up module: imports nothing at module level that the interpreter has not already loaded, but `gc`, which is built
in. It is longer than other modules because one more of them would cost every start.
"""

import gc
import os
import sys

from . import __version__, disabled_by_environment, own_modules
from ._compat import PathFinder
from .cache_dir import DISABLED, CacheDir
from .events import Stats, process_listeners
from .finder import CachingFinder
from .loader import CachingLoader, Policies, Policy
from .paths import SHARED, Layout, absolute, default_cache_dir, installed_predicate, why_no_default_cache_dir
from .pyc import UNCHECKED_HASH
from .store import InTree, Store
from .system import BUILTINS, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .archive import Archive, Listings, Refused
    from .config.options import Options
    from .loader import Rule

    Values = dict[str, Any]  # option values by name, already checked

# A program may replace `builtins.__import__`, and is not to see what this module imports.
__builtins__ = BUILTINS

killed = disabled_by_environment
current: "Runtime | None" = None  # see `installed`
activation: "tuple[Values, str] | None" = None  # what the activation files say, and which file, once they have run
_resets_after_fork = False


class Composition:
    """What option values come to; `compose` makes it, `Runtime.put` installs it.

    `directory` is the default cache directory; None: there is none, for the `reason`. `private` says that it is the
    user's own default one. `archives` are all that are configured, used or refused. `options` are the values with their
    origins, where those are known.
    """

    def __init__(self, values: "Values", *, private: bool, options: "Options | None") -> None:
        self.values = values
        self.private = private
        self.options = options
        self.directory: CacheDir | None = None
        self.reason: str | None = None
        self.cache_dirs: dict[str, CacheDir] = {}
        self.archives: tuple[Archive | Refused, ...] = ()
        self.default: Policy | None = None
        self.rules: tuple[Rule, ...] = ()
        self.listings: Listings | None = None
        self.loader: type[CachingLoader] | None = None


def compose(
    values: "Values",
    stats: Stats,
    *,
    private: bool = False,
    options: "Options | None" = None,
    look_only: bool = False,
) -> Composition:
    """Return what the option values come to, with nothing of it installed.

    Missing cache directories are made, unless `look_only`. Raises `CacheDirError`, under `strict` only.
    """
    composed = Composition(values, private=private, options=options)
    layout = Layout.current()
    if layout is None:
        composed.reason = "This interpreter caches no bytecode (it has no cache tag)."
        return composed
    composed.reason = None if values["cache_dir"] is not None else why_no_default_cache_dir()
    if composed.reason is not None and values["strict"]:
        from .errors import CacheDirError

        raise CacheDirError(composed.reason)
    by_rule = [{**values, **rule} if rule.get("enabled", True) else None for rule in values["rules"]]
    used = [values, *(each for each in by_rule if each is not None)]
    composed.cache_dirs = _cache_dirs(used, private=private, look_only=look_only)
    composed.directory = composed.cache_dirs.get(values["cache_dir"])
    if values["archives"]:  # after the directories, because it has the disk read megabytes
        from .archive import open_all  # loads mmap, and few have any

        composed.archives = open_all(values["archives"], allow_shared=values["allow_shared"], strict=values["strict"])
        composed.listings = listings_of(composed.archives)
    composed.default = _policy(values, layout, composed, stats)
    composed.rules = tuple(
        (_matcher(rule["match"]), None if each is None else _policy(each, layout, composed, stats))
        for rule, each in zip(values["rules"], by_rule, strict=True)
    )
    composed.loader = _loader_of(values)
    return composed


def _cache_dirs(used: "Sequence[Mapping[str, Any]]", *, private: bool, look_only: bool) -> dict[str, CacheDir]:
    """Return a `CacheDir` for each path; one that any of the values may write to is not read-only."""
    written = () if look_only else {each["cache_dir"] for each in used if not each["read_only"]}
    default = used[0]
    same: dict[str, Any] = {name: default[name] for name in ("allow_shared", "force_write", "strict", "lock_timeout")}
    made: dict[str, CacheDir] = {}
    for path in (each["cache_dir"] for each in used):
        if path is not None and path not in made:
            own = private and path == default["cache_dir"]
            made[path] = CacheDir(path, read_only=path not in written, private=own, **same)
    return made


def _policy(values: "Mapping[str, Any]", layout: Layout, composed: Composition, stats: Stats) -> Policy:
    directory = composed.cache_dirs.get(values["cache_dir"])
    archives: Any = tuple(each for each in composed.archives if each.usable)
    hooked = reads_by_open_code(values["open_code"])
    in_tree = _in_tree(values["in_tree"], layout, open_code=hooked)
    if directory is None or directory.status == DISABLED:
        return Policy((*archives, *in_tree), None, stats)
    if values["layout"] == SHARED:
        from .content_store import SharedStore  # for those who ask for it

        store: Store = SharedStore(directory, layout, stats, read_only=values["read_only"], open_code=hooked)
    else:
        mode = values["invalidation_mode"]
        store = Store(directory, layout, mode, read_only=values["read_only"], open_code=hooked)
    return Policy((*archives, store, *in_tree), store, stats)


def _in_tree(wish: str, layout: Layout, *, open_code: bool) -> tuple[InTree, ...]:
    if wish == "ignore":
        return ()
    if wish == "installed":
        return (InTree(layout, installed_predicate(), open_code=open_code),)
    return (InTree(layout, (lambda _path: False) if wish == "hashed" else None, open_code=open_code),)


def reads_by_open_code(wish: str) -> bool:
    """Return whether code is read by `io.open_code`, for a value of the option `open_code`.

    "auto" is what `enable` has found out: Python has no way to ask whether an embedder has set a hook (PEP 578).
    """
    start_up_file = sys.modules.get("_pycachehook_startup")
    return wish == "always" or (wish == "auto" and bool(getattr(start_up_file, "OPEN_CODE_HOOKED", False)))


class Runtime:
    """The finder in `sys.meta_path` and what it needs: a `Composition`, which another one may replace.

    `stats` holds the counters since it was installed, `hook` what programs have been given for it, `composition` what
    is installed, None before and after.
    """

    version = __version__

    def __init__(self) -> None:
        self.stats = Stats(process_listeners)
        self.composition: Composition | None = None
        self.hook: Any = None
        self.policies = Policies()
        self.policies.leave_prefix = self.leave_prefix
        self._finder: Any = CachingFinder(self.policies, self)
        self._found: dict[str, tuple[object, object]] = {}  # what `sys` held, and what we put there
        self._listens = False
        self._earlier: Any = None  # what `put` has to replace

    @classmethod
    def of_this_copy(cls, found: "Any") -> "Runtime":
        """Return `found`, or what is to replace it if it is of a copy of this package that is no longer in `sys.modules`.

        Objects of two copies do not go together: each knows only its own exceptions. What goes on is what others hold:
        the hook, the counters, and what `sys` held before.
        """
        if type(found) is cls:
            return found
        new = cls()
        new._earlier = found
        if found.version == cls.version:
            new.stats, new.hook, new._listens = found.stats, found.hook, True
        return new

    @property
    def cache_dirs(self) -> dict[str, CacheDir]:
        """Each cache directory in use, by its path."""
        return {} if self.composition is None else self.composition.cache_dirs

    def put(self, composition: Composition) -> None:
        """Install what option values come to, in place of any before."""
        global current  # noqa: PLW0603 -- the one of this interpreter
        if type(composition) is not Composition:  # it is of an earlier copy of this module, see `of_this_copy`
            composition = compose(composition.values, self.stats, private=composition.private)
        if not self._listens:
            _listen(self.stats)
            self._listens = True
        position = self._replace_earlier()
        self.composition = composition
        self.policies.replace(composition.default, composition.rules, composition.listings, composition.loader)
        self._restore_interpreter()
        self._adapt_interpreter(composition)
        own_modules.remember()
        if composition.values["compile_ahead"]:
            _compile_ahead(composition, self.stats)
        if not any(finder is self._finder for finder in sys.meta_path):
            sys.meta_path.insert(_position() if position is None else position, self._finder)
        current = self

    def withdraw(self) -> None:
        """Take everything out and restore `sys`. Modules already loaded stay; what they load later is CPython's."""
        global current  # noqa: PLW0603
        if current is self:
            current = None
        self.policies.replace(None)
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self._finder]
        self._restore_interpreter()
        self.composition = None

    def directory(self) -> CacheDir | None:
        """Return the default cache directory, if there is one in use."""
        return None if self.composition is None else self.composition.directory

    def leave_prefix(self) -> None:
        """Restore the `sys.pycache_prefix` that was found: a program that writes pycs is to write them where it would."""
        if "pycache_prefix" in self._found:
            found, put = self._found.pop("pycache_prefix")
            if sys.pycache_prefix == put:
                sys.pycache_prefix = found  # type: ignore[assignment]

    def found_prefix(self) -> "Any":
        """Return the `sys.pycache_prefix` that there would be without us."""
        found, put = self._found.get("pycache_prefix", (None, None))
        return found if put is not None and sys.pycache_prefix == put else sys.pycache_prefix

    def _replace_earlier(self) -> int | None:
        """Take the runtime of an earlier copy of this package out, and return where its finder was."""
        earlier, self._earlier = self._earlier, None
        if earlier is None:
            return None
        places = [place for place, finder in enumerate(sys.meta_path) if _runtime_of(finder) is earlier]
        earlier.withdraw()
        return places[0] if places else None

    def _adapt_interpreter(self, composition: Composition) -> None:
        """Make the tools that follow `sys` keep the source trees clean too."""
        if composition.default is None:  # no cache tag: there is nothing to keep them clean of
            return
        directory = composition.directory
        if directory is None or directory.status == DISABLED:
            self._put("dont_write_bytecode", value=True)
        else:
            self._put("pycache_prefix", directory.path)

    def _put(self, name: str, value: object) -> None:
        self._found[name] = (getattr(sys, name), value)
        setattr(sys, name, value)

    def _restore_interpreter(self) -> None:
        while self._found:
            name, (found, put) = self._found.popitem()
            if getattr(sys, name) == put:  # else the program has set it since
                setattr(sys, name, found)


def installed() -> "Runtime | None":
    """Return what is installed in this interpreter.

    The finder in `sys.meta_path` leads to it, also where a program has dropped this package from `sys.modules` and
    imported it again; the result is then of the earlier copy's class. `current` is for a finder that a tool has wrapped.
    """
    for finder in sys.meta_path:
        runtime = _runtime_of(finder)
        if runtime is not None and runtime.composition is not None:
            return runtime  # type: ignore[no-any-return]
    return current


def _runtime_of(finder: object) -> "Any":
    """Return the runtime that a finder of any copy of this package belongs to; None for any other finder."""
    return finder.pycachehook_runtime if "pycachehook_runtime" in vars(type(finder)) else None  # type: ignore[attr-defined]


def resolve(keywords: "Mapping[str, object]", origin: str, config: object = None) -> "Options":
    """Return the options that `install` would install here; raises `ConfigError`."""
    from .config import resolution

    start_up_file = sys.modules.get("_pycachehook_startup")  # which calls nothing here under the kill switch
    recorded = getattr(start_up_file, "OPTIONS", {}), getattr(start_up_file, "__file__", "")
    enabled, file = activation or recorded
    found = installed()
    prefix = sys.pycache_prefix if found is None else found.found_prefix()
    return resolution.resolve(
        keywords, origin, config=config, activation=enabled, activation_origin=file, prefix=prefix
    )


def start_up(options: "Values", version: str, origin: str) -> bool:
    """Install what `pycachehook enable` wrote down; called by the activation files, so it never raises or prints.

    `options` has a value for every option that this `version` of the package knows (`cache_dir` may be None, for the
    default), `origin` is the path of the file. A second call does nothing: before Python 3.15, `.pth` files run
    twice in virtual environments. Returns False if it came to nothing for lack of stack or memory: it may be called again.
    """
    global activation  # noqa: PLW0603
    if activation is not None:
        return True
    activation = (options, origin)
    try:
        if killed() or installed() is not None:
            return True
        private, resolved = False, None
        if version != __version__ or _environment_has_options():
            resolved = resolve({}, "keyword")
            options, private = resolved.values(), resolved.origin("cache_dir") == "default"
        elif options["cache_dir"] is None:
            directory = absolute(sys.pycache_prefix) if sys.pycache_prefix else None
            private = directory is None
            options = {**options, "cache_dir": default_cache_dir() if directory is None else directory}
        runtime = Runtime()
        runtime.put(compose(options, runtime.stats, private=private, options=resolved))
        _leave_no_debt()
    except (RecursionError, MemoryError):
        activation = None
        return False
    except Exception as error:  # noqa: BLE001 -- a start-up file that raises breaks every program there
        log = _listening("LOG")
        if log:
            from .stats_log import open_log

            open_log(log)(f"not active: {error}")
    return True


def _leave_no_debt() -> None:
    """Put what the interpreter and our start-up have made into the collector's oldest generation, with its counts at zero.

    Else our own few thousand objects would bring the program's next collections forward, of which one over all
    objects costs as much as ten of our start-ups. (Not on Python 3.12, which begins with frozen objects of its own.)
    """
    if gc.get_freeze_count() == 0:
        gc.freeze()
        gc.unfreeze()


def _environment_has_options() -> bool:
    """Say whether the environment may change an option: then they are resolved, at the price of loading `config`."""
    if sys.flags.ignore_environment:
        return False
    listeners = ("PYCACHEHOOK_LOG", "PYCACHEHOOK_STATS", "PYCACHEHOOK_TRACE", "PYCACHEHOOK_DISABLE")
    return any(name.startswith("PYCACHEHOOK_") and name not in listeners for name in os.environ)


def _listening(name: str) -> str:
    """Return where the environment wants to have events written: `PYCACHEHOOK_<name>`, but not under -E and -I."""
    return "" if sys.flags.ignore_environment else os.environ.get(f"PYCACHEHOOK_{name}", "")


def _listen(stats: Stats) -> None:
    """Attach the listeners that the environment asks for, and have forked children start to count at zero."""
    global _resets_after_fork  # noqa: PLW0603 -- once for each process
    log, file = _listening("LOG"), _listening("STATS")
    if log or file:
        from .stats_log import open_log, write_at_exit

        if log:
            stats.log = open_log(log)
        if file:
            write_at_exit(stats, file)
    if not _resets_after_fork and system.register_at_fork is not None:
        system.register_at_fork(after_in_child=_reset_after_fork)
        _resets_after_fork = True


def _compile_ahead(composition: Composition, stats: Stats) -> None:
    """Have the `compile_ahead` of these options begin after some misses, in place of any before."""
    module = own_modules.load("on_miss.compile_ahead")
    if module is not None:
        module.listen(stats, composition.values, private=composition.private, statistics=_listening("STATS"))


def _reset_after_fork() -> None:
    found = installed()
    if found is not None:
        found.stats.reset()


def listings_of(archives: "tuple[Any, ...]") -> "Listings | None":
    """Return what archives know of directories, for the finder, if there are any whose sources nobody looks at."""
    usable = [each for each in archives if each.usable]
    if not any(each.mode == UNCHECKED_HASH for each in usable):
        return None
    from .archive import Listings

    return Listings(usable, for_finder=True)


def _loader_of(values: "Values") -> "type[CachingLoader] | None":
    if values["gc"] == "default":
        return None
    from .gc_control import FreezingLoader, PausingLoader

    return FreezingLoader if values["gc"] == "freeze" else PausingLoader


def _matcher(patterns: tuple[str, ...]) -> "Callable[[str], bool]":
    from .patterns import matcher  # where there are rules

    return matcher(patterns)


def _position() -> int:
    """Return where in `sys.meta_path` the finder goes: in front of `PathFinder`, or last if there is none."""
    for index, finder in enumerate(sys.meta_path):
        if finder is PathFinder:
            return index
    return len(sys.meta_path)
