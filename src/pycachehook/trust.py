"""Whom this process trusts with bytecode: owners and modes of files, directories and the way to them.

The rules are sshd's for keys: a file and all directories above it must belong to this user or to root, and be writable
by nobody else. In a user namespace the owner of a file may be an id that is not mapped there, and the kernel shows
the overflow id in its place: that one owner stands for root, for this user and for everybody else at once.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import sys

from .system import BUILTINS, S_IFLNK, S_IFMT, is_foreign, system

__builtins__ = BUILTINS  # what a program patches in `builtins` does not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

# As in `stat`, whose functions a program may replace.
S_ISVTX, S_IWGRP, S_IWOTH = 0o1000, 0o020, 0o002

_LINKS_FOLLOWED = 40  # as many as Linux follows before ELOOP
_ALL_IDS = 2**32 - 1  # user ids that there are: -1 is none
_INITIAL_NAMESPACE = "user:[4026531837]"  # PROC_USER_INIT_INO in the kernel's sources: all ids are mapped there
_OVERFLOW = 65534  # the kernel's default for `/proc/sys/kernel/overflowuid` and `overflowgid`
_NO_USER = -1

_getresuid = getattr(system.os_module, "getresuid", None)
_getxattr = getattr(system.os_module, "getxattr", None)


class Unmapped:
    """What the ids are shown as that are not mapped into this process's user namespace.

    `hides_root`: the superuser of the surrounding namespace is among them, as in the namespaces that ordinary users
    make.
    """

    __slots__ = ("gid", "hides_root", "uid")

    def __init__(self, uid: int, gid: int, *, hides_root: bool) -> None:
        self.uid = uid
        self.gid = gid
        self.hides_root = hides_root


_by_namespace: "dict[str, Unmapped | None]" = {}


def unmapped() -> "Unmapped | None":
    """Return what unmapped ids are shown as; None where all ids are mapped, as in the initial user namespace."""
    if not sys.platform.startswith(("linux", "android")):
        return None
    try:
        namespace = system.readlink("/proc/self/ns/user")
    except OSError as error:
        if is_foreign(error):
            raise
        namespace = ""  # no /proc, or a kernel without user namespaces
    if namespace == _INITIAL_NAMESPACE:
        return None
    if namespace in _by_namespace:
        return _by_namespace[namespace]
    users, groups = _read("/proc/self/uid_map"), _read("/proc/self/gid_map")
    found = _unmapped_in(users, groups)
    if users and groups:  # else they may be written later
        _by_namespace[namespace] = found
    return found


def _unmapped_in(users: bytes | None, groups: bytes | None) -> "Unmapped | None":
    """Return the same for the contents of `/proc/self/uid_map` and `gid_map`."""
    if users is None or groups is None:
        try:
            system.lstat("/proc/self/ns")
        except OSError as error:
            if is_foreign(error):
                raise
            return Unmapped(_OVERFLOW, _OVERFLOW, hides_root=False)  # without /proc it cannot be told
        return None  # a kernel without user namespaces
    rows = [[int(number) for number in line.split()] for line in users.splitlines()]  # inside, outside, how many
    group_rows = [[int(number) for number in line.split()] for line in groups.splitlines()]
    if sum(row[2] for row in rows) >= _ALL_IDS and sum(row[2] for row in group_rows) >= _ALL_IDS:
        return None
    return Unmapped(
        int(_read("/proc/sys/kernel/overflowuid") or _OVERFLOW),
        int(_read("/proc/sys/kernel/overflowgid") or _OVERFLOW),
        hides_root=all(row[1] > 0 for row in rows),
    )


def _read(path: str) -> bytes | None:
    """Return what is in a small file of /proc, None if it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(1 << 16)
    except OSError as error:
        if is_foreign(error):
            raise
        return None


def trusted_owners() -> tuple[int, ...]:
    """Return the user ids whose files this process may run: its own and root's. Root trusts root alone.

    So does a process that was root and can become root again. Never the id that unmapped users are shown as. Empty where files have no owners.
    """
    if system.geteuid is None:
        return ()
    # The real, effective and saved user.
    users = _getresuid() if _getresuid is not None else (system.getuid(), system.geteuid())
    owners: tuple[int, ...] = (0 if 0 in users else users[1], 0)
    hidden = unmapped()
    if hidden is not None and hidden.uid in owners:
        owners = tuple(each for each in owners if each != hidden.uid) or (_NO_USER,)
    return owners


def fault_of(status: "os.stat_result", owners: tuple[int, ...]) -> str | None:
    """Return why a file or directory with this `status` must not be trusted, or None.

    The group may write where it is the owner's private one (its id is the owner's), as umask 002 leaves it; but root's
    group has members on some systems, and ids do not tell in a user namespace.
    """
    if not owners:
        return None
    if status.st_uid not in owners:
        return f"is owned by uid {status.st_uid}"
    if status.st_mode & S_IWOTH:
        return "is writable by everybody"
    if status.st_mode & S_IWGRP and (status.st_gid != status.st_uid or status.st_gid == 0 or unmapped() is not None):
        return f"is writable by group {status.st_gid}"
    return None


def distrust(path: str, owners: tuple[int, ...]) -> str | None:
    """Return one sentence saying why the absolute directory `path` must not be trusted, or None; as `examine`."""
    return examine(path, owners)[0]


def examine(  # noqa: PLR0911 -- a chain of conditions
    path: str, owners: tuple[int, ...], links: int = _LINKS_FOLLOWED
) -> "tuple[str | None, os.stat_result, bool]":
    """Return why the absolute directory `path` must not be trusted, in one sentence, or None; and what it is.

    The second value is the status of the directory itself, the third says whether the way to it has a link that can
    be replaced by others once it is removed. One `lstat` for each component. Directories above may be writable by
    others if they are sticky, as /tmp is. Raises OSError for a component that cannot be looked at, FileNotFoundError
    for one that is not there.
    """
    if not owners:
        return None, system.stat(path), False
    components = [part for part in path.split("/") if part]
    below_sticky = False
    for count in range(len(components) + 1):
        here = "/" + "/".join(components[:count])
        status = system.lstat(here)
        last = count == len(components)
        kind = status.st_mode & S_IFMT
        if kind == S_IFLNK:
            if status.st_uid not in owners:
                return _sentence(here, status, f"is a link owned by uid {status.st_uid}", owners), status, False
            if links == 0:
                return f"{path} is not trusted: too many links.", status, False
            target = system.readlink(here)
            if target[:1] != "/":
                target = f"{here.rpartition('/')[0]}/{target}"
            fault, status, unsteady = examine("/".join([target, *components[count:]]), owners, links - 1)
            return fault, status, unsteady or below_sticky or last
        fault = fault_of(status, owners)
        if fault is not None and (last or not _may_be_above(status, owners)):
            return _sentence(here, status, fault, owners), status, False
        if fault is None and status.st_mode & S_IWGRP and _has_acl(here):
            return _sentence(here, status, "is writable by an access control list", owners), status, False
        below_sticky = bool(status.st_mode & S_ISVTX)
    return None, status, False


def _may_be_above(status: "os.stat_result", owners: tuple[int, ...]) -> bool:
    """Return whether a directory that would be no cache directory may be above one.

    A sticky directory of somebody trusted may be writable by others. Where root is not mapped, what belongs to it and
    what belongs to a stranger look the same. Such a directory is accepted too: its owner could put another directory
    in the place of the cache, but none that belongs to this user, and so none that is accepted.
    """
    if status.st_uid not in owners:
        hidden = unmapped()
        if hidden is None or not hidden.hides_root or status.st_uid != hidden.uid:
            return False
    return not status.st_mode & (S_IWGRP | S_IWOTH) or bool(status.st_mode & S_ISVTX)


def _has_acl(path: str) -> bool:
    """Return whether a directory has a POSIX access control list; the mode's group bits are its mask then."""
    if _getxattr is None:
        return False
    try:
        return bool(_getxattr(path, "system.posix_acl_access"))
    except OSError as error:
        if is_foreign(error):
            raise
        return False


def _sentence(path: str, status: "os.stat_result", fault: str, owners: tuple[int, ...]) -> str:
    mode = status.st_mode & 0o7777
    is_link = status.st_mode & S_IFMT == S_IFLNK
    hidden = unmapped()
    who, command = "", "chmod go-w"
    if hidden is not None and status.st_uid == hidden.uid:
        who, command = ", which stands for every user who is not mapped into this user namespace", ""
    elif status.st_uid not in owners:
        known = system.geteuid() in owners and path != "/"
        command = f"chown {owners[0]}" if known else ""
        if is_link and command:
            command += " -h"  # without it, what the link leads to would be given away
    elif fault.endswith("list"):
        command = "setfacl -b"
    remedy = f"fix it with `{command} {_quoted(path)}`, " if command else ""
    return (
        f"{path} {fault} (owner {status.st_uid}, group {status.st_gid}, mode {mode:04o}){who}, so others could have "
        f"their bytecode run here; {remedy}choose another cache_dir, or set allow_shared."
    )


def _quoted(path: str) -> str:
    """Return `path` as a POSIX shell reads it: without `shlex`, which a process that is refused here may be unable to load."""
    if all(letter.isalnum() or letter in "/._-" for letter in path):
        return path
    return "'" + path.replace("'", "'\\''") + "'"
