"""The format of an entry: a PEP 552 pyc followed by a seal.

    bytes 0 to 3    magic number of the interpreter
    bytes 4 to 7    flags, little-endian: 0 timestamp, 1 unchecked-hash, 3 checked-hash
    bytes 8 to 15   stamp: source hash; or mtime (whole seconds) and size (bytes), each modulo 2**32, little-endian
    bytes 16 to     marshalled code
    then, optional  the seal, 28 bytes:
        8 bytes     b"PYCHOOK2"
        4 bytes     flags, little-endian; bit 0: compiling the source emitted warnings
        8 bytes     second hash of the source, SipHash under `CHECK_KEY`
        8 bytes     source hash, under the header's key, of all bytes before it

CPython reads up to the end of the marshalled object and no further, so a sealed entry is a valid pyc for every reader.
The header's source hash has 64 bits and a public key: two sources with the same hash can be found in a minute. The two
hashes together have 128 bits.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

from _io import BytesIO
from marshal import load as _marshal_load

from ._compat import KEY, MAGIC_NUMBER, filters_decide, set_filename, siphash, source_hash
from .events import CORRUPT, OTHER_MODE, STALE_SOURCE, WRONG_MAGIC, Miss
from .system import (
    BUILTINS,
    READ_FLAGS,
    S_IFMT,
    S_IFREG,
    is_foreign,
    read_code_file,
    rest_of_file,
    system,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

HEADER_SIZE = 16
SEAL_NAME = b"PYCHOOK"
SEAL_MAGIC = SEAL_NAME + b"2"
SEAL_SIZE = 28
CHECK_KEY = int.from_bytes(b"PYCHOOKS", "little")
WARNED = 1  # the seal's flag: compiling the source emitted warnings
READ_SIZE = 1 << 17  # bytes of a source to read at once, without asking for its size: few sources are larger

TIMESTAMP = "timestamp"
UNCHECKED_HASH = "unchecked-hash"
CHECKED_HASH = "checked-hash"

HASH_BASED = 0b01
CHECK_SOURCE = 0b10
FLAGS = {TIMESTAMP: 0, UNCHECKED_HASH: HASH_BASED, CHECKED_HASH: HASH_BASED | CHECK_SOURCE}

_CODE_TYPE = type((lambda: None).__code__)
_FLAGS_BY_PREFIX = {MAGIC_NUMBER + flags.to_bytes(4, "little"): flags for flags in FLAGS.values()}
_NO_WARNINGS = bytes(4)
_loads = system.loads
_stream_load = (_marshal_load,)  # in a tuple, because pyfakefs and the like replace functions in a module's globals


def timestamp_stamp(mtime: float, size: int) -> bytes:
    """Return the stamp of a timestamp pyc for `mtime`, in seconds since the epoch, and `size`, in bytes."""
    return (int(mtime) & 0xFFFFFFFF).to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little")


def second_hash(source: "bytes | memoryview") -> bytes:
    """Return the 8-byte hash of a source that the seal records in addition to the header's source hash."""
    return siphash(CHECK_KEY, source)


def encode(code: "CodeType", flags: int, stamp: bytes, check: bytes, *, warned: bool = False) -> bytes:
    """Return the bytes of a sealed entry.

    `stamp` is the source hash or `timestamp_stamp()`, `check` is the `second_hash()` of the source, and `warned` is
    whether compiling it emitted warnings. Raises ValueError for code that marshal cannot write.
    """
    seal_flags = (WARNED if warned else 0).to_bytes(4, "little")
    header = (MAGIC_NUMBER, flags.to_bytes(4, "little"), stamp)
    data = b"".join((*header, system.dumps(code), SEAL_MAGIC, seal_flags, check))
    return data + source_hash(data)


def read_header(data: bytes) -> tuple[int, bytes]:
    """Return `(flags, stamp)` of an entry without reading its code; a seal, if present, is verified.

    Raises `Miss` with the defect.
    """
    flags = _FLAGS_BY_PREFIX.get(data[:8])
    if flags is None or len(data) <= HEADER_SIZE:
        raise _defect(data)
    if is_sealed(data) and siphash(KEY, memoryview(data)[:-8]) != data[-8:]:
        raise Miss(CORRUPT, "seal")
    return flags, data[8:16]


def load(data: bytes, path: str) -> "tuple[int, bytes, bytes | None, CodeType]":
    """Return `(flags, stamp, check, code)` of an entry, with `path` as the code's file name.

    `check` is the seal's second hash of the source, or None for an entry without a seal. Raises `Miss` with the defect:
    first whatever `read_header` reports, before the code is unmarshalled; then a body that is not a code object or that
    is followed by the remains of a seal. An entry whose source emits warnings when compiled is a miss if warning
    filters were given or would raise, because the filters must see the warnings.

    The checks of `read_header` are repeated here for the reason given in `path_search.find_in_listings`.
    """
    flags = _FLAGS_BY_PREFIX.get(data[:8])
    if flags is None or len(data) <= HEADER_SIZE:
        raise _defect(data)
    view = memoryview(data)
    sealed = data[-28:-20] == SEAL_MAGIC
    if sealed:
        if siphash(KEY, view[:-8]) != data[-8:]:
            raise Miss(CORRUPT, "seal")
        if data[-20:-16] != _NO_WARNINGS and filters_decide():
            raise Miss(OTHER_MODE, "compiling the source emits warnings, and warning filters decide about them")
    try:
        code = _loads(view[HEADER_SIZE:])
    except Exception as error:  # marshal raises EOFError, ValueError, TypeError, MemoryError and more
        if is_foreign(error):
            raise
        raise Miss(CORRUPT, f"body: {error}") from None
    if type(code) is not _CODE_TYPE:
        raise Miss(CORRUPT, "body is not a code object")
    check = data[-16:-8] if sealed else None
    if not sealed and _seems_broken_seal(data) and _has_trailing_bytes(data):
        raise _trailing(data)
    return flags, data[8:16], check, code if code.co_filename == path else set_filename(code, path)


def compare(recorded: bytes, actual: bytes) -> None:
    """Raise Miss unless the stamp recorded in an entry equals that of the source."""
    if recorded != actual:
        raise Miss(STALE_SOURCE, f"entry has {recorded.hex()}, source has {actual.hex()}")


def check_source(
    path: str, stamp: bytes, check: bytes | None, source: bytes | None = None, *, open_code: bool = False
) -> None:
    """Raise Miss unless the source at `path` has the hash `stamp` and the second hash `check`, if there is one.

    `source` holds its bytes if they have been read already; `open_code` reads them through `io.open_code`. A Miss contains
    the bytes that were read, as its `source`. Raises OSError.
    """
    status = None
    if source is None and open_code:
        source, status = read_code_file(path, READ_FLAGS)
    elif source is None:
        opened: list[int] = []  # see `system.read_file`
        try:
            opened.extend(map(system.open, (path,), (READ_FLAGS,)))
            source = system.read(opened[0], READ_SIZE)
            if (
                len(source) < READ_SIZE
                and siphash(KEY, source) == stamp
                and (check is None or siphash(CHECK_KEY, source) == check)
            ):
                return
            status = system.fstat(opened[0])
            if status.st_mode & S_IFMT != S_IFREG:
                raise OSError(None, "not a regular file", path)
            if len(source) != status.st_size:
                source = rest_of_file(opened[0], source)
        finally:
            if opened:
                system.close(opened[0])
    try:
        compare(stamp, siphash(KEY, source))
        if check is not None and siphash(CHECK_KEY, source) != check:
            raise Miss(STALE_SOURCE, "the source is another one with the same source_hash")
    except Miss as miss:
        if status is not None:
            miss.source = source, status
        raise


def is_sealed(data: "bytes | memoryview") -> bool:
    """Return whether the entry has a seal of the current version, intact or damaged."""
    return data[-28:-20] == SEAL_MAGIC


def warned(data: bytes) -> bool:
    """Return whether compiling the source of a sealed entry emitted warnings."""
    return is_sealed(data) and bool(data[-20] & WARNED)


def _defect(data: bytes) -> Miss:
    """Return the miss for an unknown header: an entry of another interpreter, or a damaged one of this interpreter."""
    if len(data) <= HEADER_SIZE or data[:4] == MAGIC_NUMBER or data[2:4] != MAGIC_NUMBER[2:]:
        return Miss(CORRUPT, "header")
    if is_sealed(data) and source_hash(memoryview(data)[:-8], int.from_bytes(data[:4], "little")) != data[-8:]:
        return Miss(CORRUPT, "header")
    return Miss(WRONG_MAGIC)


def _trailing(data: bytes) -> Miss:
    """Return the miss for an entry without a current seal that has bytes behind its code."""
    if data[-16:-8] == SEAL_NAME + b"1" and siphash(KEY, memoryview(data)[:-8]) == data[-8:]:
        return Miss(OTHER_MODE, "the seal has an earlier version")
    return Miss(CORRUPT, "broken seal")


def _seems_broken_seal(data: bytes) -> bool:
    """Return whether the entry may end in a truncated seal, or in one with a changed magic."""
    tail = data[-SEAL_SIZE - 8 :]
    if SEAL_NAME in tail or any(tail.endswith(SEAL_NAME[:length]) for length in range(1, 8)):
        return True
    return sum(a == b for a, b in zip(data[-28:-20], SEAL_MAGIC, strict=False)) > len(SEAL_MAGIC) // 2


def _has_trailing_bytes(data: bytes) -> bool:
    """Return whether any bytes follow the marshalled object. This is slow, because it unmarshals the object again."""
    stream = BytesIO(data)
    stream.seek(HEADER_SIZE)
    _stream_load[0](stream)
    return stream.tell() != len(data)
