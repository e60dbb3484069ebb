"""Zstandard: by the standard library from Python 3.14 on, by `zstandard` before."""

import sys
from collections.abc import Callable, Iterator
from typing import IO, Any

from .errors import BundleError, missing_library

LEVEL = 9
PART = 1 << 20  # bytes read and written at once
MOST_WINDOW_LOG = 23  # of what is accepted; level 9 writes 8 MiB windows at most

_DAMAGED = "The payload is damaged: it cannot be decompressed."


def compress(source: IO[bytes], target: IO[bytes], level: int = LEVEL) -> None:
    """Write the bytes of `source` to `target` as one frame; the same bytes for the same input and library."""
    if sys.version_info >= (3, 14):
        from compression.zstd import ZstdCompressor

        compressor: Any = ZstdCompressor(level)
    else:
        try:
            from zstandard import ZstdCompressor as Compressor
        except ImportError:
            raise missing_library("zstandard") from None
        compressor = Compressor(level).compressobj()
    while part := source.read(PART):
        target.write(compressor.compress(part))
    target.write(compressor.flush())


def decompress(source: IO[bytes], write: Callable[[bytes], object], size: int) -> None:
    """Pass the `size` bytes that `source` holds compressed to `write`, in parts.

    Raises `BundleError` for anything else: damaged, cut off, more bytes than `size`, or less. Memory is bounded.
    """
    left = size
    for part in _parts(source):
        left -= len(part)
        if left < 0:
            raise BundleError("The payload is larger than its manifest says.")
        write(part)
    if left:
        raise BundleError("The payload is smaller than its manifest says.")


def _parts(source: IO[bytes]) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

        decompressor = ZstdDecompressor(options={DecompressionParameter.window_log_max: MOST_WINDOW_LOG})
        try:
            while not decompressor.eof:
                data = source.read(PART) if decompressor.needs_input else b""
                if decompressor.needs_input and not data:
                    raise BundleError(_DAMAGED)
                yield decompressor.decompress(data, PART)
        except ZstdError:
            raise BundleError(_DAMAGED) from None
        if decompressor.unused_data or source.read(1):
            raise BundleError(_DAMAGED)
        return
    try:
        import zstandard
    except ImportError:
        raise missing_library("zstandard") from None
    reader = zstandard.ZstdDecompressor(max_window_size=1 << MOST_WINDOW_LOG).stream_reader(source, read_size=PART)
    try:
        while part := reader.read(PART):
            yield part
    except zstandard.ZstdError:
        raise BundleError(_DAMAGED) from None
    if source.read(1):
        raise BundleError(_DAMAGED)
