"""Zstandard in transit: limited in size, and deterministic."""

from __future__ import annotations

import io
import random

import pytest

from pycachehook.bundles.compression import compress, decompress
from pycachehook.bundles.errors import BundleError


def compressed(data: bytes) -> bytes:
    """Return the bytes as one frame."""
    target = io.BytesIO()
    compress(io.BytesIO(data), target)
    return target.getvalue()


def decompressed(data: bytes, size: int) -> bytes:
    """Return the contents of the frame."""
    parts: list[bytes] = []
    decompress(io.BytesIO(data), parts.append, size)
    return b"".join(parts)


@pytest.mark.parametrize("size", [0, 1, 1000, (1 << 20) - 1, 1 << 20, 5_000_000])
def test_there_and_back(size: int) -> None:
    """Decompression returns the input, and two compressions of it are equal."""
    data = random.Random(size).randbytes(size // 2) + bytes(size - size // 2)
    frame = compressed(data)
    assert frame == compressed(data)
    assert decompressed(frame, size) == data


def test_more_and_fewer_bytes_than_said() -> None:
    """A bomb is stopped at the first block beyond the announced size."""
    frame = compressed(bytes(200 << 20))
    assert len(frame) < 100_000
    seen = 0

    def count(part: bytes) -> None:
        nonlocal seen
        seen += len(part)

    with pytest.raises(BundleError, match="larger"):
        decompress(io.BytesIO(frame), count, 10 << 20)
    assert seen <= 10 << 20
    with pytest.raises(BundleError, match="smaller"):
        decompress(io.BytesIO(compressed(b"abc")), count, 4)


def test_damaged_frames() -> None:
    """A damaged frame causes an error, or other bytes, which the digest detects."""
    data = random.Random(0).randbytes(3000)
    frame = compressed(data)
    for end in range(0, len(frame), 7):
        with pytest.raises(BundleError, match=r"^[^\n]+\.$"):
            decompressed(frame[:end], len(data))
    for number in range(len(frame)):
        bad = bytearray(frame)
        bad[number] ^= 0x55
        try:
            decompressed(bytes(bad), len(data))
        except BundleError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_a_window_that_needs_much_memory() -> None:
    """A frame that requires gigabytes of memory is refused."""
    frame = b"\x28\xb5\x2f\xfd" + b"\x00" + bytes([(31 - 10) << 3]) + (1 << 3 | 1).to_bytes(3, "little") + b"a"
    with pytest.raises(BundleError, match="damaged"):
        decompressed(frame, 1)
