"""`archive spread`: one rank of an MPI job fetches a bundle and broadcasts it to one rank of each node.

No file is renamed before every node has verified its copy, so a failure on one node leaves all nodes unchanged. Without
`mpiexec` there is one rank on one node, and the effect is that of `archive pull`.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from . import record as records
from .deadline import Deadline
from .download import Part, download
from .environment import this_interpreter
from .errors import BundleError, missing_library, printable
from .manifest import Manifest, decode
from .pull import authenticate, check_wanted, fetch_manifest, write_record
from .staging import Staged, prepare_directory, stage
from .transports import Transport, open_transport, public
from .unchanged import Policy, file_digest

T = TypeVar("T")

BROADCAST_SIZE = 4 << 20  # bytes of one broadcast


@dataclass(frozen=True)
class Spread:
    """The result, the same on all ranks: an error message, or the archive's digest and the number of nodes.

    `speaks` is true on one rank only, which prints the result.
    """

    error: str | None
    sha256: str | None
    nodes: int
    speaks: bool
    path: str

    def as_dict(self) -> dict[str, Any]:
        """Return the result as plain data, as printed by `archive spread --json`."""
        return {"path": self.path, "sha256": self.sha256, "nodes": self.nodes}


class _Failed(Exception):  # noqa: N818 -- ends the work of all ranks with the same message
    """The error message that all ranks have received."""


class _Job:
    """The work of one leader. All leaders call every collective method, whatever has failed before."""

    def __init__(self, source: str, dest: str, leaders: Any) -> None:
        self._source = source
        self._dest = dest
        self._leaders = leaders
        self._first = leaders.Get_rank() == 0
        self._signer: str | None = None

    def run(self, policy: Callable[[], Policy]) -> str:
        """Return the archive's digest; raises `_Failed` on all leaders with the same message."""
        wanted = self._together(policy)
        deadline = Deadline(wanted.timeout)
        transport, data, signature = self._read_small(wanted, deadline)
        manifest = self._together(lambda: self._check(data, signature, wanted, deadline))
        settled = (
            self._together(lambda: file_digest(self._dest, manifest.archive.size, deadline)) == manifest.archive.sha256
        )
        if not all(self._leaders.allgather(settled)):
            staged = self._stage(transport, manifest, deadline)
            status = self._together(staged.commit)
        else:
            status = self._together(lambda: os.stat(self._dest))
        self._together(lambda: write_record(self._dest, status, manifest, self._signer, public(self._source)))
        return manifest.archive.sha256

    def _read_small(self, wanted: Policy, deadline: Deadline) -> tuple[Transport | None, bytes, bytes | None]:
        """Read the manifest and its signature on the first rank, and broadcast them."""
        transport: Transport | None = None
        small: tuple[bytes, bytes | None] = (b"", None)

        def read() -> None:
            nonlocal transport, small
            if self._first:
                opened = transport = deadline.call(lambda: open_transport(self._source, wanted.timeout))
                data = fetch_manifest(opened, this_interpreter().variant, public(self._source), deadline)
                small = data, deadline.call(lambda: opened.signature(data)) if wanted.keys else None

        self._together(read)
        return transport, *self._leaders.bcast(small, root=0)

    def _check(self, data: bytes, signature: bytes | None, wanted: Policy, deadline: Deadline) -> Manifest:
        manifest = decode(data)
        self._signer = authenticate(lambda: signature, data, manifest, wanted, deadline)
        check_wanted(manifest, self._dest, wanted, records.read(self._dest))
        prepare_directory(self._dest)
        return manifest

    def _stage(self, transport: Transport | None, manifest: Manifest, deadline: Deadline) -> Staged:
        """Verify the archive on every node; if that fails on one, remove it on all and raise `_Failed`."""
        started = False

        def fill(part: Part) -> None:
            nonlocal started
            started = True
            self._fill(part, transport, manifest, deadline)

        staged, failure = _attempt(lambda: stage(manifest, self._dest, deadline, fill))
        if not started:  # the other leaders are waiting in `_fill`
            _attempt(lambda: self._fill(None, transport, manifest, deadline))
        try:
            self._agree(failure)
        except _Failed:
            if staged is not None:
                staged.discard()
            raise
        assert staged is not None
        return staged

    def _fill(self, part: Part | None, transport: Transport | None, manifest: Manifest, deadline: Deadline) -> None:
        """Fetch the payload on the first rank and broadcast it; a leader without a file takes part as well."""

        def fetch() -> None:
            if part is None:
                raise BundleError("There is no file to write to.")
            if transport is not None:
                part.take_over()
                download(transport, manifest, part, deadline, lambda _size: None)
                part.file.seek(0)

        _, failure = _attempt(fetch)
        try:
            self._agree(failure)
        except _Failed as failed:
            raise BundleError(str(failed)) from None
        assert part is not None
        self._broadcast(part, manifest, reads=transport is not None)

    def _broadcast(self, part: Part, manifest: Manifest, *, reads: bool) -> None:
        remaining = manifest.payload.size
        buffer = bytearray(BROADCAST_SIZE)
        failure: str | None = None
        while remaining:
            view = memoryview(buffer)[: min(remaining, BROADCAST_SIZE)]
            if reads and failure is None:
                _, failure = _attempt(lambda view=view: part.file.readinto(view))  # type: ignore[misc, attr-defined]
            self._leaders.Bcast(view, root=0)
            if not reads and failure is None:
                _, failure = _attempt(lambda view=view: part.add(view))  # type: ignore[misc]
            remaining -= len(view)
        if failure is None and not part.is_whole():
            failure = "The payload was damaged on its way between nodes."
        if failure is not None:
            raise BundleError(failure)

    def _together(self, step: Callable[[], T]) -> T:
        """Return the result of `step` if it succeeds on all leaders; otherwise raise `_Failed` on all."""
        value, failure = _attempt(step)
        self._agree(failure)
        return value  # type: ignore[return-value]

    def _agree(self, failure: str | None) -> None:
        failures = self._leaders.allgather(None if failure is None else (failure, socket.gethostname()))
        for failed in failures:
            if failed is not None:
                where = f"On node {printable(failed[1])}: " if len(failures) > 1 else ""
                raise _Failed(failed[0] if failed[0].startswith("On node ") else where + failed[0])


def _attempt(step: Callable[[], T]) -> tuple[T | None, str | None]:
    """Return the result of `step`, or one sentence that says why it failed.

    An exception would leave the other ranks waiting.
    """
    try:
        return step(), None
    except BundleError as error:
        return None, str(error)
    except OSError as error:
        return None, f"{error.strerror or error}."
    except Exception as error:  # noqa: BLE001
        return None, f"It failed: {type(error).__name__}: {printable(str(error))}."


def spread(source: str, dest: str, policy: Callable[[], Policy]) -> Spread:
    """Fetch the bundle at `source` into the file `dest` on every node of the job; a collective call of all ranks.

    `policy` is called on one rank of each node. Raises `BundleError` only if there is no MPI.
    """
    try:
        import mpi4py as _  # noqa: F401 -- checks whether it is installed
    except ImportError:
        raise missing_library("mpi4py", "mpi") from None
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError):
        raise BundleError("mpi4py finds no MPI library: load the cluster's, or `pip install mpich`.") from None
    world = MPI.COMM_WORLD
    rank = world.Get_rank()
    node = world.Split_type(MPI.COMM_TYPE_SHARED, key=rank)
    leads = node.Get_rank() == 0
    leaders = world.Split(0 if leads else MPI.UNDEFINED, key=rank)
    error: str | None = None
    digest: str | None = None
    nodes = 0
    dest = os.path.abspath(dest)
    if leads:
        nodes = leaders.Get_size()
        try:
            digest = _Job(source, dest, leaders).run(policy)
        except _Failed as failed:
            error = str(failed)
    error, digest, nodes = node.bcast((error, digest, nodes), root=0)
    return Spread(error, digest, nodes, rank == 0, dest)
