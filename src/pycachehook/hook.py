"""The API for programs: install, uninstall, and the `Hook` that reports on the installation.

The work is done by `runtime`, which is all that a start needs. This module loads it only when something is installed,
so that under the kill switch no other module of the package is loaded.
"""

import _thread
import builtins

from . import disabled_by_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any, Literal, ParamSpec

    from .archive import Archive, Refused
    from .cache_dir import CacheDir
    from .config.options import Options
    from .events import Event, Stats
    from .loader import CachingLoader
    from .runtime import Composition, Runtime

    Parameters = ParamSpec("Parameters")

# A replacement of `builtins.__import__` by the program must not see the imports of this module.
__builtins__ = dict(vars(builtins))  # type: ignore[assignment]

_KILLED = "PYCACHEHOOK_DISABLE is set."
_WAIT = 1.0  # seconds; after a fork, or with circular imports, the lock may never be released

_lock = _thread.RLock()


class _OneThread:
    """A context manager that only one thread at a time can enter, for changes of the installation."""

    __slots__ = ("_acquired",)

    def __enter__(self) -> None:
        self._acquired = _lock.acquire(timeout=_WAIT)

    def __exit__(self, *exc_info: object) -> None:
        if self._acquired:
            _lock.release()


class Hook:
    """The installed hook. As a context manager, it restores the previous installation on exit."""

    __slots__ = ("_before_install", "_before_with", "_reason", "_runtime", "_stats")

    def __init__(self, runtime: "Runtime | None" = None, reason: str | None = None) -> None:
        self._runtime = runtime
        self._reason = reason  # why there is no runtime
        self._stats: Stats | None = None
        # What the last install() replaced, until a `with` statement has taken it over. A 1-tuple, because nothing
        # (None) may have been installed.
        self._before_install: tuple[Composition | None] | None = None
        # What the enclosing `with` statements restore, the innermost last.
        self._before_with: list[Composition | None] = []
        if runtime is not None:
            runtime.hook = self

    @property
    def status(self) -> "Literal['writable', 'read-only', 'disabled']":
        """The state of the default cache directory: "writable", "read-only" or "disabled"."""
        composition = self._composition()
        directory = None if composition is None else composition.directory
        if composition is None or directory is None or directory.status == "disabled":
            return "disabled"
        return "writable" if directory.writable() and not composition.values["read_only"] else "read-only"

    @property
    def reason(self) -> str | None:
        """None, or one sentence: why the status is not "writable", or the last fault."""
        composition = self._composition()
        if composition is None:
            return self._reason or (_KILLED if disabled_by_environment() else "Not installed.")
        directory = composition.directory
        if directory is None:
            return composition.reason
        if directory.status == "writable":
            if composition.values["read_only"]:
                return "read_only is set."
            if not directory.writable():
                return (
                    "Python was told to write no bytecode (PYTHONDONTWRITEBYTECODE or -B); force_write overrules that."
                )
        faults = (source.reason for source in (directory, *self.cache_dirs.values(), *self.archives))
        return next((fault for fault in faults if fault is not None), None)

    @property
    def stats(self) -> "Stats":
        """The counters of this hook in this process."""
        if self._runtime is not None:
            return self._runtime.stats
        if self._stats is None:
            from .events import Stats

            self._stats = Stats()
        return self._stats

    @property
    def options(self) -> "Options | None":
        """The installed options with their origins; None if nothing is installed."""
        composition = self._composition()
        if composition is None:
            return None
        if composition.options is None:
            from . import runtime
            from .config import resolution

            recorded, file = runtime.activation or ({}, "")
            return resolution.as_recorded(composition.values, recorded, file, private=composition.private)
        return composition.options

    @property
    def cache_dirs(self) -> "dict[str, CacheDir]":
        """The cache directories in use, by path."""
        composition = self._composition()
        return {} if composition is None else composition.cache_dirs

    @property
    def archives(self) -> "tuple[Archive | Refused, ...]":
        """The configured archives, in order; one that cannot be used has a `reason`."""
        composition = self._composition()
        return () if composition is None else composition.archives

    def uninstall(self) -> None:
        """Remove the hook and restore `sys`. Loaded modules stay; their later imports are loaded by CPython alone."""
        if self._runtime is not None:
            with _OneThread():
                self._runtime.uninstall()

    def _composition(self) -> "Composition | None":
        return None if self._runtime is None else self._runtime.composition

    def __enter__(self) -> "Hook":
        replaced = (self._composition(),) if self._before_install is None else self._before_install
        self._before_install = None
        self._before_with += replaced
        return self

    def __exit__(self, *exc_info: object) -> None:
        replaced = self._before_with.pop()
        self._before_install = None
        if self._runtime is None or self._runtime.composition is None:  # it has been uninstalled since
            return
        with _OneThread():
            if replaced is None:
                self._runtime.uninstall()
            else:
                self._runtime.install(replaced)

    def __copy__(self) -> "Hook":
        """Return the hook itself: there is one installation in a process, and a copy of it could change `sys`."""
        return self

    def __deepcopy__(self, _memo: object) -> "Hook":
        return self

    def __reduce__(self) -> "Any":
        raise TypeError("a Hook belongs to its process and cannot be pickled; pickle `hook.options` instead")

    def __repr__(self) -> str:
        return f"<pycachehook.Hook {self.status}{'' if self.reason is None else ': ' + self.reason}>"


def _unless_killed(function: "Callable[Parameters, Hook]") -> "Callable[Parameters, Hook]":
    """Check the kill switch before the arguments are examined; raise `ConfigError` for an unknown option."""
    known: Any = function.__kwdefaults__

    def install(*args: "Any", **keywords: "Any") -> Hook:
        if disabled_by_environment():
            return Hook(reason=_KILLED)
        if any(name not in known and name != "cache_dir" for name in keywords):
            return install_from(keywords, "keyword")  # raises ConfigError
        return function(*args, **keywords)

    install.__wrapped__ = function  # type: ignore[attr-defined]  # `inspect` and `help` take the signature from it
    install.__doc__, install.__qualname__ = function.__doc__, "install"
    return install


@_unless_killed
def install(  # has one line for each option, three times
    cache_dir: "str | os.PathLike[str] | None" = None,
    *,
    config: "str | os.PathLike[str] | None" = None,
    layout: "Literal['mirror', 'shared'] | None" = None,
    invalidation_mode: "Literal['checked-hash', 'unchecked-hash', 'timestamp'] | None" = None,
    in_tree: "Literal['installed', 'all', 'hashed', 'ignore', 'read'] | None" = None,
    read_only: bool | None = None,
    rules: "Sequence[Mapping[str, Any]] | str | None" = None,
    archives: "Sequence[str | os.PathLike[str]] | str | os.PathLike[str] | None" = None,
    lock_timeout: float | None = None,
    force_write: bool | None = None,
    allow_shared: bool | None = None,
    gc: "Literal['default', 'pause', 'freeze'] | None" = None,
    compile_ahead: int | None = None,
    open_code: "Literal['auto', 'always', 'never'] | None" = None,
    strict: bool | None = None,
    pause_gc: bool | None = None,
) -> Hook:
    """Load plain source modules through the cache from now on, and return the `Hook`.

    An option that is None is taken from the environment, the TOML file `config`, or the activation files, in this
    order, or has its default. If a hook is installed already, its options are replaced.

    cache_dir          root of the writable store; default: `PYTHONPYCACHEPREFIX`, or the user's cache directory
    config             a TOML file with a table `[tool.pycachehook]`; default: `PYCACHEHOOK_CONFIG`
    layout             "mirror" (default): one entry per source path; "shared": one per source content
    invalidation_mode  "checked-hash" (default), "unchecked-hash" or "timestamp" (PEP 552)
    in_tree            which pycs in the source's own `__pycache__` are read: "installed" (default), those with a
                       timestamp only in the standard library and in site-packages; "all"; "hashed"; "ignore"
    read_only          never write; default False
    rules              tables of options for some of the sources, with `match` or `distribution`; default: none
    archives           read-only archives to look in first; default: none
    lock_timeout       seconds to wait for another process that compiles the same source; default 5
    force_write        write even under `-B` and `PYTHONDONTWRITEBYTECODE`; default False
    allow_shared       accept directories and files that others may write to; default False
    gc                 "default"; "pause": no collection while a module is executed; "freeze": besides, later
                       collections do not visit what was imported
    compile_ahead      number of processes that compile in advance what a cold start imports, 0 (default) to 64
    open_code          read through `io.open_code`: "auto" (default), if an embedder has set a hook; "always"; "never"
    strict             raise for faults of the environment; default False
    pause_gc           the earlier name of gc="pause"

    Raises `ConfigError` (a ValueError) for a wrong option. A fault of the environment is reported by the hook's
    `status` and `reason`; it raises `CacheDirError` under `strict` only. If an exception is raised, nothing has been
    changed. Under `PYCACHEHOOK_DISABLE` nothing is installed, and nothing is raised.
    """
    options = {
        "cache_dir": cache_dir,
        "layout": layout,
        "invalidation_mode": invalidation_mode,
        "in_tree": in_tree,
        "read_only": read_only,
        "rules": rules,
        "archives": archives,
        "lock_timeout": lock_timeout,
        "force_write": force_write,
        "allow_shared": allow_shared,
        "gc": gc,
        "compile_ahead": compile_ahead,
        "open_code": open_code,
        "strict": strict,
        "pause_gc": pause_gc,
    }
    return install_from(options, "keyword", config)


def install_from(keywords: "Mapping[str, object]", origin: str, config: object = None) -> Hook:
    """Do as `install`, with the options as a dict; `origin` is "keyword", or "flag" for a command line."""
    if disabled_by_environment():
        return Hook(reason=_KILLED)
    with _OneThread():
        return _install(keywords, origin, config)


def _install(keywords: "Mapping[str, object]", origin: str, config: object) -> Hook:
    from . import runtime

    options = runtime.resolve(keywords, origin, config)
    installed_runtime = runtime.installed()
    own = runtime.Runtime() if installed_runtime is None else runtime.Runtime.of_this_copy(installed_runtime)
    private = options.origin("cache_dir") == "default"
    composition = runtime.compose(options.values(), own.stats, private=private, options=options)
    replaced = None if installed_runtime is None else installed_runtime.composition
    own.install(composition)
    hook: Hook = Hook(own) if own.hook is None else own.hook
    hook._runtime, hook._before_install = own, (replaced,)  # noqa: SLF001 -- may belong to an earlier copy of this class
    return hook


def uninstall() -> None:
    """Remove the installed hook, if there is one."""
    with _OneThread():
        installed_runtime = _installed()
        if installed_runtime is not None:
            installed_runtime.uninstall()


def active() -> Hook | None:
    """Return the installed hook, or None."""
    installed_runtime = _installed()
    return None if installed_runtime is None else installed_runtime.hook or Hook(installed_runtime)


def on_event(callback: "Callable[[Event], object]") -> "Callable[[], None]":
    """Call `callback` with an `Event` for each hit, miss, compilation, stored entry and fault from now on.

    It is called in the importing thread before the module is executed, in this process and its forked children, and it
    stays registered when the hook is installed again. A callback that raises an `Exception` is not called again.
    Returns a function that removes the callback.
    """
    if not callable(callback):
        raise TypeError(f"on_event() takes a callable, not {callback!r}")
    from .events import process_listeners

    installed_runtime = _installed()
    listeners = process_listeners if installed_runtime is None else installed_runtime.stats.listeners
    listeners.append(callback)

    def remove() -> None:
        for index, listener in enumerate(listeners):
            if listener is callback:
                del listeners[index]
                return

    return remove


def loader(fullname: str, path: str) -> "CachingLoader":
    """Return the loader that a module `fullname` with its source at `path` would have."""
    from .loader import CachingLoader, Policies

    installed_runtime = _installed()
    policies = Policies() if installed_runtime is None else installed_runtime.policies
    return (policies.loader or CachingLoader)(fullname, path, policies)


def _installed() -> "Runtime | None":
    from .runtime import installed

    return installed()
