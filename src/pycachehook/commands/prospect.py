"""The state of a start in this environment, computed without creating anything."""

import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pycachehook import runtime
from pycachehook._compat import MAGIC_NUMBER
from pycachehook.cache_dir import DISABLED, READ_ONLY, WRITABLE, CacheDir
from pycachehook.config import resolution
from pycachehook.config.options import Options
from pycachehook.content_store import SharedStore
from pycachehook.events import ARCHIVE, IN_TREE, Miss, Stats
from pycachehook.on_miss.writer import check_inside
from pycachehook.paths import OWN_DIR, SHARED_DIR, Layout, missing_home, why_no_default_cache_dir
from pycachehook.pyc import CHECK_SOURCE, HASH_BASED, HEADER_SIZE
from pycachehook.system import READ_FLAGS, read_file
from pycachehook.trust import trusted_owners, why_untrusted

from .enable import FILES, recorded_options
from .source_file import SourceFile

NO_WRITING = "Python was told to write no bytecode (PYTHONDONTWRITEBYTECODE or -B); force_write overrules that."
NOTHING_IS_STORED = "Nothing can be stored in"


def options_of_a_start(given: Mapping[str, object], config: object = None) -> Options:
    """Return the options of a start in this environment, overridden by those `given`; raises `ConfigError`.

    If the activation files have not run, as under `python -S`, the options recorded in them are used nevertheless.
    """
    recorded = _recorded() if runtime.activation is None else {}
    if not recorded:
        return runtime.resolve(given, "flag", config)
    return resolution.resolve(
        given,
        "flag",
        config=config,
        activation=recorded,
        activation_origin=activation_file() or "",
        prefix=sys.pycache_prefix,
    )


def activation_file() -> str | None:
    """Return the path of the start-up file in this environment, or None if it is not enabled."""
    path = os.path.join(sysconfig.get_path("purelib"), FILES[0])
    return path if os.path.lexists(path) else None


def _recorded() -> dict[str, Any]:
    return {} if activation_file() is None else recorded_options(Path(sysconfig.get_path("purelib")))


def state_of_a_start(values: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return the status of a start with these option values, and why it is not "writable"."""
    if runtime.disabled_by_environment():
        return DISABLED, "PYCACHEHOOK_DISABLE is set."
    path = values["cache_dir"]
    if path is None:
        return DISABLED, why_no_default_cache_dir()
    directory: tuple[str, str | None]
    if os.path.exists(path):
        names = ("read_only", "allow_shared")
        found = CacheDir(path, **{name: values[name] for name in names})
        fault = why_nothing_is_stored(found)
        directory = (found.status, found.reason) if fault is None else (READ_ONLY, fault)
    else:
        fault = _cannot_be_made(path, values)
        directory = (WRITABLE, None) if fault is None else (DISABLED, fault)
    if directory[0] == WRITABLE and told_not_to_write() and not values["force_write"]:
        return READ_ONLY, NO_WRITING
    return directory


def told_not_to_write() -> bool:
    """Return whether Python has been told to write no bytecode, by anything else than an installed hook itself."""
    active = runtime.installed()
    replaced = {} if active is None else active.replaced
    return bool(replaced.get("dont_write_bytecode", (sys.dont_write_bytecode, None))[0])


def why_nothing_is_stored(directory: CacheDir) -> str | None:
    """Return what prevents pycachehook's own files in a writable cache directory, as a sentence, or None."""
    if directory.status != WRITABLE:
        return None
    for name in (OWN_DIR, f"{OWN_DIR}/locks", f"{OWN_DIR}/{SHARED_DIR}"):
        folder = os.path.join(directory.path, name)
        try:
            check_inside(directory, folder)
            if not os.path.isdir(folder) and os.path.lexists(folder):
                return f"{NOTHING_IS_STORED} {directory.path}: {folder} is not a directory."
        except OSError as error:
            return f"{NOTHING_IS_STORED} {directory.path}: {error.strerror or error}."
    return None


def _cannot_be_made(path: str, values: Mapping[str, Any]) -> str | None:  # noqa: PLR0911 -- a chain of conditions
    """Return why a cache directory that does not exist cannot be created, or None."""
    if values["read_only"]:
        return f"The cache directory {path} does not exist, and read_only is set."
    home = missing_home(path)
    if home is not None:
        return f"The cache directory {path} cannot be used: {home}: this home directory does not exist."
    if os.path.islink(path):
        return f"The cache directory {path} cannot be used: it is a link to nothing."
    above = os.path.dirname(path)
    while not os.path.lexists(above) and above != os.path.dirname(above):
        above = os.path.dirname(above)
    try:
        fault = why_untrusted(path, () if values["allow_shared"] else trusted_owners())
    except FileNotFoundError:
        fault = None
    except OSError as error:
        return f"The cache directory {path} cannot be used: {error.filename}: {error.strerror}."
    if fault is None and not os.path.isdir(above):
        return f"The cache directory {path} cannot be used: {above} is not a directory."
    if fault is None and not os.access(above, os.W_OK | os.X_OK):
        return (
            f"The cache directory {path} does not exist and cannot be created: {above} is not writable for this user, or "
            "on a read-only medium."
        )
    return fault


class Coverage:
    """How many of the installed modules have bytecode that a start with these option values uses."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._layout = Layout.current() or Layout("")
        composed = runtime.compose({**values, "strict": False}, Stats(), look_only=True)
        self._default, self._rules = composed.default, composed.rules
        self._in_tree = values["in_tree"]
        covered = [self.covers(source) for source in installed_sources()]
        self.total = len(covered)
        self.missing = covered.count(False)

    def covers(self, path: str) -> bool:
        """Return whether the source at `path` has bytecode that is used."""
        policy = next((policy for matches, policy in self._rules if matches(path)), self._default)
        pyc = self._layout.in_tree(path)
        if policy is None:
            return not is_stale(pyc, path)
        for place in policy.places:
            if place.name == ARCHIVE:
                try:
                    place.find(path)
                except (Miss, OSError):
                    continue
                return True
            if place.name == IN_TREE:
                if not is_stale(pyc, path, hashed_only=self._in_tree == "hashed"):
                    return True
            elif os.path.lexists(_location(place, path)):
                return True
        return False

    def cost(self) -> str:
        """Return in one sentence what is compiled at every start."""
        where = sysconfig.get_path("purelib")
        if self.total == 0:
            return "Modules without bytecode are compiled at every start."
        if self.missing == 0:
            return (
                f"The {self.total} modules in {where} have bytecode that is used; modules elsewhere that have none are "
                "compiled at every start."
            )
        return (
            f"{self.missing} of {self.total} modules in {where} have no bytecode that is used: a start that imports them "
            "compiles them each time."
        )


def installed_sources() -> Iterator[str]:
    """Yield the source of each module in this environment's package directories."""
    for directory in sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}):
        for folder, folders, names in os.walk(directory):
            folders[:] = sorted(name for name in folders if name != "__pycache__")
            yield from (os.path.join(folder, name) for name in sorted(names) if name.endswith(".py"))


def is_stale(path: str, source: str, *, hashed_only: bool = False) -> bool:
    """Return whether the pyc at `path` is missing, or CPython would not use it for the source."""
    try:
        header = _header(path)
        flags, stamp = int.from_bytes(header[4:8], "little"), header[8:]
        if header[:4] != MAGIC_NUMBER or (hashed_only and not flags & HASH_BASED):
            return True
        if flags & HASH_BASED and not flags & CHECK_SOURCE:
            return False
        return stamp != SourceFile(source).stamp(flags)
    except OSError:
        return True


def _header(path: str) -> bytes:
    descriptor = os.open(path, READ_FLAGS)
    try:
        return os.read(descriptor, HEADER_SIZE)
    finally:
        os.close(descriptor)


def _location(place: Any, path: str) -> str:
    if isinstance(place, SharedStore):
        try:
            return place.location(path, read_file(path, READ_FLAGS)[0])
        except OSError:
            pass
    return str(place.path(path))
