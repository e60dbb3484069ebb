"""The transfer of the payload: bounded in bytes and time, and resumed after a broken connection or a killed process."""

import hashlib
import time
from collections.abc import Callable
from typing import IO

from .deadline import Deadline
from .errors import BundleError, RangeIgnoredError, TransferError
from .limits import BLOCK_SIZE
from .manifest import Manifest
from .record import abandoned, remove, temporary_path
from .transports import Transport

ATTEMPTS = 4  # consecutive attempts without any data
_FIRST_WAIT = 0.1  # seconds, doubled each time


class Part:
    """The received part of the payload, in a file that no other process uses."""

    def __init__(self, folder: str, manifest: Manifest) -> None:
        self._payload = manifest.payload
        self._folder = folder
        self.path = temporary_path(folder, self._payload.sha256, "part")
        self.file: IO[bytes] = open(self.path, "x+b", buffering=0)  # noqa: SIM115 -- closed by `close`
        self.size = 0
        self._digest = hashlib.sha256()

    def add(self, part: bytes) -> None:
        """Append bytes; raises `BundleError` if there are more than the manifest allows."""
        if self.size + len(part) > self._payload.size:
            raise BundleError(f"The source sends more than the {self._payload.size} bytes that its manifest says.")
        view = memoryview(part)
        while view:
            view = view[self.file.write(view) :]
        self._digest.update(part)
        self.size += len(part)

    def restart(self) -> None:
        """Discard all received bytes."""
        self.file.seek(0)
        self.file.truncate()
        self.size, self._digest = 0, hashlib.sha256()

    def is_whole(self) -> bool:
        """Return whether all bytes have been received and have the right digest."""
        return self.size == self._payload.size and self._digest.hexdigest() == self._payload.sha256

    def close(self, *, keep: bool) -> None:
        """Close the file, and remove it unless it is kept for a later transfer."""
        self.file.close()
        if not keep or not self.size:
            remove(self.path)

    def take_over(self) -> None:
        """Copy the longest part left by an ended process, and remove the files of such processes.

        It is copied, not continued in place, because the process may still be running where locks and process ids prove
        nothing. The copied bytes are verified with the rest.
        """
        left = abandoned(self._folder)
        matching = [
            candidate
            for candidate in left
            if candidate.kind == "part" and self._payload.sha256.startswith(candidate.digest)
        ]
        if matching:
            try:
                with open(max(matching, key=lambda candidate: candidate.size).path, "rb") as file:
                    while part := file.read(BLOCK_SIZE):
                        self.add(part)
            except (OSError, BundleError):
                self.restart()
        for candidate in left:
            remove(candidate.path)


def download(
    transport: Transport, manifest: Manifest, part: Part, deadline: Deadline, progress: Callable[[int], object]
) -> None:
    """Fill `part` with the payload and verify its digest; `progress` is called with each number of received bytes.

    A broken transfer is resumed as long as each attempt receives data. Raises `BundleError`.
    """
    failures = 0
    continued = part.size > 0
    while True:
        before = part.size
        try:
            _transfer(transport, manifest, part, deadline, progress)
            if part.is_whole():
                return
            if not continued:
                raise BundleError("The payload is damaged: its digest is not the one in its manifest.")
            continued = False  # the part left by another process may be the damaged one
            part.restart()
        except RangeIgnoredError:
            part.restart()
            failures += 1
            if failures >= ATTEMPTS:
                raise
        except TransferError:
            failures = 0 if part.size > before else failures + 1
            if failures >= ATTEMPTS:
                raise
            time.sleep(min(_FIRST_WAIT * 2**failures, deadline.left()))


def _transfer(
    transport: Transport, manifest: Manifest, part: Part, deadline: Deadline, progress: Callable[[int], object]
) -> None:
    if part.size == manifest.payload.size:
        return
    start = part.size
    for data in deadline.iterate(lambda: transport.payload(manifest, start)):
        part.add(data)
        progress(len(data))
    if part.size < manifest.payload.size:
        raise TransferError(f"The source ended after {part.size} of {manifest.payload.size} bytes.")
