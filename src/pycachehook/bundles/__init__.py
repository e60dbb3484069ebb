"""Bundles: archives with a manifest and a signature, for the transfer to other machines.

`push` publishes an archive, `pull` fetches one, `spread` distributes one to the nodes of an MPI job. A start of the
interpreter or an import of a program loads none of these modules. See `docs/pages/how-to/bundles.md`.
"""

from .record import describe

__all__ = ["describe"]
