"""Detached signatures in minisign's format, by the library py-minisign; Debian's `minisign` reads and writes the same.

A key is given as the path of a file; a public key also as its line of base64, as for `minisign -P`.
"""

import binascii
import os

from .errors import BundleError, missing_library
from .limits import SIGNATURE_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_KEY_BYTES = 2 + 8 + 32  # algorithm, key id, Ed25519 key
_COMMENT = b"untrusted comment:"


def _library() -> "Any":
    try:
        import minisign
    except ImportError:
        raise missing_library("py-minisign") from None
    return minisign


def read_public_key(key: str) -> str:
    """Return the base64 line of a public key, which is `key` itself or in the file `key`; raises `BundleError`."""
    line = key.strip()
    if not _is_public_key(line):
        text = _read(key, "public key")
        lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(_COMMENT)]
        line = lines[0].decode("ascii", "replace") if len(lines) == 1 else ""
        if not _is_public_key(line):
            raise BundleError(f"{key} is no public key of minisign.")
    return line


def _is_public_key(line: str) -> bool:
    try:
        data = binascii.a2b_base64(line, strict_mode=True)
    except (binascii.Error, ValueError):
        return False
    return len(data) == _KEY_BYTES and data[:2] == b"Ed"


def key_id(line: str) -> str:
    """Return the id of a public key as `minisign` prints it: 16 hexadecimal digits."""
    return binascii.a2b_base64(line)[2:10][::-1].hex().upper()


def verify_signature(data: bytes, signature: bytes, keys: "Sequence[str]") -> str:
    """Return the id of the key among `keys` (base64 lines) that signed `data`; raises `BundleError` if none did."""
    minisign = _library()
    try:
        parsed = minisign.Signature.from_bytes(signature[: SIGNATURE_LIMIT + 1])
        if not all(map(_is_canonical, signature.splitlines()[1::2])):
            raise ValueError("a bit that has no meaning is set")
    except (minisign.Error, ValueError):
        raise BundleError("The signature is damaged: it is not in minisign's format.") from None
    failure = "The bundle is not signed by a key that was given"
    for line in keys:
        try:
            minisign.PublicKey.from_base64(line).verify(data, parsed)
        except (minisign.Error, ValueError) as error:
            if "identifiers" not in str(error):
                failure = "The signature does not match the manifest"
            continue
        return key_id(line)
    raise BundleError(f"{failure}.")


def _is_canonical(line: bytes) -> bool:
    """Return whether a base64 line is the only one that gives its bytes: some of the last letter's bits are not used."""
    return binascii.b2a_base64(binascii.a2b_base64(line), newline=False) == line.strip()


def sign(data: bytes, key: str, created: int) -> bytes:
    """Return the signature of `data` by the secret key in the file `key`; raises `BundleError`.

    The same input gives the same bytes, because the trusted comment contains `created` as the time. The password of an
    encrypted key is read from the terminal only.
    """
    minisign = _library()
    try:
        with minisign.SecretKey.from_bytes(_read(key, "secret key")) as secret:
            if secret.is_encrypted():
                secret.decrypt(_password(key))
            return bytes(secret.sign(data, trusted_comment=f"timestamp:{created}\thashed")) + b"\n"
    except (minisign.Error, ValueError) as error:
        if "password" in str(error):
            raise BundleError(f"The password for the secret key {key} is wrong.") from None
        raise BundleError(f"{key} is no secret key of minisign.") from None


def _password(key: str) -> str:
    import getpass
    import sys

    if not sys.stdin or not sys.stdin.isatty():
        raise BundleError(f"The secret key {key} has a password, which can only be entered on a terminal.")
    return getpass.getpass(f"Password for {os.path.basename(key)}: ")


def _read(path: str, what: str) -> bytes:
    from .transports.files import read_small

    try:
        return read_small(path, SIGNATURE_LIMIT)
    except (OSError, ValueError) as error:
        raise BundleError(f"The {what} {path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None
