"""The composition root: install, uninstall, and the start-up that the activation files call.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import os
import sys

from . import __version__
from ._compat import PathFinder
from .cachedir import DISABLED, READ_ONLY, WRITABLE, CacheDir
from .events import Stats
from .finder import CachingFinder
from .loader import CachingLoader, Policies, Policy
from .paths import Layout
from .store import InTree, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .loader import Rule
    from .options import Options

    Values = dict[str, Any]  # option values by name, already checked

_active: "Hook | None" = None
_activation: "tuple[Values, str] | None" = None  # what the activation files say, and which file, once they have run


class Hook:
    """The hook in force. As a context manager, it brings back on leaving what was in force before.

    `stats` holds the counters of this process, `cache_dirs` each cache directory in use by its path.
    """

    def __init__(self) -> None:
        self.stats = Stats()
        self.cache_dirs: dict[str, CacheDir] = {}
        self._values: Values | None = None
        self._options: Options | None = None
        self._policies = Policies()
        self._finder: Any = CachingFinder(self._policies)
        self._private = False
        self._replaced: _State | None = None  # what the last install() put aside
        self._outer: list[_State | None] = []  # what each `with` around us will bring back
        self._found: dict[str, tuple[object, object]] = {}  # what `sys` held, and what we put there

    @property
    def options(self) -> "Options | None":
        """The options in force, each with its origin; None if nothing is installed."""
        if self._options is None and self._values is not None:
            self._options = resolve({}, "keyword")  # the activation's own, which start-up took as they are
        return self._options

    @property
    def status(self) -> str:
        """What may be done with the default cache directory now: "writable", "read-only" or "disabled"."""
        directory = self._directory()
        if directory is None:
            return DISABLED
        return READ_ONLY if directory.status == WRITABLE and not directory.writable() else directory.status

    @property
    def reason(self) -> str | None:
        """None, or one sentence: why the status is not "writable", or the last fault that was met."""
        directory = self._directory()
        if directory is None:
            return _why_not_installed()
        if directory.status == WRITABLE and not directory.writable():
            return "Python was told to write no bytecode (PYTHONDONTWRITEBYTECODE or -B); force_write overrules that."
        faults = (each.reason for each in (directory, *self.cache_dirs.values()))
        return next((fault for fault in faults if fault is not None), None)

    def loader(self, fullname: str, path: str) -> CachingLoader:
        """Return a loader for the source at `path`: the one that a module of this name would have."""
        return CachingLoader(fullname, path, self._policies)

    def uninstall(self) -> None:
        """Take the hook out and restore `sys`. Modules already loaded stay; what they load later is CPython's."""
        global _active  # noqa: PLW0603 -- the one hook of this interpreter
        if _active is self:
            _active = None
        self._policies.replace(None)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        self._restore_interpreter()
        self.cache_dirs = {}

    def apply(self, values: "Values", options: "Options | None" = None, *, private: bool = False) -> None:
        """Put option `values` in force, in place of any before; raises `CacheDirError`, under `strict` only.

        `options` are the same with their origins, if those are known; `private` says that the cache directory is
        the user's own default one.
        """
        global _active  # noqa: PLW0603
        layout = Layout.current()
        cache_dirs: dict[str, CacheDir] = {}
        default: Policy | None = None
        rules: tuple[Rule, ...] = ()
        if layout is not None:
            default, rules = self._compose(values, layout, cache_dirs, private=private)
        self._replaced = None if self._values is None else (self._values, self._options, self._private)
        self._values, self._options, self._private = values, options, private
        self.cache_dirs = cache_dirs
        self._policies.replace(default, rules)
        self._restore_interpreter()
        self._adapt_interpreter()
        if self._finder not in sys.meta_path:
            sys.meta_path.insert(_position(), self._finder)
        _active = self

    def found_prefix(self) -> "Any":
        """Return the `sys.pycache_prefix` that would be in force without us."""
        found, put = self._found.get("pycache_prefix", (None, None))
        return found if put is not None and sys.pycache_prefix == put else sys.pycache_prefix

    def __enter__(self) -> "Hook":
        self._outer.append(self._replaced)
        return self

    def __exit__(self, *exc_info: object) -> None:
        outer = self._outer.pop()
        if outer is None:
            self.uninstall()
        elif _active is self:
            values, options, private = outer
            self.apply(values, options, private=private)

    def __repr__(self) -> str:
        return f"<pycachehook.Hook {self.status}{'' if self.reason is None else ': ' + self.reason}>"

    def _directory(self) -> CacheDir | None:
        return None if self._values is None else self.cache_dirs.get(self._values["cache_dir"])

    def _compose(
        self, values: "Values", layout: Layout, cache_dirs: dict[str, CacheDir], *, private: bool
    ) -> "tuple[Policy, tuple[Rule, ...]]":
        default = self._policy(values, layout, cache_dirs, private=private)
        rules = []
        for rule in values["rules"]:
            policy = None
            if rule.get("enabled", True):
                own = private and "cache_dir" not in rule
                policy = self._policy({**values, **rule}, layout, cache_dirs, private=own)
            rules.append((_matcher(rule["match"]), policy))
        return default, tuple(rules)

    def _policy(
        self, values: "Mapping[str, Any]", layout: Layout, cache_dirs: dict[str, CacheDir], *, private: bool
    ) -> Policy:
        path = values["cache_dir"]
        directory = cache_dirs.get(path)
        if directory is None:
            directory = cache_dirs[path] = CacheDir(
                path,
                read_only=values["read_only"],
                private=private,
                allow_shared=values["allow_shared"],
                force_write=values["force_write"],
                strict=values["strict"],
                lock_timeout=values["lock_timeout"],
            )
        in_tree = (InTree(layout),) if values["in_tree"] == "read" else ()
        if directory.status == DISABLED:
            return Policy(in_tree, None, self.stats)
        store = Store(directory, layout, values["invalidation_mode"])
        return Policy((store, *in_tree), store, self.stats)

    def _adapt_interpreter(self) -> None:
        """Make the tools that follow `sys` keep the source trees clean too."""
        directory = self._directory()
        if directory is None:
            return
        if directory.status == DISABLED:
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


if TYPE_CHECKING:
    _State = tuple[Values, Options | None, bool]


def install(cache_dir: object = None, *, config: object = None, **options: object) -> Hook:
    """Load plain source modules through the cache from now on, and return the `Hook`.

    The options are the keys of `pycachehook.config.OPTIONS`; one that is None or left out comes from the environment,
    the TOML file that `config` names, the activation files, or the default. With a hook in force already, its
    settings are replaced, in place.

    Raises `ConfigError` (a ValueError) for a wrong option. A wrong environment raises nothing, unless `strict`
    (then `CacheDirError`): the hook's `status` and `reason` tell. Under `PYCACHEHOOK_DISABLE` nothing is installed.
    """
    return install_from({"cache_dir": cache_dir, **options}, "keyword", config)


def install_from(keywords: "Mapping[str, object]", origin: str, config: object = None) -> Hook:
    """As `install`, with the options as a dict; `origin` is "keyword", or "flag" from a command line."""
    options = resolve(keywords, origin, config)
    return _put_in_force(options.values(), options, private=options.origin("cache_dir") == "default")


def resolve(keywords: "Mapping[str, object]", origin: str, config: object = None) -> "Options":
    """Return the options that `install_from` would put in force here; raises `ConfigError`."""
    from . import config as settings

    activation, activation_origin = _activation or ({}, "")
    prefix = sys.pycache_prefix if _active is None else _active.found_prefix()
    return settings.resolve(
        keywords, origin, config=config, activation=activation, activation_origin=activation_origin, prefix=prefix
    )


def _put_in_force(values: "Values", options: "Options | None" = None, *, private: bool) -> Hook:
    if killed():
        return Hook()
    hook = _active
    if hook is None:
        hook = Hook()
        _listen(hook.stats)
    hook.apply(values, options, private=private)
    return hook


def killed() -> bool:
    """Say whether `PYCACHEHOOK_DISABLE`, the kill switch, is set: to anything but an empty string, 0, false, no, off."""
    return os.environ.get("PYCACHEHOOK_DISABLE", "").lower() not in ("", "0", "false", "no", "off")


def uninstall() -> None:
    """Take the hook in force out, if there is one."""
    if _active is not None:
        _active.uninstall()


def active() -> Hook | None:
    """Return the hook in force, or None."""
    return _active


def start_up(options: "Values", version: str, origin: str) -> None:
    """Install what `pycachehook enable` wrote down; called by the activation files, so it never raises or prints.

    `options` has a value for every option that this `version` of the package knows (`cache_dir` may be None, for the
    default), `origin` is the path of the file. A second call does nothing: before Python 3.15, `.pth` files run
    twice in virtual environments.
    """
    global _activation  # noqa: PLW0603
    if _activation is not None:
        return
    _activation = (options, origin)
    if _active is not None:
        return
    try:
        if version != __version__ or options["cache_dir"] is None or _environment_has_options():
            install_from({}, "keyword")
        else:
            _put_in_force(options, private=False)
    except Exception as error:  # noqa: BLE001 -- a start-up file that raises breaks every program there
        log = os.environ.get("PYCACHEHOOK_LOG")
        if log:
            from .journal import open_log

            open_log(log)(f"not active: {error}")


def _environment_has_options() -> bool:
    """Say whether the environment may change an option: then they are resolved, at the price of loading `config`."""
    listeners = ("PYCACHEHOOK_LOG", "PYCACHEHOOK_STATS", "PYCACHEHOOK_DISABLE")
    return any(name.startswith("PYCACHEHOOK_") and name not in listeners for name in os.environ)


def _listen(stats: Stats) -> None:
    """Attach the listeners that the environment asks for."""
    log, file = os.environ.get("PYCACHEHOOK_LOG"), os.environ.get("PYCACHEHOOK_STATS")
    if log or file:
        from .journal import open_log, write_at_exit

        if log:
            stats.log = open_log(log)
        if file:
            write_at_exit(stats, file)


def _matcher(patterns: tuple[str, ...]) -> "Callable[[str], bool]":
    from .rules import matches

    return lambda path: matches(patterns, path)


def _position() -> int:
    """Return where in `sys.meta_path` the finder goes: in front of `PathFinder`, or last if there is none."""
    for index, finder in enumerate(sys.meta_path):
        if finder is PathFinder:
            return index
    return len(sys.meta_path)


def _why_not_installed() -> str:
    if killed():
        return "PYCACHEHOOK_DISABLE is set."
    return (
        "This interpreter caches no bytecode (it has no cache tag)." if Layout.current() is None else "Not installed."
    )
