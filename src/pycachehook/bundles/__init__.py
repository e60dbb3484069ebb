"""Bundles: an archive as it travels to other machines, with a manifest and a signature. See `docs/pages/how-to/bundles.md`.

`push` publishes an archive, `pull` fetches one, `spread` distributes one to the nodes of an MPI job. A start of the
interpreter or an import of a program loads none of these modules. See `docs/pages/how-to/bundles.md`.
"""

from .record import describe

__all__ = ["describe"]
