"""The rules by which this process trusts bytecode: owners and modes of files and of the directories above them.

The rules are those of sshd for key files: a file and all directories above it must belong to this user or to root, and
be writable by nobody else. In a user namespace a file's owner may be an id without a mapping. The kernel shows all such
ids as one overflow id, which can stand for root, for this user or for anybody else.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from .system import BUILTINS, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, is_foreign, system

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

# As in `stat`, whose functions a program may replace.
S_ISVTX, S_IWGRP, S_IWOTH = 0o1000, 0o020, 0o002

_LINKS_FOLLOWED = 40  # Linux follows as many before it reports ELOOP
_ALL_IDS = 2**32 - 1  # number of user ids; -1 is not one
_INITIAL_NAMESPACE = "user:[4026531837]"  # PROC_USER_INIT_INO in the kernel's sources: all ids are mapped there
_OVERFLOW = 65534  # the kernel's default for `/proc/sys/kernel/overflowuid` and `overflowgid`
_NO_USER = -1


class Unmapped:
    """The ids that the kernel shows for users and groups without a mapping in this process's user namespace.

    `hides_root`: the superuser of the parent namespace is one of them, as in the namespaces that ordinary users create.
    """

    __slots__ = ("gid", "hides_root", "uid")

    def __init__(self, uid: int, gid: int, *, hides_root: bool) -> None:
        self.uid = uid
        self.gid = gid
        self.hides_root = hides_root


_by_namespace: "dict[str, Unmapped | None]" = {}


def unmapped() -> "Unmapped | None":
    """Return the ids shown for unmapped users and groups; None if all ids are mapped, as in the initial namespace."""
    if not system.platform.startswith(("linux", "android")):
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
    result = _unmapped_in(users, groups)
    if users and groups:  # an empty map may still be written
        _by_namespace[namespace] = result
    return result


def _unmapped_in(users: bytes | None, groups: bytes | None) -> "Unmapped | None":
    """Return the same for the given contents of `/proc/self/uid_map` and `gid_map`."""
    if users is None or groups is None:
        try:
            system.lstat("/proc/self/ns")
        except OSError as error:
            if is_foreign(error):
                raise
            return Unmapped(_OVERFLOW, _OVERFLOW, hides_root=False)  # unknown without /proc
        return None  # a kernel without user namespaces
    rows = [[int(number) for number in line.split()] for line in users.splitlines()]  # id inside, id outside, count
    group_rows = [[int(number) for number in line.split()] for line in groups.splitlines()]
    if sum(row[2] for row in rows) >= _ALL_IDS and sum(row[2] for row in group_rows) >= _ALL_IDS:
        return None
    return Unmapped(
        int(_read("/proc/sys/kernel/overflowuid") or _OVERFLOW),
        int(_read("/proc/sys/kernel/overflowgid") or _OVERFLOW),
        hides_root=all(row[1] > 0 for row in rows),
    )


def _read(path: str) -> bytes | None:
    """Return the content of a small file in /proc, or None if it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(1 << 16)
    except OSError as error:
        if is_foreign(error):
            raise
        return None


def trusted_owners() -> tuple[int, ...]:
    """Return the ids of users whose files this process may run: its own and root's.

    A process that runs as root, or could become root again, trusts only root. The id that unmapped users are shown as
    is never included. The result is empty where files have no owners.
    """
    if system.geteuid is None:
        return ()
    users = _users()
    owners: tuple[int, ...] = (0 if 0 in users else users[1], 0)
    hidden = unmapped()
    if hidden is not None and hidden.uid in owners:
        owners = tuple(owner for owner in owners if owner != hidden.uid) or (_NO_USER,)
    return owners


def _users() -> tuple[int, ...]:
    """Return the ids of the real, the effective and, if the system reports it, the saved user.

    If a filter of system calls (seccomp) refuses to report them, this process counts as root, because it may be able to
    become root.
    """
    if system.getresuid is None:
        return system.getuid(), system.geteuid()
    try:
        return system.getresuid()  # type: ignore[no-any-return]
    except OSError as error:
        if is_foreign(error):
            raise
        return 0, 0


def serves_another_user() -> bool:
    """Return whether this process may have rights that the user who started it does not have."""
    if system.getuid is None:
        return False
    return bool(system.getuid() != system.geteuid() or system.getgid() != system.getegid())


def fault_of(status: "os.stat_result", owners: tuple[int, ...]) -> str | None:
    """Return why a file or directory with this `status` must not be trusted, or None.

    Its group may write if it is the owner's private group (with the same id), which umask 002 produces. Excepted are
    root's group, which has members on some systems, and all groups in a user namespace, where ids are ambiguous.
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


def why_untrusted(path: str, owners: tuple[int, ...]) -> str | None:
    """Return one sentence that says why the directory `path` must not be trusted, or None; see `examine`."""
    return examine(path, owners)[0]


def examine(  # noqa: PLR0911 -- a chain of conditions
    path: str, owners: tuple[int, ...], links: int = _LINKS_FOLLOWED
) -> "tuple[str | None, os.stat_result, bool]":
    """Return why the absolute directory `path` must not be trusted, its status, and whether the path to it may change.

    The first value is one sentence, or None. The third is whether the path contains a link that others could replace
    once it has been removed. Takes one `lstat` per component. A directory above may be writable by others if it is
    sticky, as /tmp is. Raises OSError for a component that cannot be examined, FileNotFoundError for a missing one.
    """
    if not owners:
        return None, system.stat(path), False
    components = [part for part in path.split("/") if part]
    below_sticky = False
    for count in range(len(components) + 1):
        ancestor = "/" + "/".join(components[:count])
        status = system.lstat(ancestor)
        last = count == len(components)
        kind = status.st_mode & S_IFMT
        if kind == S_IFLNK:
            if status.st_uid not in owners:
                return _sentence(ancestor, status, f"is a link owned by uid {status.st_uid}", owners), status, False
            if links == 0:
                return f"{path} is not trusted: too many links.", status, False
            target = system.readlink(ancestor)
            if target[:1] != "/":
                target = f"{ancestor.rpartition('/')[0]}/{target}"
            fault, status, replaceable = examine("/".join([target, *components[count:]]), owners, links - 1)
            return fault, status, replaceable or below_sticky or last
        fault = fault_of(status, owners)
        if fault is not None and (last or not _may_be_above(status, owners)):
            return _sentence(ancestor, status, fault, owners), status, False
        if fault is None and status.st_mode & S_IWGRP and _has_acl(ancestor):
            return _sentence(ancestor, status, "is writable by an access control list", owners), status, False
        below_sticky = bool(status.st_mode & S_ISVTX)
    return None, status, False


def _may_be_above(status: "os.stat_result", owners: tuple[int, ...]) -> bool:
    """Return whether a directory with this `status` may be above a cache directory.

    A sticky directory of a trusted owner may be writable by others. In a namespace without a mapping for root, root's
    directories and a stranger's look the same, and are accepted: the stranger could replace the cache directory, but
    not by one that belongs to this user, and no other would be trusted.
    """
    if status.st_uid not in owners:
        hidden = unmapped()
        if hidden is None or not hidden.hides_root or status.st_uid != hidden.uid:
            return False
    return not status.st_mode & (S_IWGRP | S_IWOTH) or bool(status.st_mode & S_ISVTX)


def access_list(path: str) -> bytes:
    """Return the POSIX access control list of a file, in the kernel's format; raises OSError if there is none."""
    return b"" if system.getxattr is None else system.getxattr(path, "system.posix_acl_access")


def _has_acl(path: str) -> bool:
    """Return whether a directory has a POSIX access control list, whose mask the mode's group bits then are."""
    try:
        return bool(access_list(path))
    except OSError as error:
        if is_foreign(error):
            raise
        return False


def _sentence(path: str, status: "os.stat_result", fault: str, owners: tuple[int, ...]) -> str:
    mode = status.st_mode & 0o7777
    kind = status.st_mode & S_IFMT
    hidden = unmapped()
    who, command = "", "chmod go-w"
    if hidden is not None and status.st_uid == hidden.uid:
        who, command = ", which stands for every user who is not mapped into this user namespace", ""
    elif status.st_uid not in owners:
        known = system.geteuid() in owners and path != "/"
        command = f"chown {owners[0]}" if known else ""
        if kind == S_IFLNK and command:
            command += " -h"  # otherwise the link's target would change its owner
    elif fault.endswith("list"):
        command = "setfacl -b"
    if kind not in (S_IFDIR, S_IFREG, S_IFLNK):
        command = ""  # a device needs its mode
    remedy = f"fix it with `{command} {_quoted(path)}`, " if command else ""
    return (
        f"{path} {fault} (owner {status.st_uid}, group {status.st_gid}, mode {mode:04o}){who}, so others could have "
        f"their bytecode run here; {remedy}choose another cache_dir, or set allow_shared."
    )


def _quoted(path: str) -> str:
    """Return `path` quoted for a POSIX shell, without `shlex`, which may be impossible to load here."""
    if all(letter.isalnum() or letter in "/._-" for letter in path):
        return path
    return "'" + path.replace("'", "'\\''") + "'"
