"""Signatures are compatible with those of the program minisign."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycachehook.bundles.errors import BundleError
from pycachehook.bundles.signatures import key_id, read_public_key, sign, verify_signature

if TYPE_CHECKING:
    from .conftest import Keys

DATA = b'{"format": "x"}\n'


@pytest.fixture
def minisign_program() -> str:
    """Return the program minisign, from its Debian package."""
    found = shutil.which("minisign")
    if found is None:
        pytest.skip("needs the program minisign: apt-get install minisign")
    return found


def test_the_program_verifies_ours(keys: Keys, minisign_program: str, tmp_path: Path) -> None:
    """This project's signatures and public keys are valid for minisign."""
    (tmp_path / "data").write_bytes(DATA)
    (tmp_path / "data.minisig").write_bytes(sign(DATA, str(keys.secret), 1_700_000_000))
    command: list[str | Path] = [minisign_program, "-V", "-p", keys.public, "-m", tmp_path / "data"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "timestamp:1700000000" in done.stdout


@pytest.mark.parametrize("legacy", [False, True])
def test_we_verify_those_of_the_program(minisign_program: str, tmp_path: Path, legacy: bool) -> None:
    """This project accepts minisign's signatures, hashed or not, and shows the same key id."""
    (tmp_path / "data").write_bytes(DATA)
    public, secret = tmp_path / "key.pub", tmp_path / "key.sec"
    subprocess.run([minisign_program, "-G", "-W", "-p", public, "-s", secret], check=True, capture_output=True)
    how = ["-l"] if legacy else []
    subprocess.run(
        [minisign_program, "-S", *how, "-s", secret, "-m", tmp_path / "data"], check=True, capture_output=True
    )
    line = read_public_key(str(public))
    identifier = verify_signature(DATA, (tmp_path / "data.minisig").read_bytes(), [line])
    assert identifier == key_id(line)
    assert identifier.lstrip("0") in public.read_text(encoding="utf-8")  # the program prints no zeros in front
    assert sign(DATA, str(secret), 1) == sign(DATA, str(secret), 1)


def test_one_of_several_keys(keys: Keys, other_keys: Keys) -> None:
    """Several keys may be accepted, so that a key can be replaced."""
    ours, theirs = read_public_key(str(keys.public)), read_public_key(str(other_keys.public))
    signature = sign(DATA, str(keys.secret), 0)
    assert verify_signature(DATA, signature, [theirs, ours]) == key_id(ours)
    with pytest.raises(BundleError, match="not signed by a key that was given"):
        verify_signature(DATA, signature, [theirs])


def test_a_key_as_its_line(keys: Keys) -> None:
    """A key may be given as text, as for `minisign -P`."""
    line = keys.public.read_text(encoding="utf-8").splitlines()[1]
    assert read_public_key(line) == read_public_key(str(keys.public)) == line


def test_every_flipped_byte(keys: Keys) -> None:
    """A changed byte in the data or the signature is detected, except in the untrusted comment."""
    line = read_public_key(str(keys.public))
    signature = sign(DATA, str(keys.secret), 0)
    for number in range(signature.index(b"\n") + 1, len(signature) - 1):
        bad = bytearray(signature)
        bad[number] ^= 1
        with pytest.raises(BundleError, match=r"^[^\n]+\.$"):
            verify_signature(DATA, bytes(bad), [line])
    # The last letter of the signature has two bits that no byte of it comes from.
    letter = signature.splitlines()[1].index(b"=") - 1 + signature.index(b"\n") + 1
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    for unused in (1, 2, 3):
        bad = bytearray(signature)
        bad[letter] = alphabet[alphabet.index(bad[letter]) | unused]
        with pytest.raises(BundleError, match="damaged"):
            verify_signature(DATA, bytes(bad), [line])
    for number in range(len(DATA)):
        data = bytearray(DATA)
        data[number] ^= 1
        with pytest.raises(BundleError, match="does not match"):
            verify_signature(bytes(data), signature, [line])


@pytest.mark.parametrize("text", [b"", b"x", b"untrusted comment: x\nabc\n", b"\xff" * 50, b"a" * 5000])
def test_what_is_no_key(tmp_path: Path, keys: Keys, text: bytes) -> None:
    """One sentence names a file that is no key."""
    path = tmp_path / "key"
    path.write_bytes(text)
    for step in (lambda: read_public_key(str(path)), lambda: sign(DATA, str(path), 0)):
        with pytest.raises(BundleError, match=str(path)):
            step()


def test_a_key_with_a_password(tmp_path: Path) -> None:
    """The password is read from a terminal; without one there is an error that says so."""
    import minisign

    pair = minisign.KeyPair.generate()
    pair.secret_key.encrypt("secret", opslimit=1 << 15, memlimit=1 << 24)
    path = tmp_path / "key"
    path.write_bytes(bytes(pair.secret_key) + b"\n")
    with pytest.raises(BundleError, match="has a password, which can only be entered on a terminal"):
        sign(DATA, str(path), 0)
