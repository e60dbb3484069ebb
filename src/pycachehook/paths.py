"""The path of a source's entry, computed from names alone without access to the disk.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import os
import sys

from . import environ
from .system import BUILTINS, S_IFDIR, S_IFMT, builtin_module, is_foreign, system

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

OWN_DIR = ".pycachehook"  # pycachehook's own files, below the cache directory
MIRROR, SHARED = "mirror", "shared"  # layouts
SHARED_DIR = "shared"  # below OWN_DIR: the entries of the layout `shared`
TAG_FILE = "CACHEDIR.TAG"
IGNORE_FILE = ".gitignore"
CACHE_FORMAT = "1\n"  # content of `.pycachehook/format`, which marks a cache made by this package

TEMPORARY_PREFIX = ".pycachehook-"  # of the names of files that are being written
TEMPORARY_SUFFIX = ".tmp"

_FILE = __spec__.origin or ""  # not `__file__`, see `own_modules.OwnModule`
_PACKAGE_DIRECTORIES = ("site-packages", "dist-packages")  # names of directories with installed packages


class Layout:
    """The file names of entries for one interpreter: cache tag, optimization level, separators.

    `windows=None` means the running system. `plain_suffix` is what the name of an entry has in place of the source's
    `py`; on Windows it is None.
    """

    __slots__ = ("_suffix", "_windows", "cache_tag", "optimization", "plain_suffix")

    def __init__(self, cache_tag: str, optimization: int = 0, *, windows: bool | None = None) -> None:
        self.cache_tag = cache_tag
        self.optimization = optimization
        opt = f".opt-{optimization}" if optimization else ""
        self._suffix = f"{cache_tag}{opt}.pyc"
        self._windows = system.windows if windows is None else windows
        self.plain_suffix = None if self._windows else self._suffix

    @classmethod
    def current(cls) -> "Layout | None":
        """Return the layout of the running interpreter; None without a cache tag, where nothing is cached (PEP 3147)."""
        tag = sys.implementation.cache_tag
        return None if tag is None else cls(tag, sys.flags.optimize)

    def entry_name(self, file_name: str) -> str:
        """Return the entry's file name: `m.py` gives `m.cpython-311.pyc` (PEP 3147, PEP 488)."""
        base, dot, rest = file_name.rpartition(".")
        return f"{base or rest}{dot}{self._suffix}"

    def mirrored(self, root: str, source: str) -> str:
        """Return the path of the entry below `root`; on POSIX it is the path that `PYTHONPYCACHEPREFIX=root` gives.

        On Windows CPython drops the drive, so that two sources can have the same path (gh-90998). Here the drive, and
        for a share the name `UNC`, are path components, so that no two sources have the same path.
        """
        if (
            self.plain_suffix is not None
            and source[:1] == "/"
            and source[-3:] == ".py"
            and source[-4:] != "/.py"
            and ".." not in source
            and "//" not in source
            and root[-1:] != "/"
        ):  # nearly all
            return f"{root}{source[:-2]}{self.plain_suffix}"
        if self._windows:
            return self._mirrored_windows(root, source)
        head, slash, tail = source.rpartition("/")
        if not head.startswith("/"):  # the file system's root, or a path relative to the current directory
            head = "" if slash and not head else f"{system.getcwd()}/{head}"
        head = head.strip("/")
        if ".." in head:
            head = _kept_inside(head)
        root = root.rstrip("/")
        return f"{root}/{head}/{self.entry_name(tail)}" if head else f"{root}/{self.entry_name(tail)}"

    def by_digest(self, root: str, digest: str) -> str:
        """Return the path below `root` of the entry with a hexadecimal digest, for `layout = "shared"`.

        The first three digits give at most 4,096 directories, with about 244 names each for a million entries.
        """
        folder = f"{root.rstrip('/')}/{OWN_DIR}/{SHARED_DIR}"
        return f"{folder}/{digest[0]}/{digest[1:3]}/{digest[3:]}.{self._suffix}"

    def in_tree(self, source: str) -> str:
        """Return the path of the pyc in the source's own `__pycache__`."""
        separator = "\\" if self._windows else "/"
        head, slash, tail = (source.replace("/", "\\") if self._windows else source).rpartition(separator)
        return f"{head}{slash}__pycache__{separator}{self.entry_name(tail)}"

    def _mirrored_windows(self, root: str, source: str) -> str:
        drive, rest = _absolute_on_windows(source.replace("/", "\\"))
        head, _, tail = rest.rpartition("\\")
        head = _kept_inside(head.replace("\\", "/").strip("/")).replace("/", "\\")
        parts = (root.rstrip("\\"), _drive_name(drive), head, self.entry_name(tail))
        return "\\".join(part for part in parts if part)


def _absolute_on_windows(path: str) -> tuple[str, str]:
    """Split a path with backslashes, made absolute from the current directory, into drive or share and the rest."""
    drive, rest = _split_drive(path)
    if drive and (rest[:1] == "\\" or drive[1:] != ":"):
        return drive, rest
    current_drive, folder = _split_drive(system.getcwd().replace("/", "\\"))
    if not drive and rest[:1] == "\\":
        return current_drive, rest
    if drive and drive.lower() != current_drive.lower():  # relative to an unknown directory on another drive
        return drive, rest
    return current_drive, f"{folder.rstrip(chr(92))}\\{rest}"


def _split_drive(path: str) -> tuple[str, str]:
    """Split a path with backslashes into its drive, share or device, and the rest."""
    if path[1:2] == ":":
        return path[:2], path[2:]
    if path[:2] != "\\\\":
        return "", path
    start = 8 if path[:8].upper() == "\\\\?\\UNC\\" else 2
    end = path.find("\\", start)
    end = path.find("\\", end + 1) if end >= 0 else -1
    return (path, "") if end < 0 else (path[:end], path[end:])


def _drive_name(drive: str) -> str:
    """Return folder names for a drive letter, share or device: valid as names, and different for different drives."""
    if drive[1:] == ":":
        return f"{drive[0].upper()}$"
    escaped = drive[2:].replace("$", "$$").replace(":", "$c").replace("?", "$q")
    return "\\".join(
        ("UNC", *(part.replace(".", "$d") if not part.strip(".") else part for part in escaped.split("\\")))
    )


def _kept_inside(head: str) -> str:
    """Return `head` without the `..` that would lead above the root, as the kernel ignores them."""
    depth = 0
    for part in head.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return normalized(f"/{head}").strip("/")
    return head


def normalized(path: str) -> str:
    """Return an absolute POSIX path without `.`, `..` and empty components."""
    kept: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del kept[-1:]
        elif part not in ("", "."):
            kept.append(part)
    slashes = "//" if path[:2] == "//" and path[2:3] != "/" else "/"  # POSIX: two leading slashes are special
    return slashes + "/".join(kept)


def default_cache_dir() -> str | None:
    """Return the user's cache directory for this package, below `XDG_CACHE_HOME` or the system's equivalent.

    Returns None if the user has no home directory that exists and belongs to the user, because a home directory is
    never created. A relative `XDG_CACHE_HOME` is ignored, as the XDG Base Directory Specification demands.
    """
    return _default()[0]


def why_no_default_cache_dir() -> str | None:
    """Return one sentence that says why `default_cache_dir` returns None, or None if it does not."""
    return _default()[1]


def _default() -> tuple[str | None, str | None]:  # noqa: PLR0911 -- a chain of conditions
    """Return the default cache directory and None, or None and the reason why there is none."""
    if system.windows:
        base = environ().get("LOCALAPPDATA") or _joined(_home(), "AppData\\Local")
        if base is None:
            return (
                None,
                "There is no default cache directory: neither LOCALAPPDATA nor USERPROFILE is set; set cache_dir.",
            )
        return f"{base}\\pycachehook\\Cache", None
    base = environ().get("XDG_CACHE_HOME", "")
    if base.startswith("/") and system.platform != "darwin":
        parent = base.rstrip("/").rpartition("/")[0] or "/"
        if _owner_of_directory(parent) is None:
            return None, _none(f"XDG_CACHE_HOME is {base}, and {parent} does not exist")
        return f"{base.rstrip('/')}/pycachehook", None
    home = _home()
    if home is None:
        if "HOME" in environ():
            return None, _none(f"HOME is {environ()['HOME']!r}, which is no absolute path")
        return None, _none("HOME is not set, and the user database has no home directory of this user")
    owner, base = _owner_of_directory(home), f"{home.rstrip('/')}/{_CACHES}"
    if owner is None:
        return None, _none(f"the home directory {home} does not exist")
    user = system.geteuid()
    if owner != user and _owner_of_directory(base) != user:
        return None, _none(f"the home directory {home} belongs to uid {owner}, and this process runs as uid {user}")
    return f"{base}/pycachehook", None


_CACHES = "Library/Caches" if system.platform == "darwin" else ".cache"


def _none(why: str) -> str:
    return f"There is no default cache directory: {why}; set cache_dir."


def missing_home(path: str) -> str | None:
    """Return the user's home directory if `path` is in it and it does not exist; it must not be created for a cache."""
    home = _home()
    if home is None or home == "/" or not f"{path}/".startswith(f"{home}/"):
        return None
    return home if _owner_of_directory(home) is None else None


def _joined(folder: str | None, name: str) -> str | None:
    return None if folder is None else f"{folder}\\{name}"


def _owner_of_directory(path: str) -> int | None:
    """Return the owner's user id of an existing directory, or None."""
    try:
        status = system.stat(path)
    except (OSError, ValueError) as error:
        if is_foreign(error):
            raise
        return None
    return status.st_uid if status.st_mode & S_IFMT == S_IFDIR else None


def _home(user: str = "") -> str | None:
    """Return the absolute home directory of a user, by default of the current one; None if it is unknown."""
    if system.windows:
        return None if user else environ().get("USERPROFILE") or None
    if not user and "HOME" in environ():
        home = environ()["HOME"]
    else:
        users: Any = builtin_module("pwd")
        try:
            record = users.getpwnam(user) if user else users.getpwuid(system.getuid())
        except (KeyError, AttributeError, ValueError, OSError) as error:
            if is_foreign(error):
                raise
            return None
        home = record.pw_dir
    return home.rstrip("/") or "/" if home.startswith("/") else None


def installed_predicate(*, windows: bool = system.windows) -> "Callable[[str], bool]":
    """Return a predicate on source paths: whether the path is in the standard library or an installed package.

    These are the directories that `sysconfig` calls `stdlib`, `purelib` and `platlib`, for `sys.prefix` and
    `sys.base_prefix`, and each `site-packages` or `dist-packages` directory that is on `sys.path` at the time of the
    call.
    """
    separator = "\\" if windows else "/"

    def normal(path: str) -> str:
        return path.replace("/", "\\").lower() if windows else path

    def normal_entry(entry: object) -> str:
        return normal(entry).rstrip(separator) if type(entry) is str else ""

    version = "python{}.{}{}".format(*system.version, "t" if "t" in getattr(sys, "abiflags", "") else "")
    prefixes = {sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix}
    folders = ["Lib"] if windows else [f"{lib}/{version}" for lib in {"lib", sys.platlibdir}]
    # The folder of this package always counts, because it may be an editable installation.
    known = [os.__file__.rpartition(separator)[0], _FILE.rpartition(separator)[0]]
    known += [separator.join((prefix, folder, "site-packages")) for prefix in prefixes for folder in folders]
    directories = tuple(f"{normal(directory)}{separator}" for directory in known)

    def is_installed(path: str) -> bool:
        path = normal(path)
        for directory in directories:
            if path.startswith(directory):
                return f"{separator}..{separator}" not in path[len(directory) - 1 :]
        for name in _PACKAGE_DIRECTORIES:
            marker = f"{separator}{name}{separator}"
            begin = path.find(marker)
            while begin >= 0:
                directory, inside = path[: begin + len(marker) - 1], path[begin:]
                if f"{separator}..{separator}" not in inside and directory in map(normal_entry, sys.path):
                    return True
                begin = path.find(marker, begin + 1)
        return False

    return is_installed


def absolute(path: str, base: str | None = None) -> str | None:
    """Return `path` absolute and normalized, relative to `base` or the current directory, with `~` expanded.

    Returns None for the `~` of a user without a known home directory, for that of another user whose home directory
    does not exist and must not be created, and for a relative path in a current directory that has been removed. A
    directory whose name begins with `~` has to be written as `./~name`.
    """
    if path.startswith("~"):
        length = next((at for at, letter in enumerate(path) if letter in _SEPARATORS), len(path))
        user = path[1:length]
        home = _home(user)
        if home is None or (user and _owner_of_directory(home) is None):
            return None
        path = home.rstrip("/") + path[length:] or "/"
    if system.windows:
        full: str = sys.modules["ntpath"].abspath(sys.modules["ntpath"].join(base or system.getcwd(), path))
        return full
    if not path.startswith("/"):
        path = f"{base}/{path}" if base else path
        if not path.startswith("/"):
            try:
                path = f"{system.getcwd()}/{path}"
            except FileNotFoundError as error:
                if is_foreign(error):
                    raise
                return None
    return normalized(path)


_SEPARATORS = "\\/" if system.windows else "/"
