"""The hook as programs see it: install, uninstall, and what can be asked of it.

What it stands for is in `in_force`, which is all that a start needs; this module is loaded when a program asks for it.
"""

from . import runtime
from .cache_dir import DISABLED, READ_ONLY, WRITABLE, CacheDir
from .events import Stats
from .loader import CachingLoader
from .paths import Layout
from .runtime import InForce, killed, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from .archive import Archive, Refused
    from .config.options import Options
    from .runtime import Values

    _State = tuple[Values, Options | None, bool]


class Hook:
    """The hook in force. As a context manager, it brings back on leaving what was in force before."""

    def __init__(self, setting: InForce | None = None) -> None:
        self._setting = InForce() if setting is None else setting
        self._setting.hook = self
        self._options: Options | None = None
        self._replaced: _State | None = None  # what the last install() put aside
        self._outer: list[_State | None] = []  # what each `with` around us will bring back

    @property
    def stats(self) -> Stats:
        """The counters of this process."""
        return self._setting.stats

    @property
    def cache_dirs(self) -> dict[str, CacheDir]:
        """Each cache directory in use, by its path."""
        return self._setting.cache_dirs

    @property
    def archives(self) -> "tuple[Archive | Refused, ...]":
        """Each archive that is configured, in order; those that cannot be used have a `reason`."""
        return self._setting.archives

    @property
    def options(self) -> "Options | None":
        """The options in force, each with its origin; None if nothing is installed."""
        if self._options is None and self._setting.values is not None:
            self._options = resolve({}, "keyword")  # the activation's own, which start-up took as they are
        return self._options

    @property
    def status(self) -> str:
        """What may be done with the default cache directory now: "writable", "read-only" or "disabled"."""
        directory = self._setting.directory()
        if directory is None:
            return DISABLED
        return READ_ONLY if directory.status == WRITABLE and not directory.writable() else directory.status

    @property
    def reason(self) -> str | None:
        """None, or one sentence: why the status is not "writable", or the last fault that was met."""
        directory = self._setting.directory()
        if directory is None:
            return _why_not_installed()
        if directory.status == WRITABLE and not directory.writable():
            return "Python was told to write no bytecode (PYTHONDONTWRITEBYTECODE or -B); force_write overrules that."
        faults = (each.reason for each in (directory, *self.cache_dirs.values(), *self.archives))
        return next((fault for fault in faults if fault is not None), None)

    def loader(self, fullname: str, path: str) -> CachingLoader:
        """Return a loader for the source at `path`: the one that a module of this name would have."""
        policies = self._setting.policies
        return (policies.loader or CachingLoader)(fullname, path, policies)

    def uninstall(self) -> None:
        """Take the hook out and restore `sys`. Modules already loaded stay; what they load later is CPython's."""
        self._setting.withdraw()

    def apply(self, values: "Values", options: "Options | None" = None, *, private: bool = False) -> None:
        """Put option `values` in force, in place of any before; raises `CacheDirError`, under `strict` only.

        `options` are the same with their origins, if those are known; `private` says that the cache directory is
        the user's own default one.
        """
        setting = self._setting
        replaced = None if setting.values is None else (setting.values, self._options, setting.private)
        setting.put(values, private=private)
        self._replaced, self._options = replaced, options

    def found_prefix(self) -> object:
        """Return the `sys.pycache_prefix` that would be in force without us."""
        return self._setting.found_prefix()

    def __enter__(self) -> "Hook":
        self._outer.append(self._replaced)
        return self

    def __exit__(self, *exc_info: object) -> None:
        outer = self._outer.pop()
        if outer is None:
            self.uninstall()
        elif runtime.current is self._setting:
            values, options, private = outer
            self.apply(values, options, private=private)

    def __repr__(self) -> str:
        return f"<pycachehook.Hook {self.status}{'' if self.reason is None else ': ' + self.reason}>"


def install(cache_dir: object = None, *, config: object = None, **options: object) -> Hook:
    """Load plain source modules through the cache from now on, and return the `Hook`.

    The options are the keys of `pycachehook.config.resolution.OPTIONS`; one that is None or left out comes from the environment,
    the TOML file that `config` names, the activation files, or the default. With a hook in force already, its
    settings are replaced, in place.

    Raises `ConfigError` (a ValueError) for a wrong option. A wrong environment raises nothing, unless `strict`
    (then `CacheDirError`): the hook's `status` and `reason` tell. Under `PYCACHEHOOK_DISABLE` nothing is installed.
    """
    return install_from({"cache_dir": cache_dir, **options}, "keyword", config)


def install_from(keywords: "Mapping[str, object]", origin: str, config: object = None) -> Hook:
    """As `install`, with the options as a dict; `origin` is "keyword", or "flag" from a command line."""
    options = resolve(keywords, origin, config)
    private = options.origin("cache_dir") == "default"
    if killed():
        return Hook()
    hook = active() or Hook(InForce.listening())
    hook.apply(options.values(), options, private=private)
    return hook


def uninstall() -> None:
    """Take the hook in force out, if there is one."""
    if runtime.current is not None:
        runtime.current.withdraw()


def active() -> Hook | None:
    """Return the hook in force, or None."""
    setting = runtime.current
    if setting is None:
        return None
    return setting.hook or Hook(setting)


def _why_not_installed() -> str:
    if killed():
        return "PYCACHEHOOK_DISABLE is set."
    return (
        "This interpreter caches no bytecode (it has no cache tag)." if Layout.current() is None else "Not installed."
    )
