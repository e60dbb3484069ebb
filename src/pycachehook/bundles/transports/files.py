"""`file://` URLs and paths: a directory on this machine or on a shared file system."""

import os
import stat

from pycachehook.bundles.errors import BundleError, NotFoundAtSourceError, TransferError
from pycachehook.bundles.limits import BLOCK_SIZE

from .names import NamedFiles, manifest_name, payload_name, signature_name, split_manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from pycachehook.bundles.manifest import Manifest

_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)


def path_of(url: str) -> str:
    """Return the path of a `file://` URL; raises `BundleError` if it names another host."""
    from urllib.parse import unquote, urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        raise BundleError(f"{url} is not a file:// URL.") from None
    if parts.netloc not in ("", "localhost"):
        raise BundleError(f"{url} names another host: a file:// URL begins with file:/// and a path.")
    path = unquote(parts.path)
    if os.name == "nt":
        path = path.lstrip("/")
    if not path or "\0" in path:
        raise BundleError(f"{url} has no path.")
    return path


def read_small(path: str, limit: int) -> bytes:
    """Return a file's bytes; raises OSError, or ValueError if it is no regular file or larger than `limit`."""
    with open(open_regular(path), "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"It is larger than {limit} bytes")
    return data


def open_regular(path: str) -> int:
    """Return a descriptor for a regular file, without waiting at a FIFO; raises OSError or ValueError."""
    descriptor = os.open(path, _FLAGS)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("It is no regular file")
    return descriptor


class FileTransport(NamedFiles):
    """A directory with bundles, or one manifest in it."""

    def __init__(self, path: str) -> None:
        folder, self._manifest = split_manifest(path.replace(os.sep, "/"))
        self._folder = os.path.abspath(folder)

    def payload(self, manifest: "Manifest", start: int) -> "Iterator[bytes]":
        path = os.path.join(self._folder, payload_name(manifest))
        try:
            with open(open_regular(path), "rb", buffering=0) as file:
                file.seek(start)
                while part := file.read(BLOCK_SIZE):
                    yield part
        except FileNotFoundError:
            raise NotFoundAtSourceError(f"{path} does not exist.") from None
        except (OSError, ValueError) as error:
            raise _failure(path, error, "read") from None

    def publish(self, manifest: "Manifest", data: bytes, signature: bytes | None, payload: str) -> None:
        path = self._folder
        try:
            os.makedirs(self._folder, exist_ok=True)
            if signature is not None:
                path = self._put(signature_name(data), signature)
            path = os.path.join(self._folder, payload_name(manifest))
            with open(payload, "rb") as file:
                self._put(payload_name(manifest), file)
            path = self._put(self._manifest or manifest_name(manifest.interpreter.variant), data)
        except (OSError, ValueError) as error:
            raise _failure(path, error, "written") from None

    def _small(self, name: str, limit: int) -> bytes:
        path = os.path.join(self._folder, name)
        try:
            return read_small(path, limit)
        except FileNotFoundError:
            raise NotFoundAtSourceError(f"{path} does not exist.") from None
        except (OSError, ValueError) as error:
            raise _failure(path, error, "read") from None

    def _put(self, name: str, content: "bytes | IO[bytes]") -> str:
        """Write a file by rename, and return its path."""
        path = os.path.join(self._folder, name)
        from pycachehook.commands.atomic_write import replacing

        with replacing(path) as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                import shutil

                shutil.copyfileobj(content, file, BLOCK_SIZE)
        return path


def _failure(path: str, error: Exception, done: str) -> TransferError:
    return TransferError(f"{path} cannot be {done}: {getattr(error, 'strerror', None) or error}.")
