"""Zstandard compression: by the standard library from Python 3.14 on, before that by the library `zstandard`."""

import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

from .errors import BundleError, missing_library
from .limits import BLOCK_SIZE

LEVEL = 9
MAX_WINDOW_LOG = 23  # of accepted data; level 9 uses windows of at most 8 MiB

_DAMAGED = "The payload is damaged: it cannot be decompressed."


def compress(source: IO[bytes], target: IO[bytes], level: int = LEVEL) -> None:
    """Write the bytes of `source` to `target` as one frame, which depends only on the input and the library."""
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdCompressor

        compressor: Any = ZstdCompressor(level)
    else:
        try:
            from zstandard import ZstdCompressor as Compressor
        except ImportError:
            raise missing_library("zstandard") from None
        compressor = Compressor(level).compressobj()
    while part := source.read(BLOCK_SIZE):
        target.write(compressor.compress(part))
    target.write(compressor.flush())


def decompress(source: IO[bytes], write: Callable[[bytes], object], size: int) -> None:
    """Pass the decompressed content of `source`, which must have `size` bytes, to `write` in parts; see `decompressed`."""
    for part in decompressed(source, size):
        write(part)


def decompressed(source: IO[bytes], size: int) -> Iterator[bytes]:
    """Yield the decompressed content of `source`, which must have `size` bytes, in parts.

    Raises `BundleError` for damaged or truncated data, and if there are more or fewer bytes. Memory is bounded.
    """
    remaining = size
    for part in _parts(source):
        remaining -= len(part)
        if remaining < 0:
            raise BundleError("The payload is larger than its manifest says.")
        yield part
    if remaining:
        raise BundleError("The payload is smaller than its manifest says.")


def _parts(source: IO[bytes]) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

        decompressor = ZstdDecompressor(options={DecompressionParameter.window_log_max: MAX_WINDOW_LOG})
        try:
            while not decompressor.eof:
                data = source.read(BLOCK_SIZE) if decompressor.needs_input else b""
                if decompressor.needs_input and not data:
                    raise BundleError(_DAMAGED)
                yield decompressor.decompress(data, BLOCK_SIZE)
        except ZstdError:
            raise BundleError(_DAMAGED) from None
        if decompressor.unused_data or source.read(1):
            raise BundleError(_DAMAGED)
        return
    try:
        import zstandard
    except ImportError:
        raise missing_library("zstandard") from None
    reader = zstandard.ZstdDecompressor(max_window_size=1 << MAX_WINDOW_LOG).stream_reader(source, read_size=BLOCK_SIZE)
    try:
        while part := reader.read(BLOCK_SIZE):
            yield part
    except zstandard.ZstdError:
        raise BundleError(_DAMAGED) from None
    if source.read(1):
        raise BundleError(_DAMAGED)
