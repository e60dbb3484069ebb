"""Staging of an archive: it is transferred, decompressed and verified beside its final path, then renamed."""

import hashlib
import os
import shutil
from collections.abc import Callable

from pycachehook.cache_dir import make_directories, trusted_owners, why_untrusted
from pycachehook.commands import archive_verify
from pycachehook.errors import PycacheHookError

from .compression import decompressed
from .deadline import Deadline
from .download import Part
from .errors import BundleError, DeadlineError, TransferError
from .manifest import Manifest
from .record import remove, temporary_path

_DIRECTORY_MODE = 0o755
_FILE_MODE = 0o644
_SYNC_SIZE = 32 << 20  # bytes that are written to the disk at a time


def prepare_directory(dest: str) -> None:
    """Create the directory of the archive; raises `BundleError` if an archive there would be refused."""
    folder = os.path.dirname(dest)
    try:
        if os.path.isdir(dest):
            raise BundleError(f"{dest} is a directory: give the path of a file.")
        if os.path.lexists(dest) and not (os.path.islink(dest) or os.path.isfile(dest)):
            raise BundleError(f"{dest} is a device, a pipe or a socket, and is not replaced: give the path of a file.")
        make_directories(folder, _DIRECTORY_MODE)
        fault = why_untrusted(folder, trusted_owners())
    except OSError as error:
        raise BundleError(f"{folder} cannot be used: {error.strerror or error}.") from None
    if fault is not None:
        raise BundleError(f"An archive in {folder} would not be trusted: {fault}")


class Staged:
    """A verified archive with a temporary name in its final directory."""

    def __init__(self, dest: str, manifest: Manifest, path: str) -> None:
        self.dest = dest
        self.manifest = manifest
        self._path = path

    def commit(self) -> os.stat_result:
        """Rename the archive to its final name and return its status; raises `BundleError`."""
        try:
            status = os.stat(self._path)
            os.replace(self._path, self.dest)
        except OSError as error:
            self.discard()
            raise BundleError(f"{self.dest} cannot be replaced: {error.strerror or error}.") from None
        return status

    def discard(self) -> None:
        """Remove the file."""
        remove(self._path)


def stage(manifest: Manifest, dest: str, deadline: Deadline, fill: Callable[[Part], object]) -> Staged:
    """Return the verified archive described by an authentic `manifest`; `fill` fetches it. Raises `BundleError`."""
    folder = os.path.dirname(dest)
    path = temporary_path(folder, manifest.archive.sha256, "whole")
    needed = manifest.archive.size + manifest.payload.size
    try:
        free = shutil.disk_usage(folder).free
        if needed > free:
            raise BundleError(f"{folder} has {free} bytes free, and the bundle needs {needed}.")
        part = Part(folder, manifest)
        keep = False
        try:
            fill(part)
            _unpack(part, manifest, path, deadline)
        except (TransferError, DeadlineError, KeyboardInterrupt):
            keep = True
            raise
        finally:
            part.close(keep=keep)
        _verify(path, dest)
    except OSError as error:
        remove(path)
        raise BundleError(f"The archive cannot be written to {folder}: {error.strerror or error}.") from None
    except BaseException:
        remove(path)
        raise
    return Staged(dest, manifest, path)


def _unpack(part: Part, manifest: Manifest, path: str, deadline: Deadline) -> None:
    """Decompress the payload in one thread, and digest and write the archive in this one."""
    digest = hashlib.sha256()
    umask = os.umask(0)
    os.umask(umask)
    part.file.seek(0)
    with open(path, "xb") as file:
        for data in deadline.iterate(lambda: decompressed(part.file, manifest.archive.size)):
            digest.update(data)
            file.write(data)
            if file.tell() % _SYNC_SIZE < len(data):  # so that little is left to do at the end
                os.fsync(file.fileno())
        file.flush()
        os.chmod(path, _FILE_MODE & ~umask)
        os.fsync(file.fileno())
    if digest.hexdigest() != manifest.archive.sha256:
        raise BundleError("The archive is damaged: its digest is not the one in its manifest.")


def _verify(path: str, dest: str) -> None:
    """Open the archive as an import would, and read its whole index; raises `BundleError`."""
    try:
        archive = archive_verify.open_archive(path)
        size = os.path.getsize(path)
        if any(entry.offset + entry.size > size for entry in archive_verify.entries(archive)):
            raise BundleError(f"The archive {dest} is damaged: its index refers to data beyond its end.")
    except PycacheHookError as error:
        raise BundleError(str(error).replace(path, dest)) from None
