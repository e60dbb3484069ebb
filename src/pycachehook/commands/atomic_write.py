"""Writing a file by rename: readers see the old file or the complete new one, and no link is followed.

The writer of entries does the same on its own: during an import it can use neither `os` nor `open`.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from pycachehook.paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO


@contextmanager
def replacing(path: str, mode: int = 0o666) -> "Iterator[BinaryIO]":
    """Yield a new file that takes the place of `path` when the block ends, and is removed if the block raises.

    `mode` is the file's mode before the umask is applied. Raises OSError.
    """
    name = f"{TEMPORARY_PREFIX}{os.getpid()}-{os.urandom(8).hex()}{TEMPORARY_SUFFIX}"
    temporary = os.path.join(os.path.dirname(path), name)
    file = open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode))  # noqa: SIM115 -- closed below
    try:
        with file:
            yield file
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
