"""The big transfer: bounded in bytes and time, resumed where it was cut, continued from what a killed process left."""

import hashlib
import time
from collections.abc import Callable
from typing import IO

from .deadline import Deadline
from .errors import BundleError, RangeIgnoredError, TransferError
from .manifest import Manifest
from .record import abandoned, remove, temporary_path
from .transports import PART, Transport

ATTEMPTS = 4  # in a row that bring nothing
_FIRST_WAIT = 0.1  # seconds, doubled each time


class Part:
    """The payload as far as it has come, in a file of this process's own."""

    def __init__(self, folder: str, manifest: Manifest) -> None:
        self._payload = manifest.payload
        self._folder = folder
        self.path = temporary_path(folder, self._payload.sha256, "part")
        self.file: IO[bytes] = open(self.path, "x+b", buffering=0)  # noqa: SIM115 -- closed by `close`
        self.size = 0
        self._digest = hashlib.sha256()

    def add(self, part: bytes) -> None:
        """Append bytes; raises `BundleError` if there are more than the manifest says."""
        if self.size + len(part) > self._payload.size:
            raise BundleError(f"The source sends more than the {self._payload.size} bytes that its manifest says.")
        view = memoryview(part)
        while view:
            view = view[self.file.write(view) :]
        self._digest.update(part)
        self.size += len(part)

    def restart(self) -> None:
        """Forget everything."""
        self.file.seek(0)
        self.file.truncate()
        self.size, self._digest = 0, hashlib.sha256()

    def is_whole(self) -> bool:
        """Say whether all bytes are there and are the right ones."""
        return self.size == self._payload.size and self._digest.hexdigest() == self._payload.sha256

    def close(self, *, keep: bool) -> None:
        """Close the file, and remove it unless a later transfer is to continue it."""
        self.file.close()
        if not keep or not self.size:
            remove(self.path)

    def take_over(self) -> None:
        """Copy the longest beginning that a process left that is no more, and remove what such processes left.

        It is copied and not continued, since that process may be alive after all, where locks and process ids say
        nothing. Whatever was copied is verified with the rest.
        """
        left = abandoned(self._folder)
        ours = [each for each in left if each.kind == "part" and self._payload.sha256.startswith(each.digest)]
        if ours:
            try:
                with open(max(ours, key=lambda each: each.size).path, "rb") as file:
                    while part := file.read(PART):
                        self.add(part)
            except (OSError, BundleError):
                self.restart()
        for each in left:
            remove(each.path)


def download(
    transport: Transport, manifest: Manifest, part: Part, deadline: Deadline, progress: Callable[[int], object]
) -> None:
    """Fill `part` with the payload and verify its digest; `progress` is told each number of bytes that came.

    A transfer that was cut is resumed, as long as each attempt brings something. Raises `BundleError`.
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
            continued = False  # what another process left may have been the damaged part
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
