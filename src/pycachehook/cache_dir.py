"""One cache directory: whether this process may read it and write to it, and if not, why.

SipHash under a public key is no signature: whoever can write an entry can run code. So an entry, its cache directory
and all directories above must belong to this user or to root, and be writable by nobody else (sshd's rules).

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import os
import stat
import sys

WRITABLE = "writable"
READ_ONLY = "read-only"
DISABLED = "disabled"

PRIVATE_MODE = 0o700  # the user's own cache directory
SHARED_MODE = 0o755  # one that the user chose, and every directory below: an image built by root serves all

# What will fail again at the next write: no permission, no space, a medium or a path that does not work.
_LASTING = ("EACCES", "EPERM", "EROFS", "ENOSPC", "EDQUOT", "EFBIG", "EIO", "ESTALE", "ENOTDIR", "ELOOP")

_LINKS_FOLLOWED = 40  # as many as Linux follows before ELOOP

_HAS_OWNERS = hasattr(os, "geteuid")


class CacheDir:
    """A cache directory as this process sees it.

    `status` is "writable", "read-only" or "disabled"; `reason` None or one sentence, why it is not "writable" or
    what the last fault was. Under `strict` a fault raises `CacheDirError` instead.
    """

    __slots__ = (
        "_mode",
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
        path: str,
        *,
        read_only: bool = False,
        private: bool = False,
        allow_shared: bool = False,
        force_write: bool = False,
        strict: bool = False,
        lock_timeout: float = 5.0,
    ) -> None:
        self.path = path
        self.force_write = force_write
        self.strict = strict
        self.told = float("-inf")  # seconds, monotonic: when others were last told that this process is at work here
        self.patience = lock_timeout  # seconds that this process will still wait for locks in vain
        self.prepared = False  # whether this process has seen our mark in it
        self.inside: set[str] = set()  # folders of it that no link leads out of
        self.owners = () if allow_shared else trusted_owners()
        self.status = READ_ONLY if read_only else WRITABLE
        self.reason: str | None = "read_only is set." if read_only else None
        self._mode = PRIVATE_MODE if private else SHARED_MODE
        self.reopen()

    def writable(self) -> bool:
        """Say whether an entry may be written now."""
        return self.status == WRITABLE and (self.force_write or not sys.dont_write_bytecode)

    def fault(self, error: OSError, doing: str) -> None:
        """Keep the reason why something failed, and write no more if the next time it would fail too."""
        from errno import errorcode  # not loaded before something fails

        if errorcode.get(error.errno or 0, "") in _LASTING:
            self.status = READ_ONLY
        self.reason = f"Could not {doing}: {error.strerror or error}."
        self._raise_if_strict()

    def _raise_if_strict(self) -> None:
        if self.strict:
            from .errors import CacheDirError

            raise CacheDirError(self.reason)

    def reopen(self) -> None:
        """Check the directory, or check it again after it was found missing."""
        fault = self._fault()
        if fault is not None:
            self.status = DISABLED
            self.reason = fault
            self._raise_if_strict()

    def _fault(self) -> str | None:
        """Make the directory if it is missing and may be made; return why it cannot be used, or None."""
        try:
            try:
                fault = distrust(self.path, self.owners)
            except FileNotFoundError:
                if self.status == READ_ONLY:
                    return f"The cache directory {self.path} does not exist, and read_only is set."
                make_directories(self.path, self._mode)
                fault = distrust(self.path, self.owners)
            if fault is None and not os.path.isdir(self.path):
                return f"The cache directory {self.path} is not a directory."
        except NotADirectoryError as error:
            return f"The cache directory {self.path} cannot be used: {error.filename} is not in a directory."
        except OSError as error:
            return f"The cache directory {self.path} cannot be used: {error.filename}: {error.strerror}."
        if fault is None and self.status == WRITABLE and not os.access(self.path, os.W_OK | os.X_OK):
            self.status = READ_ONLY
            self.reason = f"The cache directory {self.path} is not writable for this user, or on a read-only medium."
            if self.strict:
                return self.reason
        return fault


def make_directories(path: str, mode: int) -> None:
    """Make `path` and what is missing above it, each with `mode` less umask; raises OSError."""
    try:
        make_one_directory(path, mode)
    except FileNotFoundError:
        parent = os.path.dirname(path)
        if parent == path:
            raise
        make_directories(parent, mode)
        make_one_directory(path, mode)


def make_one_directory(path: str, mode: int) -> None:
    """Make `path` with `mode` less umask, unless it is a directory already; raises OSError."""
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        if not os.path.isdir(path):
            from errno import ENOTDIR

            raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), path) from None


def trusted_owners() -> tuple[int, ...]:
    """Return the user ids whose files this process may run: its own and root's. Root trusts root alone."""
    return (os.geteuid(), 0) if _HAS_OWNERS else ()


def fault_of(status: os.stat_result, owners: tuple[int, ...]) -> str | None:
    """Return why a file or directory with this `status` must not be trusted, or None.

    The group may write where it is the owner's private one (its id is the owner's), as umask 002 leaves it.
    """
    if not owners:
        return None
    if status.st_uid not in owners:
        return f"is owned by uid {status.st_uid}"
    if status.st_mode & stat.S_IWOTH:
        return "is writable by everybody"
    if status.st_mode & stat.S_IWGRP and status.st_gid != status.st_uid:
        return f"is writable by group {status.st_gid}"
    return None


def distrust(path: str, owners: tuple[int, ...], links: int = _LINKS_FOLLOWED) -> str | None:
    """Return one sentence saying why the absolute directory `path` must not be trusted, or None.

    One `lstat` for each component. Directories above may be writable by others if they are sticky, as /tmp is.
    Raises OSError for a component that cannot be looked at, FileNotFoundError for one that is not there.
    """
    if not owners:
        os.lstat(path)
        return None
    components = [part for part in path.split("/") if part]
    for count in range(len(components) + 1):
        here = "/" + "/".join(components[:count])
        status = os.lstat(here)
        last = count == len(components)
        if stat.S_ISLNK(status.st_mode):
            if status.st_uid not in owners:
                return _sentence(here, status, f"is a link owned by uid {status.st_uid}", owners)
            if links == 0:
                return f"{path} is not trusted: too many links."
            target = os.path.join(os.path.dirname(here), os.readlink(here), *components[count:])
            return distrust(target, owners, links - 1)
        fault = fault_of(status, owners)
        sticky = status.st_mode & stat.S_ISVTX and not last and status.st_uid in owners
        if fault is not None and not sticky:
            return _sentence(here, status, fault, owners)
    return None


def _sentence(path: str, status: os.stat_result, fault: str, owners: tuple[int, ...]) -> str:
    mode = stat.S_IMODE(status.st_mode)
    change = "chmod go-w" if status.st_uid in owners else f"chown {owners[0]}"
    if stat.S_ISLNK(status.st_mode):
        change += " -h"  # without it, what the link leads to would be given away
    mend = f"{change} {_quoted(path)}"
    return (
        f"{path} {fault} (owner {status.st_uid}, group {status.st_gid}, mode {mode:04o}), so others could have "
        f"their bytecode run here; mend it with `{mend}`, choose another cache_dir, or set allow_shared."
    )


def _quoted(path: str) -> str:
    """Return `path` as a POSIX shell reads it: without `shlex`, which a process that is refused here may be unable to load."""
    if all(letter.isalnum() or letter in "/._-" for letter in path):
        return path
    return "'" + path.replace("'", "'\\''") + "'"
