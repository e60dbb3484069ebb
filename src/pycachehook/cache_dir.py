"""A cache directory: whether this process may read it and write to it, and if not, why.

The SipHash in an entry has a public key, so it proves nothing about the writer, and a user who can write an entry can
run code. An entry, its cache directory and all directories above it must therefore belong to this user or to root, and
be writable by nobody else. These are sshd's rules for key files, implemented in `trust`.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import sys

from .paths import (
    CACHE_FORMAT,
    IGNORE_FILE,
    OWN_DIR,
    TAG_FILE,
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    missing_home,
    why_no_default_cache_dir,
)
from .system import BUILTINS, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, is_foreign, is_refusal, system
from .trust import examine
from .trust import fault_of as fault_of
from .trust import trusted_owners as trusted_owners
from .trust import why_untrusted as why_untrusted

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

WRITABLE = "writable"
READ_ONLY = "read-only"
DISABLED = "disabled"

PRIVATE_MODE = 0o700  # of the user's own cache directory
SHARED_MODE = 0o755  # of a directory that the user chose, and of all below it: a cache built by root is readable by all

# Errors that the next write would meet again: no permission, no space, a medium or a path that does not work.
_LASTING = ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EFBIG", "EIO", "ESTALE", "ENOTDIR", "ELOOP")

_NAMES_EXAMINED = 4096  # names to examine in an unmarked directory before it is accepted as a cache
_HARMLESS = (OWN_DIR, TAG_FILE, IGNORE_FILE, ".gitkeep", ".DS_Store", "lost+found")  # at the top of a cache directory


class CacheDir:
    """A cache directory with the access that this process has to it.

    `status` is "writable", "read-only" or "disabled". `reason` is None, or one sentence: why the status is not
    "writable", or the last fault. Under `strict` a fault raises `CacheDirError` instead. `path` is None if there is no
    default cache directory; the status is then "disabled".
    """

    __slots__ = (
        "_error",
        "_identity",
        "_mode",
        "_replaceable",
        "force_write",
        "is_marked",
        "last_announced",
        "lock_time_left",
        "owners",
        "path",
        "reason",
        "status",
        "strict",
        "trusted_folders",
    )

    def __init__(
        self,
        path: str | None,
        *,
        read_only: bool = False,
        private: bool = False,
        allow_shared: bool = False,
        force_write: bool = False,
        strict: bool = False,
        lock_timeout: float = 5.0,
    ) -> None:
        self.path = path or ""
        self.force_write = force_write
        self.strict = strict
        self._error: type[Exception] = Exception
        if strict:  # loaded now, because nothing is imported by name during a program's import
            from .errors import CacheDirError

            self._error = CacheDirError
        self.last_announced = float("-inf")  # monotonic seconds: when this process last marked the cache as in use
        self.lock_time_left = lock_timeout  # seconds that this process may still spend waiting for locks
        self.is_marked = False  # whether this process has seen `.pycachehook/format`
        self.trusted_folders: set[str] = set()  # directories in it that are trusted and reached without a link
        self.owners = () if allow_shared else trusted_owners()  # ids of users whose files are read; empty: everybody's
        self.status = READ_ONLY if read_only else WRITABLE
        self.reason: str | None = "read_only is set." if read_only else None
        self._mode = PRIVATE_MODE if private else SHARED_MODE
        self._identity: tuple[int, int] | None = None  # device and inode of the checked directory
        self._replaceable = False  # whether the path contains a link that others may replace
        self.reopen()

    def writable(self) -> bool:
        """Return whether an entry may be written now."""
        return self.status == WRITABLE and (self.force_write or not sys.dont_write_bytecode)

    def fault(self, error: OSError, doing: str) -> None:
        """Record why an operation failed, and stop writing if the next attempt would fail too."""
        if self.status == WRITABLE and error.errno is not None:
            lasting = isinstance(error, (PermissionError, NotADirectoryError))
            if lasting or error.errno in [system.error_number(name) for name in _LASTING]:
                self.status = READ_ONLY
        if self.status != DISABLED:  # otherwise the existing reason is more important
            self.reason = f"Could not {doing}: {error.strerror or error}."
        self._raise_if_strict()

    def _raise_if_strict(self) -> None:
        if self.strict:
            raise self._error(self.reason)

    def reopen(self) -> None:
        """Check the directory, and create it if it is missing and may be created."""
        try:
            fault = self._check(self.owners)
        except Exception as error:
            if not is_refusal(error) and (not isinstance(error, OSError) or is_foreign(error)):
                raise
            fault = self._unusable(error)
        if fault is not None:
            self.disable(fault)

    def confirm(self) -> tuple[int, ...]:
        """Check, before a write, that the directory is still the trusted one, and return the trusted owners.

        While a process runs, a cache in a directory such as /tmp may be removed and be created by another user. A
        missing directory is created again, and a different one is checked completely. The trusted owners change if the
        process has become another user. Raises OSError if nothing may be written now; `status` is "disabled" if the
        directory is no longer trusted.
        """
        owners = self.owners
        try:
            if self._replaceable:
                fault, status, _ = examine(self.path, owners)
            else:
                status = system.lstat(self.path) if owners else system.stat(self.path)
                fault = fault_of(status, owners)
            is_directory = status.st_mode & S_IFMT == S_IFDIR  # a file that replaces it may get its inode number
            if fault is None and is_directory and (status.st_dev, status.st_ino) == self._identity:
                return owners
        except FileNotFoundError as error:
            if is_foreign(error):
                raise
        owners, before = trusted_owners() if owners else (), self._identity
        fault = self._check(owners)
        if fault is not None:
            self.disable(fault)
        if self.status != WRITABLE:
            raise OSError(None, (self.reason or "").rstrip("."), self.path)
        if self._identity != before:
            self.is_marked = False
            self.trusted_folders.clear()
        return owners

    def disable(self, fault: str) -> None:
        """Neither read nor write from now on, for the reason `fault`; raises `CacheDirError` under `strict`."""
        self.status = DISABLED
        self.reason = fault
        self._raise_if_strict()

    def _check(self, owners: tuple[int, ...]) -> str | None:  # noqa: PLR0911 -- a chain of conditions
        """Return why the directory is unusable, or None; create it if it is missing and may be created. Raises OSError."""
        if not self.path:
            return why_no_default_cache_dir() or "There is no cache directory."
        made = False
        try:
            fault, status, replaceable = examine(self.path, owners)
        except FileNotFoundError as error:
            if is_foreign(error):
                raise
            if self.status == READ_ONLY:
                return f"The cache directory {self.path} does not exist, and read_only is set."
            home = missing_home(self.path)
            if home is not None:
                raise FileNotFoundError(error.errno, "this home directory does not exist", home) from None
            make_directories(self.path, self._mode)
            made = True
            fault, status, replaceable = examine(self.path, owners)
        if status.st_mode & S_IFMT not in (S_IFDIR, S_IFLNK):
            return f"The cache directory {self.path} is not a directory."
        if fault is not None:
            return fault
        self._identity, self._replaceable = (status.st_dev, status.st_ino), replaceable
        if self.status != WRITABLE:
            return None
        if not system.access(self.path, 3):  # W_OK | X_OK
            self.status = READ_ONLY
            self.reason = f"The cache directory {self.path} is not writable for this user, or on a read-only medium."
            return self.reason if self.strict else None
        return None if made else self._refuse_other_data()

    def _refuse_other_data(self) -> str | None:
        """Return one sentence if the directory has no mark and contains anything else than bytecode, else None."""
        try:
            system.lstat(f"{self.path}/{OWN_DIR}/format")
        except OSError as error:
            if is_foreign(error):
                raise
            other = other_data(self.path)
            if other is not None:
                return (
                    f"The cache directory {self.path} holds something else than a cache, {other}, so nothing is stored "
                    "in it; choose a new or empty directory as cache_dir."
                )
        return None

    def _unusable(self, error: Exception) -> str:
        if not isinstance(error, OSError) or not error.strerror:  # of an audit hook
            return f"The cache directory {self.path} cannot be used: {error}."
        if isinstance(error, NotADirectoryError):
            return f"The cache directory {self.path} cannot be used: {error.filename} {_what_is_no_directory(error)}."
        return f"The cache directory {self.path} cannot be used: {error.filename}: {error.strerror}."


def _what_is_no_directory(error: OSError) -> str:
    """Return in a few words, to follow the error's path, why that path is no directory."""
    try:
        kind = system.lstat(error.filename).st_mode & S_IFMT
    except OSError as unseen:
        if is_foreign(unseen):
            raise
        return "is not in a directory"
    return "is a link that leads nowhere" if kind == S_IFLNK else "is not a directory"


def is_marked(path: str) -> bool:
    """Return whether the directory at `path` has the mark of a cache made by pycachehook, `.pycachehook/format`.

    Commands that delete anything check this first. A link does not count as a mark.
    """
    own = f"{path}/{OWN_DIR}"
    try:
        if system.lstat(own).st_mode & S_IFMT != S_IFDIR:
            return False
        if system.lstat(f"{own}/format").st_mode & S_IFMT != S_IFREG:
            return False
        with open(f"{own}/format", "rb", buffering=0) as file:
            return file.read(len(CACHE_FORMAT) + 1) == CACHE_FORMAT.encode()
    except OSError as error:
        if is_foreign(error):
            raise
        return False


def other_data(path: str) -> str | None:
    """Return the path of a file or directory below `path` that no cache would hold, or None.

    A cache may have been filled by CPython under `PYTHONPYCACHEPREFIX`: it consists of directories with bytecode whose
    names contain a cache tag, and of nothing else. At most `_NAMES_EXAMINED` names are examined. Raises OSError.
    """
    folders, examined, has_bytecode = [path], 0, False
    first: str | None = None  # the first subdirectory
    while folders and examined < _NAMES_EXAMINED:
        folder = folders.pop()
        try:
            names = system.listdir(folder)
        except FileNotFoundError as error:
            if is_foreign(error):
                raise
            continue
        except PermissionError as error:
            if is_foreign(error):
                raise
            return folder
        for name in names[:_NAMES_EXAMINED]:
            examined += 1
            candidate = f"{folder}/{name}"
            if _is_of_a_cache(name):
                has_bytecode = True
            elif folder != path or name not in _HARMLESS:
                if name == "__pycache__" or not _is_directory(candidate):
                    return candidate
                first = first or candidate
                folders.append(candidate)
    return None if has_bytecode else first


def _is_of_a_cache(name: str) -> bool:
    """Return whether `name` is that of bytecode with a cache tag, or of a temporary file for such bytecode."""
    if name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX):
        return True
    parts = name.split(".")
    if parts[-1].isdecimal():  # CPython's temporary files
        parts.pop()
    return len(parts) > 2 and parts[-1] == "pyc"  # noqa: PLR2004 -- a name, a tag, the suffix


def _is_directory(path: str) -> bool:
    try:
        return bool(system.lstat(path).st_mode & S_IFMT == S_IFDIR)
    except FileNotFoundError as error:
        if is_foreign(error):
            raise
        return True  # it has been removed meanwhile


def link_detail(error: OSError) -> str | None:
    """Return in a few words that an entry is a link, if that is why reading it raised `error`; otherwise None."""
    if error.errno is None or error.errno != system.error_number("ELOOP"):
        return None
    return f"{error.filename} is a link, and entries are not read through links"


def make_directories(path: str, mode: int) -> None:
    """Create `path` and its missing parents with `mode` less the umask; raises OSError."""
    try:
        make_one_directory(path, mode)
    except FileNotFoundError as error:
        parent = path.rstrip("/").rpartition("/")[0] if not system.windows else _windows_parent(path)
        if is_foreign(error) or not parent or parent == path:
            raise
        make_directories(parent, mode)
        make_one_directory(path, mode)


def _windows_parent(path: str) -> str:
    head, separator, _ = path.rstrip("\\/").replace("/", "\\").rpartition("\\")
    return head + separator if head[-1:] == ":" else head


def make_one_directory(path: str, mode: int) -> None:
    """Create `path` with `mode` less the umask, unless it is a directory already; raises OSError."""
    try:
        system.mkdir(path, mode)
    except FileExistsError as error:
        if is_foreign(error):
            raise
        try:
            file_type = system.stat(path).st_mode & S_IFMT
        except FileNotFoundError as dangling:
            if is_foreign(dangling):
                raise
            file_type = S_IFLNK
        if file_type != S_IFDIR:
            number = system.error_number("ENOTDIR")
            raise NotADirectoryError(number, system.strerror(number), path) from None
