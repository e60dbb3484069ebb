"""Whether a pull has nothing to do: one small request, and no module that only a transfer needs.

Most pulls, such as those of a timer, end here. Modules that this one imports do not import `typing`, `argparse` and the
like, which take longer than the check.
"""

import os

from . import record as records
from .deadline import Deadline
from .errors import BundleError, NotFoundAtSourceError
from .limits import BLOCK_SIZE
from .record import Record
from .signatures import key_id, read_public_key
from .transports import Transport, open_transport, public
from .variant import own_properties, variant_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MAX_SIZE = 4 << 30
TIMEOUT = 600.0


class Policy:
    """The conditions for a pull.

    `keys` are base64 lines, one of which must have signed the bundle; `pin` is the required SHA-256 digest of the
    archive.
    """

    __slots__ = ("allow_older", "allow_unsigned", "if_changed", "keys", "max_size", "pin", "timeout")

    def __init__(
        self,
        keys: tuple[str, ...] = (),
        pin: str | None = None,
        *,
        allow_unsigned: bool = False,
        allow_older: bool = False,
        max_size: int = MAX_SIZE,
        timeout: float = TIMEOUT,
        if_changed: bool = False,
    ) -> None:
        self.keys = keys
        self.pin = pin
        self.allow_unsigned = allow_unsigned
        self.allow_older = allow_older
        self.max_size = max_size
        self.timeout = timeout
        self.if_changed = if_changed


def policy(keys: "tuple[str, ...] | list[str]" = (), pin: str | None = None, **more: "Any") -> Policy:
    """Return the policy for keys given as files or base64 lines; raises `BundleError` if it would accept any bundle."""
    made = Policy(tuple(map(read_public_key, keys)), pin, **more)
    if not made.keys and made.pin is None and not made.allow_unsigned:
        raise BundleError(
            "Nothing says which bundles are authentic: give --key PUB or --pin SHA256, or accept any with --allow-unsigned."
        )
    return made


class Pulled:
    """The result: `changed` is whether the archive was replaced, `received` the number of received payload bytes."""

    FIELDS = ("path", "changed", "sha256", "size", "created", "signer", "source", "received")
    __slots__ = FIELDS

    def __init__(self, path: str, record: Record, *, changed: bool, received: int = 0) -> None:
        self.path = path
        self.changed = changed
        self.sha256 = record.sha256
        self.size = record.size
        self.created = record.created
        self.signer = record.signer
        self.source = record.source
        self.received = received

    def as_dict(self) -> "dict[str, Any]":
        """Return the result as plain data, as printed by `archive pull --json`."""
        return {name: getattr(self, name) for name in self.FIELDS}


class Place:
    """A place that is asked for this interpreter's bundle, and the file that the bundle's archive has or will have."""

    def __init__(self, source: str, dest: str, wanted: Policy) -> None:
        self.public = public(source)
        self.dest = os.path.abspath(dest)
        self.wanted = wanted
        self.variant = variant_name(*own_properties())
        self.deadline = Deadline(wanted.timeout)
        self.record = records.read(self.dest)
        self.transport: Transport = self.deadline.call(lambda: open_transport(source, wanted.timeout))

    def unchanged(self) -> Pulled | None:
        """Return the result if the existing archive is the offered one, and was accepted under the same conditions.

        Raises `BundleError`.
        """
        record, wanted = self.record, self.wanted
        if record is None or wanted.pin not in (None, record.sha256):
            return None
        if wanted.keys and record.signer not in [key_id(key) for key in wanted.keys]:
            return None
        try:
            offered = self.deadline.call(lambda: self.transport.digest(self.variant))
        except NotFoundAtSourceError:
            return None
        if offered != record.sha256 or self._digest_of_existing(record) != offered:
            return None
        return Pulled(self.dest, record, changed=False)

    def _digest_of_existing(self, record: Record) -> str | None:
        """Return the digest of the existing archive if it has the recorded size; with `if_changed`, from its record."""
        if self.wanted.if_changed and records.holds(record, self.dest):
            return record.sha256 if _opens(self.dest) else None
        return file_digest(self.dest, record.size, self.deadline)


def file_digest(path: str, size: int, deadline: Deadline) -> str | None:
    """Return the SHA-256 digest of a file of this size; None for another size or an unreadable file."""
    import hashlib

    from .transports.files import open_regular

    digest = hashlib.sha256()
    try:
        with open(open_regular(path), "rb", buffering=0) as file:
            if os.fstat(file.fileno()).st_size != size:
                return None
            while part := file.read(BLOCK_SIZE):
                digest.update(part)
                deadline.left()
    except (OSError, ValueError):
        return None
    return digest.hexdigest()


def _opens(path: str) -> bool:
    from pycachehook.archive import Archive, Unusable
    from pycachehook.cache_dir import trusted_owners

    try:
        Archive(path, trusted_owners())
    except Unusable:
        return False
    return True
