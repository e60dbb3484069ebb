"""Files that a user names for output: only an earlier output is replaced, by rename, and no link or FIFO is followed."""

import os
import stat
from collections.abc import Callable

from pycachehook.system import READ_FLAGS

_LARGEST = 1 << 24  # bytes of an existing file that are examined


def why_not_replaced(path: str, is_earlier: Callable[[bytes], bool], what: str) -> str | None:
    """Return in a few words why `path` must not be replaced, or None.

    A missing or empty file, or an earlier output, may be replaced; `what` names the kind of output, and `is_earlier` is
    called with the beginning of an existing file.
    """
    flags = READ_FLAGS | getattr(os, "O_NOFOLLOW", 0)
    try:
        with open(path, "rb", opener=lambda name, _: os.open(name, flags)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return "is no regular file"
            beginning = file.read(_LARGEST)
    except (FileNotFoundError, NotADirectoryError):
        return None  # a missing directory is reported when the file is written
    except OSError as error:
        return "is no regular file" if _is_no_regular_file(path) else f"cannot be read ({error.strerror})"
    return None if not beginning or is_earlier(beginning) else f"is no {what}"


def _is_no_regular_file(path: str) -> bool:
    try:
        return not stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False
