"""One cache directory: whether this process may read it and write to it, and if not, why.

SipHash under a public key is no signature: whoever can write an entry can run code. So an entry, its cache directory
and all directories above must belong to this user or to root, and be writable by nobody else (sshd's rules). `trust`
holds these rules.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import sys

from .paths import (
    FORMAT,
    IGNORE_FILE,
    OWN_DIR,
    TAG_FILE,
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    missing_home,
    why_no_default_cache_dir,
)
from .system import BUILTINS, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, is_foreign, system
from .trust import distrust as distrust
from .trust import examine
from .trust import fault_of as fault_of
from .trust import trusted_owners as trusted_owners

__builtins__ = BUILTINS  # what a program patches in `builtins` does not reach this module

WRITABLE = "writable"
READ_ONLY = "read-only"
DISABLED = "disabled"

PRIVATE_MODE = 0o700  # the user's own cache directory
SHARED_MODE = 0o755  # one that the user chose, and every directory below: an image built by root serves all

# What will fail again at the next write: no permission, no space, a medium or a path that does not work.
_LASTING = ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EFBIG", "EIO", "ESTALE", "ENOTDIR", "ELOOP")

_NAMES_LOOKED_AT = 4096  # in a directory without a mark, before it is believed to be a cache
_HARMLESS = (OWN_DIR, TAG_FILE, IGNORE_FILE, ".gitkeep", ".DS_Store", "lost+found")  # in a cache directory itself


class CacheDir:
    """A cache directory as this process sees it.

    `status` is "writable", "read-only" or "disabled"; `reason` None or one sentence, why it is not "writable" or
    what the last fault was. Under `strict` a fault raises `CacheDirError` instead. A `path` of None is the default
    cache directory where there is none, and disabled.
    """

    __slots__ = (
        "_error",
        "_identity",
        "_mode",
        "_unsteady",
        "force_write",
        "inside",
        "owners",
        "path",
        "patience",
        "prepared",
        "reason",
        "status",
        "strict",
        "told",
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
        if strict:  # loaded now, since nothing is imported by name during an import of the program
            from .errors import CacheDirError

            self._error = CacheDirError
        self.told = float("-inf")  # seconds, monotonic: when others were last told that this process is at work here
        self.patience = lock_timeout  # seconds that this process will still wait for locks in vain
        self.prepared = False  # whether this process has seen our mark in it
        self.inside: set[str] = set()  # directories of it that are trusted and that no link leads out of
        self.owners = () if allow_shared else trusted_owners()
        self.status = READ_ONLY if read_only else WRITABLE
        self.reason: str | None = "read_only is set." if read_only else None
        self._mode = PRIVATE_MODE if private else SHARED_MODE
        self._identity: tuple[int, int] | None = None  # device and inode of the directory that was checked
        self._unsteady = False  # whether a link leads to it whose target may change without a change of `_identity`
        self.reopen()

    def writable(self) -> bool:
        """Say whether an entry may be written now."""
        return self.status == WRITABLE and (self.force_write or not sys.dont_write_bytecode)

    def fault(self, error: OSError, doing: str) -> None:
        """Keep the reason why something failed, and write no more if the next time it would fail too."""
        if self.status == WRITABLE and error.errno is not None:
            lasting = isinstance(error, (PermissionError, NotADirectoryError))
            if lasting or error.errno in [system.error_number(name) for name in _LASTING]:
                self.status = READ_ONLY
        if self.status != DISABLED:  # else there is a better reason already
            self.reason = f"Could not {doing}: {error.strerror or error}."
        self._raise_if_strict()

    def _raise_if_strict(self) -> None:
        if self.strict:
            raise self._error(self.reason)

    def reopen(self) -> None:
        """Check the directory; make it if it is missing and may be made."""
        try:
            fault = self._check(self.owners)
        except OSError as error:
            if is_foreign(error):
                raise
            fault = self._unusable(error)
        if fault is not None:
            self._disable(fault)

    def confirm(self) -> tuple[int, ...]:
        """Check, before something is written, that the directory is still the one that was found to be trusted.

        A cache in a directory such as /tmp may be removed in a long-lived process and be made anew by another user.
        One that is gone is made again, another one at its place goes through the whole check. Returns the owners to
        trust, which a process that has become another user meanwhile has others of. Raises OSError where nothing may
        be written now; `status` is "disabled" if the directory has come to belong to others.
        """
        owners = self.owners
        try:
            if self._unsteady:
                fault, status, _ = examine(self.path, owners)
            else:
                status = system.lstat(self.path) if owners else system.stat(self.path)
                fault = fault_of(status, owners)
            if fault is None and (status.st_dev, status.st_ino) == self._identity:
                return owners
        except FileNotFoundError as error:
            if is_foreign(error):
                raise
        owners, before = trusted_owners() if owners else (), self._identity
        fault = self._check(owners)
        if fault is not None:
            self._disable(fault)
        if self.status != WRITABLE:
            raise OSError(None, (self.reason or "").rstrip("."), self.path)
        if self._identity != before:
            self.prepared = False
            self.inside.clear()
        return owners

    def _disable(self, fault: str) -> None:
        self.status = DISABLED
        self.reason = fault
        self._raise_if_strict()

    def _check(self, owners: tuple[int, ...]) -> str | None:  # noqa: PLR0911 -- a chain of conditions
        """Return why the directory cannot be used, or None; make it if it is missing and may be made. Raises OSError."""
        if not self.path:
            return why_no_default_cache_dir() or "There is no cache directory."
        made = False
        try:
            fault, status, unsteady = examine(self.path, owners)
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
            fault, status, unsteady = examine(self.path, owners)
        if status.st_mode & S_IFMT not in (S_IFDIR, S_IFLNK):
            return f"The cache directory {self.path} is not a directory."
        if fault is not None:
            return fault
        self._identity, self._unsteady = (status.st_dev, status.st_ino), unsteady
        if self.status != WRITABLE:
            return None
        if not system.access(self.path, 3):  # W_OK | X_OK
            self.status = READ_ONLY
            self.reason = f"The cache directory {self.path} is not writable for this user, or on a read-only medium."
            return self.reason if self.strict else None
        return None if made else self._refuse_other_data()

    def _refuse_other_data(self) -> str | None:
        """Return a sentence if the directory has no mark of ours and holds anything that a cache would not."""
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

    def _unusable(self, error: OSError) -> str:
        if isinstance(error, NotADirectoryError):
            return f"The cache directory {self.path} cannot be used: {error.filename} {_what_is_no_directory(error)}."
        return f"The cache directory {self.path} cannot be used: {error.filename}: {error.strerror}."


def _what_is_no_directory(error: OSError) -> str:
    """Return what is wrong where a directory was expected, in a few words that follow the error's path."""
    try:
        kind = system.lstat(error.filename).st_mode & S_IFMT
    except OSError as unseen:
        if is_foreign(unseen):
            raise
        return "is not in a directory"
    return "is a link that leads nowhere" if kind == S_IFLNK else "is not a directory"


def is_marked(path: str) -> bool:
    """Return whether the directory at `path` has the mark of a cache that pycachehook made, `.pycachehook/format`.

    Commands that delete anything ask for it first. A link does not count as a mark.
    """
    own = f"{path}/{OWN_DIR}"
    try:
        if system.lstat(own).st_mode & S_IFMT != S_IFDIR:
            return False
        if system.lstat(f"{own}/format").st_mode & S_IFMT != S_IFREG:
            return False
        with open(f"{own}/format", "rb", buffering=0) as file:
            return file.read(len(FORMAT) + 1) == FORMAT.encode()
    except OSError as error:
        if is_foreign(error):
            raise
        return False


def other_data(path: str) -> str | None:
    """Return the path of something below a directory that no cache would hold, or None.

    A cache may be one that CPython filled under `PYTHONPYCACHEPREFIX`: directories with bytecode that has a cache tag
    in its name, and nothing else. No more than `_NAMES_LOOKED_AT` names are looked at. Raises OSError.
    """
    folders, looked_at, has_bytecode = [path], 0, False
    first: str | None = None  # directory in it
    while folders and looked_at < _NAMES_LOOKED_AT:
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
        for name in names[:_NAMES_LOOKED_AT]:
            looked_at += 1
            here = f"{folder}/{name}"
            if _is_of_a_cache(name):
                has_bytecode = True
            elif folder != path or name not in _HARMLESS:
                if name == "__pycache__" or not _is_directory(here):
                    return here
                first = first or here
                folders.append(here)
    return None if has_bytecode else first


def _is_of_a_cache(name: str) -> bool:
    """Return whether this is the name of bytecode with a cache tag, or of such a file that is being written."""
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
        return True  # removed meanwhile


def link_detail(error: OSError) -> str | None:
    """Return, for the error of a read, that the entry is a link, in a few words; None for any other error."""
    if error.errno is None or error.errno != system.error_number("ELOOP"):
        return None
    return f"{error.filename} is a link, and entries are not read through links"


def make_directories(path: str, mode: int) -> None:
    """Make `path` and what is missing above it, each with `mode` less umask; raises OSError."""
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
    """Make `path` with `mode` less umask, unless it is a directory already; raises OSError."""
    try:
        system.mkdir(path, mode)
    except FileExistsError as error:
        if is_foreign(error):
            raise
        try:
            found = system.stat(path).st_mode & S_IFMT
        except FileNotFoundError as dangling:
            if is_foreign(dangling):
                raise
            found = S_IFLNK
        if found != S_IFDIR:
            number = system.error_number("ENOTDIR")
            raise NotADirectoryError(number, system.strerror(number), path) from None
