"""Bundles: an archive as it travels to other machines, with a manifest and a signature. See `docs/pages/how-to/bundles.md`.

`push` publishes an archive, `pull` fetches one, `spread` distributes one over the nodes of an MPI job. Nothing here is
loaded by an interpreter's start or by an import of the program's.
"""

from .record import describe

__all__ = ["describe"]
