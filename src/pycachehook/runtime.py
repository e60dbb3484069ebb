"""The installation in this interpreter: the finder, the policies, and the attributes of `sys` that they change.

It includes the function that the activation files call at a start. The `Hook` that programs see is created on demand.

Start-up module: imports nothing at module level that the interpreter has not already loaded. It is longer than other
modules because one more module would slow down every start.
"""

import sys

from . import __version__, environ, own_modules
from . import disabled_by_environment as disabled_by_environment
from ._compat import PathFinder, environment_names
from .cache_dir import DISABLED, CacheDir
from .events import Stats, process_listeners
from .finder import CachingFinder
from .loader import CachingLoader, Policies, Policy
from .own_modules import require
from .paths import SHARED, Layout, absolute, default_cache_dir, why_no_default_cache_dir
from .pyc import UNCHECKED_HASH
from .store import InTree, Store
from .system import BUILTINS, builtin_module, is_foreign, system
from .trust import serves_another_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from .archive import Archive, Listings, Refused
    from .config.options import Options
    from .loader import Rule

    Values = dict[str, Any]  # option values by name, already checked

# A replacement of `builtins.__import__` by the program must not see the imports of this module.
__builtins__ = BUILTINS

current: "Runtime | None" = None  # see `installed`
activation: "tuple[Values, str] | None" = None  # options and path of the start-up file, once it has run
_resets_after_fork = False


class Composition:
    """The objects made from option values: created by `compose`, installed by `Runtime.install`, never changed.

    `directory` is the default cache directory, or None for the given `reason`. `private` is whether it is the user's
    own default one. `archives` are all configured archives, used or refused. `options` are the values with their
    origins, if these are known.
    """

    def __init__(
        self,
        values: "Values",
        *,
        private: bool,
        options: "Options | None",
        reason: str | None = None,
        cache_dirs: "Mapping[str, CacheDir] | None" = None,
        archives: "tuple[Archive | Refused, ...]" = (),
        default: Policy | None = None,
        rules: "tuple[Rule, ...]" = (),
    ) -> None:
        self.values = values
        self.private = private
        self.options = options
        self.reason = reason
        self.cache_dirs: dict[str, CacheDir] = {} if cache_dirs is None else dict(cache_dirs)
        self.directory = self.cache_dirs.get(values["cache_dir"])
        self.archives = archives
        self.default = default
        self.rules = rules


def compose(
    values: "Values",
    stats: Stats,
    *,
    private: bool = False,
    options: "Options | None" = None,
    look_only: bool = False,
) -> Composition:
    """Return the composition for the option values without installing it.

    Missing cache directories are created unless `look_only`. Raises `CacheDirError` under `strict` only.
    """
    layout = Layout.current()
    if layout is None:
        untagged = "This interpreter caches no bytecode (it has no cache tag)."
        return Composition(values, private=private, options=options, reason=untagged)
    errors = require("errors") if values["strict"] else None  # loaded before other modules import it
    reason = None if values["cache_dir"] is not None else why_no_default_cache_dir()
    if reason is not None and errors is not None:
        raise errors.CacheDirError(reason)
    by_rule = [{**values, **rule} if rule.get("enabled", True) else None for rule in values["rules"]]
    used = [values, *(rule_values for rule_values in by_rule if rule_values is not None)]
    cache_dirs = _cache_dirs(used, private=private, look_only=look_only)
    archives: tuple[Archive | Refused, ...] = ()
    if values["archives"]:  # after the directories, because this makes the disk read megabytes
        archives = require("archive").open_all(  # loads mmap, which few processes need
            values["archives"],
            allow_shared=values["allow_shared"],
            strict=values["strict"],
            open_code=reads_by_open_code(values["open_code"]),
        )
    usable: Any = tuple(archive for archive in archives if archive.usable)
    return Composition(
        values,
        private=private,
        options=options,
        reason=reason,
        cache_dirs=cache_dirs,
        archives=archives,
        default=_policy(values, layout, cache_dirs, usable, stats),
        rules=tuple(
            (_matcher(rule["match"]), None if own is None else _policy(own, layout, cache_dirs, usable, stats))
            for rule, own in zip(values["rules"], by_rule, strict=True)
        ),
    )


def _cache_dirs(used: "Sequence[Mapping[str, Any]]", *, private: bool, look_only: bool) -> dict[str, CacheDir]:
    """Return a `CacheDir` for each path; it is not read-only if any of the option values allow writing to it."""
    written = (
        () if look_only else {option_values["cache_dir"] for option_values in used if not option_values["read_only"]}
    )
    default = used[0]
    same: dict[str, Any] = {name: default[name] for name in ("allow_shared", "force_write", "strict", "lock_timeout")}
    made: dict[str, CacheDir] = {}
    for path in (option_values["cache_dir"] for option_values in used):
        if path is not None and path not in made:
            own = private and path == default["cache_dir"]
            made[path] = CacheDir(path, read_only=path not in written, private=own, **same)
    return made


def _policy(
    values: "Mapping[str, Any]",
    layout: Layout,
    cache_dirs: dict[str, CacheDir],
    archives: "tuple[Archive, ...]",
    stats: Stats,
) -> Policy:
    directory = cache_dirs.get(values["cache_dir"])
    open_code = reads_by_open_code(values["open_code"])
    in_tree = _in_tree(values["in_tree"], layout, open_code=open_code)
    if directory is None or directory.status == DISABLED:
        return Policy((*archives, *in_tree), None, stats)
    if values["layout"] == SHARED:
        shared_store = require("content_store").SharedStore  # loaded only if configured
        try:
            store: Store = shared_store(directory, layout, stats, read_only=values["read_only"], open_code=open_code)
        except ImportError as error:  # no file descriptor is left to load the module of the digest
            directory.disable(f"The layout shared cannot be used: {error}.")
            return Policy((*archives, *in_tree), None, stats)
    else:
        mode = values["invalidation_mode"]
        store = Store(directory, layout, mode, read_only=values["read_only"], open_code=open_code)
    return Policy((*archives, store, *in_tree), store, stats)


def _in_tree(wish: str, layout: Layout, *, open_code: bool) -> tuple[InTree, ...]:
    return () if wish == "ignore" else (InTree(layout, wish, open_code),)


def reads_by_open_code(wish: str) -> bool:
    """Return whether code is read through `io.open_code`, for a value of the option `open_code`.

    For "auto", `enable` has recorded whether an embedder has set a hook (PEP 578), because Python cannot be asked.
    """
    start_up_file = sys.modules.get("_pycachehook_startup")
    recorded = {} if start_up_file is None else start_up_file.__dict__
    return wish == "always" or (wish == "auto" and bool(recorded.get("OPEN_CODE_HOOKED")))


class Runtime:
    """The finder in `sys.meta_path` with its current `Composition`.

    `stats` holds the counters since the installation. `hook` is the `Hook` that programs have been given, if any.
    `composition` is None before the installation and after its end.
    """

    version = __version__

    def __init__(self) -> None:
        self.stats = Stats(process_listeners)
        self.composition: Composition | None = None
        self.hook: Any = None
        self.policies = Policies()
        self.policies.restore_prefix = self.restore_prefix
        self._finder: Any = CachingFinder(self.policies, self)
        self.replaced: dict[str, tuple[object, object]] = {}  # attributes of `sys`: previous and new value
        self._listens = False
        self._earlier: Any = None  # the runtime that `install` will replace

    @classmethod
    def of_this_copy(cls, existing: "Any") -> "Runtime":
        """Return `existing`, or a replacement if it belongs to a copy of this package outside `sys.modules`.

        Objects of two copies cannot be combined: each copy catches only its own exceptions. The replacement takes over
        what programs may hold: the hook, the counters, and the previous values of `sys`.
        """
        if type(existing) is cls:
            return existing
        new = cls()
        new._earlier = existing
        if existing.version == cls.version:
            new.stats, new.hook, new._listens = existing.stats, existing.hook, True
        return new

    @property
    def cache_dirs(self) -> dict[str, CacheDir]:
        """The cache directories in use, by path."""
        return {} if self.composition is None else self.composition.cache_dirs

    def install(self, composition: Composition) -> None:
        """Install `composition` in place of the current one, if any."""
        global current  # noqa: PLW0603 -- the runtime of this interpreter
        own_modules.remember()  # before `sys.pycache_prefix` changes, because it may load modules
        # A composition made by an earlier copy of this module cannot be used; see `of_this_copy`.
        if type(composition) is not Composition:
            composition = compose(composition.values, self.stats, private=composition.private)
        if not self._listens:
            _listen(self.stats)
            self._listens = True
        position = self._replace_earlier()
        self.composition = composition
        archived, loader = listings_of(composition.archives), _loader_of(composition.values)
        self.policies.replace(composition.default, composition.rules, archived, loader)
        self._restore_interpreter()
        self._adapt_interpreter(composition)
        if composition.values["compile_ahead"]:
            _compile_ahead(composition, self.stats)
        if not any(finder is self._finder for finder in sys.meta_path):
            if not isinstance(sys.meta_path, list):  # a program may have put a tuple there, which works, too
                sys.meta_path = [*sys.meta_path]
            # Not the method of a subclass.
            list.insert(sys.meta_path, _position() if position is None else position, self._finder)
        current = self

    def uninstall(self) -> None:
        """Remove the finder and restore `sys`. Loaded modules stay; their later imports are loaded by CPython alone."""
        global current  # noqa: PLW0603
        if current is self:
            current = None
        self.policies.replace(None)
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not self._finder]
        self._restore_interpreter()
        self.composition = None

    def directory(self) -> CacheDir | None:
        """Return the default cache directory, or None if there is none in use."""
        return None if self.composition is None else self.composition.directory

    def restore_prefix(self) -> None:
        """Restore the previous `sys.pycache_prefix`, so that a program writes its pycs as without the hook."""
        if "pycache_prefix" in self.replaced:
            original, value = self.replaced.pop("pycache_prefix")
            if sys.pycache_prefix == value:
                sys.pycache_prefix = original  # type: ignore[assignment]

    def original_prefix(self) -> "Any":
        """Return the value that `sys.pycache_prefix` would have without the hook."""
        original, value = self.replaced.get("pycache_prefix", (None, None))
        return original if value is not None and sys.pycache_prefix == value else sys.pycache_prefix

    def _replace_earlier(self) -> int | None:
        """Uninstall the runtime of an earlier copy of this package, and return the index of its finder, if any."""
        earlier, self._earlier = self._earlier, None
        if earlier is None:
            return None
        positions = [index for index, finder in enumerate(sys.meta_path) if _runtime_of(finder) is earlier]
        earlier.uninstall()
        return positions[0] if positions else None

    def _adapt_interpreter(self, composition: Composition) -> None:
        """Set attributes of `sys` so that other code does not write bytecode into source trees either."""
        if composition.default is None:  # without a cache tag nothing writes bytecode
            return
        directory = composition.directory
        usable = directory is not None and directory.status != DISABLED
        if usable:
            self._set_in_sys("pycache_prefix", directory.path)  # type: ignore[union-attr]
        if not usable or composition.values["read_only"]:
            if not sys.dont_write_bytecode:  # otherwise the directories of rules must not be written to either
                for other in composition.cache_dirs.values():
                    other.force_write = True
            self._set_in_sys("dont_write_bytecode", value=True)

    def _set_in_sys(self, name: str, value: object) -> None:
        self.replaced[name] = (getattr(sys, name), value)
        setattr(sys, name, value)

    def _restore_interpreter(self) -> None:
        while self.replaced:
            name, (original, value) = self.replaced.popitem()
            if getattr(sys, name) == value:  # otherwise the program has set it since
                setattr(sys, name, original)


def installed() -> "Runtime | None":
    """Return the runtime that is installed in this interpreter, or None.

    It is found through the finder in `sys.meta_path`, even if the program has removed this package from `sys.modules`
    and imported it again; the result then belongs to the earlier copy's class. `current` is used if a tool has wrapped
    the finder.
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
    resolution = require("config.resolution")
    # With the kill switch set, the start-up file was loaded but has not called `start_up`.
    start_up_file = sys.modules.get("_pycachehook_startup")
    recorded = getattr(start_up_file, "OPTIONS", {}), getattr(start_up_file, "FILE", "")
    enabled, file = activation or recorded
    runtime = installed()
    prefix = sys.pycache_prefix if runtime is None else runtime.original_prefix()
    return resolution.resolve(  # type: ignore[no-any-return]
        keywords, origin, config=config, activation=enabled, activation_origin=file, prefix=prefix
    )


def start_up(options: "Values", version: str, origin: str) -> bool:
    """Install the hook with the options that `pycachehook enable` recorded; called by the activation files.

    `options` has a value for every option of this `version` of the package; `cache_dir` may be None for the default.
    `origin` is the path of the start-up file. Prints nothing, and raises only exceptions of the program, such as a
    signal handler's. A second call does nothing, because before Python 3.15 `.pth` files run twice in virtual
    environments. Returns False if stack or memory did not suffice and it may be called again.
    """
    global activation  # noqa: PLW0603
    if activation is not None:
        return True
    activation = (options, origin)
    try:
        if disabled_by_environment() or installed() is not None:
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
        runtime.install(compose(options, runtime.stats, private=private, options=resolved))
        _reset_collector()
    except (RecursionError, MemoryError):
        activation = None
        return False
    except Exception as error:  # a start-up file that raises would break every program
        if is_foreign(error):  # from a signal handler or a trace function; the next import tries again
            activation = None
            raise
        log = _output_target("LOG")
        if log:
            require("stats_log").open_log(log)(f"not active: {error}")
    return True


def _reset_collector() -> None:
    """Move all objects to the oldest generation and set the collector's counts to zero.

    Otherwise the few thousand objects of this package would bring forward the program's next collections; one full
    collection costs as much as ten installations. (Python 3.12 starts with frozen objects, and this does nothing
    there.)
    """
    gc: Any = builtin_module("gc")
    if gc.get_freeze_count() == 0:
        gc.freeze()
        gc.unfreeze()


def _environment_has_options() -> bool:
    """Return whether the environment may set options, so that `config` has to be loaded to resolve them."""
    if sys.flags.ignore_environment:
        return False
    listeners = (
        "PYCACHEHOOK_LOG",
        "PYCACHEHOOK_STATS",
        "PYCACHEHOOK_TRACE",
        "PYCACHEHOOK_DISABLE",
        "PYCACHEHOOK_FRAMES",
    )
    return any(name.startswith("PYCACHEHOOK_") and name not in listeners for name in environment_names(environ()))


def _output_target(name: str) -> str:
    """Return the value of `PYCACHEHOOK_<name>`, which names a target for output; "" under -E and -I.

    Also "" if another user may have set the variable: it would decide which files this process writes to.
    """
    target = "" if sys.flags.ignore_environment else environ().get(f"PYCACHEHOOK_{name}", "")
    return "" if target and serves_another_user() else target


def _listen(stats: Stats) -> None:
    """Attach the listeners that the environment configures, and reset the counters in forked children."""
    global _resets_after_fork  # noqa: PLW0603 -- once per process
    log, file = _output_target("LOG"), _output_target("STATS")
    if log or file:
        stats_log = require("stats_log")
        if log:
            stats.log = stats_log.log_events(log)
        if file:
            stats_log.write_at_exit(stats, file)
    trace = _output_target("TRACE")
    if trace:
        problem = require("tracing").start(trace)
        if problem:
            stats.fault(f"PYCACHEHOOK_TRACE: {problem}")
    if not _resets_after_fork and system.register_at_fork is not None:
        system.register_at_fork(after_in_child=_reset_after_fork)
        _resets_after_fork = True


def _compile_ahead(composition: Composition, stats: Stats) -> None:
    """Attach the listener that starts the processes of `compile_ahead`, in place of an earlier one."""
    module = own_modules.load("on_miss.compile_ahead")
    if module is not None:
        module.listen(stats, composition.values, private=composition.private, statistics=_output_target("STATS"))


def _reset_after_fork() -> None:
    runtime = installed()
    if runtime is not None:
        runtime.stats.reset()


def listings_of(archives: "tuple[Any, ...]") -> "Listings | None":
    """Return the archives' directory listings for the finder; None if every archive checks its sources."""
    usable = [archive for archive in archives if archive.usable]
    if not any(archive.mode == UNCHECKED_HASH for archive in usable):
        return None
    return require("archive").Listings(usable, for_finder=True)  # type: ignore[no-any-return]


def _loader_of(values: "Values") -> "type[CachingLoader] | None":
    if values["gc"] == "default":
        return None
    loaders = require("gc_control")
    return loaders.FreezingLoader if values["gc"] == "freeze" else loaders.PausingLoader  # type: ignore[no-any-return]


def _matcher(patterns: tuple[str, ...]) -> "Callable[[str], bool]":
    return require("patterns").matcher(patterns)  # type: ignore[no-any-return]  # loaded only if there are rules


def _position() -> int:
    """Return the index in `sys.meta_path` for the finder: before `PathFinder`, or before all if a tool has wrapped it."""
    for index, finder in enumerate(sys.meta_path):
        if finder is PathFinder:
            return index
    return 0
