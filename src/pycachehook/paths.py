"""Where the entry of a source lies: as pure functions of names, without a look at the disk.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import os
import sys

OWN_DIR = ".pycachehook"  # our own files, below the cache directory
MIRROR, SHARED = "mirror", "shared"  # layouts
SHARED_DIR = "shared"  # in it: the entries that go by what is in their source
TAG_FILE = "CACHEDIR.TAG"

TEMPORARY_PREFIX = ".pycachehook-"  # how the names of files begin and end that are being written
TEMPORARY_SUFFIX = ".tmp"


class Layout:
    """The names that this interpreter gives to entries: cache tag, optimization level, separators.

    `windows=None` means: as the running system does it. `plain_suffix` takes the place of the `py` of a source path in
    normal form, and the root of a cache goes in front: that is what `mirrored` gives for nearly all of them. None: never.
    """

    __slots__ = ("_suffix", "_windows", "cache_tag", "optimization", "plain_suffix")

    def __init__(self, cache_tag: str, optimization: int = 0, *, windows: bool | None = None) -> None:
        self.cache_tag = cache_tag
        self.optimization = optimization
        opt = f".opt-{optimization}" if optimization else ""
        self._suffix = f"{cache_tag}{opt}.pyc"
        self._windows = os.name == "nt" if windows is None else windows
        self.plain_suffix = None if self._windows else self._suffix

    @classmethod
    def current(cls) -> "Layout | None":
        """Return the layout of the running interpreter, or None where it caches nothing (no cache tag, PEP 3147)."""
        tag = sys.implementation.cache_tag
        return None if tag is None else cls(tag, sys.flags.optimize)

    def entry_name(self, file_name: str) -> str:
        """Return the entry's file name: `m.py` gives `m.cpython-311.pyc` (PEP 3147, PEP 488)."""
        base, dot, rest = file_name.rpartition(".")
        return f"{base or rest}{dot}{self._suffix}"

    def mirrored(self, root: str, source: str) -> str:
        """Return the entry's place below `root`, which on POSIX is the one that `PYTHONPYCACHEPREFIX=root` gives.

        On Windows CPython drops the drive, so that two sources can share a place (gh-90998); here the drive
        and a share's `UNC` are components of their own, and no two sources do.
        """
        if self._windows:
            return self._mirrored_windows(root, source)
        head, slash, tail = source.rpartition("/")
        if not head.startswith("/"):  # the file system's root, or a path relative to the current directory
            head = "" if slash and not head else f"{os.getcwd()}/{head}"
        head = head.strip("/")
        if ".." in head:
            head = _kept_inside(head)
        root = root.rstrip("/")
        return f"{root}/{head}/{self.entry_name(tail)}" if head else f"{root}/{self.entry_name(tail)}"

    def by_digest(self, root: str, digest: str) -> str:
        """Return the place below `root` of the entry that goes by a hexadecimal digest, for `layout = "shared"`.

        One digit, then two: 4,096 directories at most, which at a million entries have some 244 names each.
        """
        folder = f"{root.rstrip('/')}/{OWN_DIR}/{SHARED_DIR}"
        return f"{folder}/{digest[0]}/{digest[1:3]}/{digest[3:]}.{self._suffix}"

    def in_tree(self, source: str) -> str:
        """Return the place in the source's own `__pycache__`."""
        separator = "\\" if self._windows else "/"
        head, slash, tail = (source.replace("/", "\\") if self._windows else source).rpartition(separator)
        return f"{head}{slash}__pycache__{separator}{self.entry_name(tail)}"

    def _mirrored_windows(self, root: str, source: str) -> str:
        import ntpath  # loaded already where this is more than a test

        if not ntpath.isabs(source):
            source = ntpath.join(os.getcwd(), source)
        drive, rest = ntpath.splitdrive(source.replace("/", "\\"))
        head, _, tail = rest.rpartition("\\")
        head = _kept_inside(head.replace("\\", "/").strip("/")).replace("/", "\\")
        parts = (root.rstrip("\\"), _drive_name(drive), head, self.entry_name(tail))
        return "\\".join(part for part in parts if part)


def _drive_name(drive: str) -> str:
    """Return folder names for a drive letter, a share or a device: one to one, and such as a folder may have."""
    if drive[1:] == ":":
        return f"{drive[0].upper()}$"
    escaped = drive[2:].replace("$", "$$").replace(":", "$c").replace("?", "$q")
    return "\\".join(
        ("UNC", *(part.replace(".", "$d") if not part.strip(".") else part for part in escaped.split("\\")))
    )


def _kept_inside(head: str) -> str:
    """Return `head`, shortened as the kernel would if its `..` lead above the root: an entry stays below the cache."""
    depth = 0
    for part in head.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return os.path.normpath(f"/{head}").strip("/")
    return head


def default_cache_dir() -> str:
    """Return the user's cache directory for this package: `XDG_CACHE_HOME`, or what the system uses for it.

    The XDG base directory specification ignores a relative `XDG_CACHE_HOME`; so does this.
    """
    if os.name == "nt":
        base = os.environ.get("LOCALAPPDATA") or os.path.expanduser("~\\AppData\\Local")
        return os.path.join(base, "pycachehook", "Cache")
    if sys.platform == "darwin":
        return os.path.expanduser("~/Library/Caches/pycachehook")
    base = os.environ.get("XDG_CACHE_HOME", "")
    return os.path.join(base if base.startswith("/") else os.path.expanduser("~/.cache"), "pycachehook")


def absolute(path: str, base: str | None = None) -> str:
    """Return `path` absolute and normalized, from `base` or the current directory, `~` expanded."""
    return os.path.abspath(os.path.join(base or os.getcwd(), os.path.expanduser(path)))
