"""What is in force in this interpreter: the finder, the policies, and what they change in `sys`.

And the start-up that the activation files call, which needs no more than this: the `Hook` that programs see is made
when one asks for it.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import os
import sys

from . import __version__, own_modules
from ._compat import PathFinder
from .cache_dir import DISABLED, CacheDir
from .events import Stats
from .finder import CachingFinder
from .loader import Policies, Policy
from .paths import SHARED, Layout
from .pyc import UNCHECKED_HASH
from .store import InTree, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from .archive import Listings
    from .config.options import Options
    from .loader import CachingLoader, Rule

    Values = dict[str, Any]  # option values by name, already checked

current: "InForce | None" = None
activation: "tuple[Values, str] | None" = None  # what the activation files say, and which file, once they have run


class InForce:
    """Option values put in force, and what it takes to put others in their place, or nothing.

    `stats` holds the counters of this process, `cache_dirs` each cache directory in use by its path, `archives` each
    archive that is configured, used or refused, `values` the option values, None before there are any; `private` says that the cache directory is the user's own default one.
    """

    def __init__(self) -> None:
        self.stats = Stats()
        self.cache_dirs: dict[str, CacheDir] = {}
        self.archives: tuple[Any, ...] = ()
        self.values: Values | None = None
        self.private = False
        self.hook: Any = None  # what programs have been given for it
        self.policies = Policies()
        self.policies.leave_prefix = self.leave_prefix
        self._finder: Any = CachingFinder(self.policies)
        self._found: dict[str, tuple[object, object]] = {}  # what `sys` held, and what we put there

    @classmethod
    def listening(cls) -> "InForce":
        """Return a new one, with the listeners that the environment asks for."""
        new = cls()
        _listen(new.stats)
        return new

    def put(self, values: "Values", *, private: bool = False) -> None:
        """Put option values in force, in place of any before; raises `CacheDirError`, under `strict` only."""
        global current  # noqa: PLW0603 -- the one of this interpreter
        default, rules, cache_dirs = self.compose(values, private=private)
        self.values, self.private = values, private
        self.cache_dirs = cache_dirs
        self.policies.replace(default, rules, listings_of(self.archives), _loader_of(values))
        self._restore_interpreter()
        self._adapt_interpreter()
        own_modules.remember()
        if self._finder not in sys.meta_path:
            sys.meta_path.insert(_position(), self._finder)
        current = self

    def withdraw(self) -> None:
        """Take everything out and restore `sys`. Modules already loaded stay; what they load later is CPython's."""
        global current  # noqa: PLW0603
        if current is self:
            current = None
        self.policies.replace(None)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        self._restore_interpreter()
        self.cache_dirs, self.archives = {}, ()

    def directory(self) -> CacheDir | None:
        """Return the default cache directory, if there is one in use."""
        return None if self.values is None else self.cache_dirs.get(self.values["cache_dir"])

    def leave_prefix(self) -> None:
        """Restore the `sys.pycache_prefix` that was found: a program that writes pycs is to write them where it would."""
        if "pycache_prefix" in self._found:
            found, put = self._found.pop("pycache_prefix")
            if sys.pycache_prefix == put:
                sys.pycache_prefix = found  # type: ignore[assignment]

    def found_prefix(self) -> "Any":
        """Return the `sys.pycache_prefix` that would be in force without us."""
        found, put = self._found.get("pycache_prefix", (None, None))
        return found if put is not None and sys.pycache_prefix == put else sys.pycache_prefix

    def compose(
        self, values: "Values", *, private: bool
    ) -> "tuple[Policy | None, tuple[Rule, ...], dict[str, CacheDir]]":
        """Return the default policy, the rules, and the cache directories by path, for option values.

        Archives are opened too, and kept. Raises `CacheDirError`, under `strict` only.
        """
        layout = Layout.current()
        self.archives = ()
        cache_dirs: dict[str, CacheDir] = {}
        if layout is None:
            return None, (), cache_dirs
        self._directory(values, cache_dirs, private=private)  # before archives have the disk read megabytes
        if values["archives"]:
            from .archive import open_all  # loads mmap, and few have any

            self.archives = open_all(values["archives"], allow_shared=values["allow_shared"], strict=values["strict"])
        default = self._policy(values, layout, cache_dirs, private=private)
        rules = []
        for rule in values["rules"]:
            policy = None
            if rule.get("enabled", True):
                own = private and "cache_dir" not in rule
                policy = self._policy({**values, **rule}, layout, cache_dirs, private=own)
            rules.append((_matcher(rule["match"]), policy))
        return default, tuple(rules), cache_dirs

    def _directory(self, values: "Mapping[str, Any]", cache_dirs: dict[str, CacheDir], *, private: bool) -> CacheDir:
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
        return directory

    def _policy(
        self, values: "Mapping[str, Any]", layout: Layout, cache_dirs: dict[str, CacheDir], *, private: bool
    ) -> Policy:
        directory = self._directory(values, cache_dirs, private=private)
        archives = tuple(each for each in self.archives if each.usable)
        in_tree = (InTree(layout),) if values["in_tree"] == "read" else ()
        if directory.status == DISABLED:
            return Policy((*archives, *in_tree), None, self.stats)
        if values["layout"] == SHARED:
            from .content_store import SharedStore  # for those who ask for it

            shared = SharedStore(directory, layout, self.stats)
            return Policy((*archives, shared, *in_tree), shared, self.stats)
        store = Store(directory, layout, values["invalidation_mode"])
        return Policy((*archives, store, *in_tree), store, self.stats)

    def _adapt_interpreter(self) -> None:
        """Make the tools that follow `sys` keep the source trees clean too."""
        directory = self.directory()
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


def resolve(keywords: "Mapping[str, object]", origin: str, config: object = None) -> "Options":
    """Return the options that `install` would put in force here; raises `ConfigError`."""
    from .config import resolution as settings

    enabled, file = activation or ({}, "")
    prefix = sys.pycache_prefix if current is None else current.found_prefix()
    return settings.resolve(keywords, origin, config=config, activation=enabled, activation_origin=file, prefix=prefix)


def killed() -> bool:
    """Say whether `PYCACHEHOOK_DISABLE`, the kill switch, is set: to anything but an empty string, 0, false, no, off."""
    return os.environ.get("PYCACHEHOOK_DISABLE", "").lower() not in ("", "0", "false", "no", "off")


def start_up(options: "Values", version: str, origin: str) -> None:
    """Install what `pycachehook enable` wrote down; called by the activation files, so it never raises or prints.

    `options` has a value for every option that this `version` of the package knows (`cache_dir` may be None, for the
    default), `origin` is the path of the file. A second call does nothing: before Python 3.15, `.pth` files run
    twice in virtual environments.
    """
    global activation  # noqa: PLW0603
    if activation is not None:
        return
    activation = (options, origin)
    if current is not None:
        return
    try:
        if killed():
            return
        private = False
        if version != __version__ or options["cache_dir"] is None or _environment_has_options():
            resolved = resolve({}, "keyword")
            options, private = resolved.values(), resolved.origin("cache_dir") == "default"
        InForce.listening().put(options, private=private)
        _leave_no_debt()
    except Exception as error:  # noqa: BLE001 -- a start-up file that raises breaks every program there
        log = os.environ.get("PYCACHEHOOK_LOG")
        if log:
            from .stats_log import open_log

            open_log(log)(f"not active: {error}")


def _leave_no_debt() -> None:
    """Put what the interpreter and our start-up have made into the collector's oldest generation, with its counts at zero.

    Else our own few thousand objects would bring the program's next collections forward, of which one over all
    objects costs as much as ten of our start-ups. (Not on Python 3.12, which begins with frozen objects of its own.)
    """
    import gc  # built in

    if gc.get_freeze_count() == 0:
        gc.freeze()
        gc.unfreeze()


def _environment_has_options() -> bool:
    """Say whether the environment may change an option: then they are resolved, at the price of loading `config`."""
    listeners = ("PYCACHEHOOK_LOG", "PYCACHEHOOK_STATS", "PYCACHEHOOK_DISABLE")
    return any(name.startswith("PYCACHEHOOK_") and name not in listeners for name in os.environ)


def _listen(stats: Stats) -> None:
    """Attach the listeners that the environment asks for."""
    log, file = os.environ.get("PYCACHEHOOK_LOG"), os.environ.get("PYCACHEHOOK_STATS")
    if log or file:
        from .stats_log import open_log, write_at_exit

        if log:
            stats.log = open_log(log)
        if file:
            write_at_exit(stats, file)


def listings_of(archives: "tuple[Any, ...]") -> "Listings | None":
    """Return what archives know of directories, for the finder, if there are any whose sources nobody looks at."""
    usable = [each for each in archives if each.usable]
    if not any(each.mode == UNCHECKED_HASH for each in usable):
        return None
    from .archive import Listings

    return Listings(usable, for_finder=True)


def _loader_of(values: "Values") -> "type[CachingLoader] | None":
    if not values["pause_gc"]:
        return None
    from .gc_control import PausingLoader

    return PausingLoader


def _matcher(patterns: tuple[str, ...]) -> "Callable[[str], bool]":
    from .config.rules import matches

    return lambda path: matches(patterns, path)


def _position() -> int:
    """Return where in `sys.meta_path` the finder goes: in front of `PathFinder`, or last if there is none."""
    for index, finder in enumerate(sys.meta_path):
        if finder is PathFinder:
            return index
    return len(sys.meta_path)
