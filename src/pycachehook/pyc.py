"""The entry: a PEP 552 pyc, with a seal behind it.

    bytes 0 to 3    magic number of the interpreter
    bytes 4 to 7    flags, little-endian: 0 timestamp, 1 unchecked-hash, 3 checked-hash
    bytes 8 to 15   stamp: source hash; or mtime (whole seconds) and size (bytes), each modulo 2**32, little-endian
    bytes 16 to     marshalled code
    then, optional  the seal: b"PYCHOOK1", and the source hash of all the bytes before these last 8

CPython reads up to the end of the marshalled object and no further, so a sealed entry is a pyc for everybody.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import marshal

from ._compat import KEY, MAGIC_NUMBER, set_filename, siphash, source_hash
from .events import CORRUPT, WRONG_MAGIC, Miss

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

HEADER_SIZE = 16
SEAL_MAGIC = b"PYCHOOK1"
SEAL_SIZE = 16

TIMESTAMP = "timestamp"
UNCHECKED_HASH = "unchecked-hash"
CHECKED_HASH = "checked-hash"

HASH_BASED = 0b01
CHECK_SOURCE = 0b10
FLAGS = {TIMESTAMP: 0, UNCHECKED_HASH: HASH_BASED, CHECKED_HASH: HASH_BASED | CHECK_SOURCE}

_CODE_TYPE = type((lambda: None).__code__)
_FLAGS_BY_PREFIX = {MAGIC_NUMBER + flags.to_bytes(4, "little"): flags for flags in FLAGS.values()}


def timestamp_stamp(mtime: float, size: int) -> bytes:
    """Return the stamp of a timestamp pyc; `mtime` in seconds since the epoch, `size` in bytes."""
    return (int(mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def encode(code: "CodeType", flags: int, stamp: bytes) -> bytes:
    """Return the bytes of a sealed entry; `stamp` is the source hash, or `timestamp_stamp()`."""
    data = b"".join((MAGIC_NUMBER, flags.to_bytes(4, "little"), stamp, marshal.dumps(code), SEAL_MAGIC))
    return data + source_hash(data)


def read_header(data: bytes) -> tuple[int, bytes]:
    """Return `(flags, stamp)` of an entry whose seal, if it has one, holds, without a look at the code.

    Raises `Miss` naming the defect.
    """
    flags = _FLAGS_BY_PREFIX.get(data[:8])
    if flags is None or len(data) <= HEADER_SIZE:
        raise _defect(data)
    if is_sealed(data) and siphash(KEY, memoryview(data)[:-8]) != data[-8:]:
        raise Miss(CORRUPT, "seal")
    return flags, data[8:16]


def load(data: bytes, path: str) -> "tuple[int, bytes, CodeType]":
    """Return `(flags, stamp, code)` of an entry, with `path` as the code's file name.

    Raises `Miss` naming the defect: what `read_header` would name, before the body is touched; then a body that is
    no code object, or is followed by the remains of a seal. (It does what `read_header` does without the calls, for
    the reason that `find_in_listings` gives.)
    """
    flags = _FLAGS_BY_PREFIX.get(data[:8])
    if flags is None or len(data) <= HEADER_SIZE:
        raise _defect(data)
    view = memoryview(data)
    sealed = data[-16:-8] == SEAL_MAGIC
    if sealed and siphash(KEY, view[:-8]) != data[-8:]:
        raise Miss(CORRUPT, "seal")
    try:
        code = marshal.loads(view[HEADER_SIZE:])
    except Exception as error:  # noqa: BLE001 -- marshal raises EOFError, ValueError, TypeError and more
        raise Miss(CORRUPT, f"body: {error}") from None
    if type(code) is not _CODE_TYPE:
        raise Miss(CORRUPT, "body is not a code object")
    if not sealed and _seems_broken_seal(data) and _has_trailing_bytes(data):
        raise Miss(CORRUPT, "broken seal")
    return flags, data[8:16], code if code.co_filename == path else set_filename(code, path)


def is_sealed(data: bytes) -> bool:
    """Say whether the entry carries a seal, holding or not."""
    return data[-16:-8] == SEAL_MAGIC


def _defect(data: bytes) -> Miss:
    """Tell another interpreter's entry from one of ours whose header was damaged."""
    if len(data) <= HEADER_SIZE or data[:4] == MAGIC_NUMBER or data[2:4] != MAGIC_NUMBER[2:]:
        return Miss(CORRUPT, "header")
    if is_sealed(data) and source_hash(memoryview(data)[:-8], int.from_bytes(data[:4], "little")) != data[-8:]:
        return Miss(CORRUPT, "header")
    return Miss(WRONG_MAGIC)


def _seems_broken_seal(data: bytes) -> bool:
    """Say whether the last bytes could be a seal that was cut short or had a letter changed."""
    tail = data[-SEAL_SIZE - 8 :]
    if SEAL_MAGIC in tail or any(tail.endswith(SEAL_MAGIC[:length]) for length in range(1, 8)):
        return True
    return sum(a == b for a, b in zip(data[-16:-8], SEAL_MAGIC, strict=True)) > len(SEAL_MAGIC) // 2


def _has_trailing_bytes(data: bytes) -> bool:
    """Say whether anything follows the marshalled object (slow: the object is read a second time)."""
    from io import BytesIO

    stream = BytesIO(data)
    stream.seek(HEADER_SIZE)
    marshal.load(stream)
    return stream.tell() != len(data)
