"""Who may read an archive: nobody who may not read each of its sources, because bytecode tells what is in them."""

import os
import stat

from pycachehook.on_miss.writer import readers_of
from pycachehook.trust import unmapped

_PUBLIC, _GROUP, _PRIVATE = 0o644, 0o640, 0o600


class Access:
    """Collects the sources of an archive, and sets the archive's mode and group by them."""

    def __init__(self) -> None:
        self._groups: set[int | None] = set()  # those that may read a source that others may not; None: no group
        self._first = ""  # such a source

    def add(self, path: str) -> None:
        """Take the source at `path` into account."""
        status = os.stat(path)
        readers = readers_of(path, status)
        if not readers & stat.S_IROTH:
            self._first = self._first or path
            self._groups.add(status.st_gid if readers & stat.S_IRGRP else None)

    def apply(self, path: str) -> None:
        """Set mode and group of the archive at `path`, which is private. Raises OSError."""
        mode = _PUBLIC
        if self._groups:
            (group,) = self._groups if len(self._groups) == 1 else (None,)
            mode = _GROUP if group is not None and _has_been_given(path, group) else _PRIVATE
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(path, mode & ~umask)

    def warnings(self, archive: str) -> list[str]:
        """Return a line if the archive is not readable by everybody."""
        return [f"{archive}: not readable by everybody, as {self._first} is not"] if self._groups else []


def _has_been_given(path: str, group: int) -> bool:
    """Give the file to the group, and return whether that was possible; an id for all unmapped groups does not tell."""
    hidden = unmapped()
    try:
        os.chown(path, -1, group)
    except OSError:
        return False
    return os.stat(path).st_gid == group and (hidden is None or group != hidden.gid)
