r"""The archive's format: one read-only file with the bytecode of a whole environment. `archive` reads it, `archive_builder` writes.

It is an ordinary ZIP file in which nothing is compressed and every time is 1980-01-01, so that `unzip -l` shows what is
inside. To the byte:

    entries     sealed pycs as in `pyc`, `<root>/<directory>/<module>.<cache tag>.pyc`, those that a start needs first;
                each begins at a multiple of 16 bytes, which an extra field (0xD935) in its ZIP header sees to
    index       the member `pycachehook.index`: `marshal` objects, for each directory its listing, for each name at the
                first level of a root the positions of all listings below, and last the top
    directory   the ZIP's central directory and its end record, whose comment is the tail
    tail        the last 168 bytes, ASCII: `pycachehook archive 1\n`, `index <offset> <offset> <size> <hash>\n` of the
                index, then of the top in it, in hexadecimal (16 digits each), and `blake2b <digest>`: 64 digits, over all
                bytes before them

    top         (magic number, cache tag, optimization, mode, start, roots): `start` is how many bytes from the file's
                first on a recorded run used; `roots` has (name, location, listing hash, branches) for each root, and
                `branches`, by the first name of a directory's path below the root, where the positions are: (offset,
                size, hash); "" is the root itself
    positions   (offset, size, hash) of the listing of each directory, by its path below the root
    listing     by each name that can be imported from the directory: (offset, size, is_package) of a source's entry;
                an extension module's suffix; or False for what `PathFinder` has to be asked for

A root is named as `sysconfig` names it, `stdlib`, `purelib`, `platlib`, and then lies where this interpreter has it;
one of the application's own lies at its `location`, relative to the archive's directory, or absolute. All hashes are
SipHash under `INDEX_KEY`. The listing hash is that of the names in the root, and stands for its contents in an
`unchecked-hash` archive: packages come and go with a `*.dist-info` of their own.

Start-up module, where archives are configured: imports nothing at module level that the interpreter has not already loaded.
"""

import os
import sys

from ._compat import siphash
from .paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Layout
from .system import system

FORMAT = b"pycachehook archive 1\n"
INDEX_NAME = "pycachehook.index"
INDEX_KEY = int.from_bytes(b"PYCHOOKA", "little")
TAIL_SIZE = len(FORMAT) + len(b"index ") + 4 * len(b"0123456789abcdef ") + len(b"blake2b ") + 64

_STDLIB = os.__file__.rpartition("\\" if system.windows else "/")[0]

# What comes and goes in a root without its modules becoming others: caches, and the activation files.
_PASSING = ("__pycache__", "_pycachehook_startup.py", "pycachehook.pth", "pycachehook.start")


def named_roots() -> dict[str, str]:
    """Return where the directories lie that `sysconfig`, which is not loaded here, calls `stdlib`, `purelib`, `platlib`."""
    version = "python{}.{}{}".format(*sys.version_info[:2], "t" if "t" in getattr(sys, "abiflags", "") else "")
    if system.windows:
        site = f"{sys.prefix}\\Lib\\site-packages"
        return {"stdlib": _STDLIB, "purelib": site}
    roots = {"stdlib": _STDLIB, "purelib": f"{sys.prefix}/lib/{version}/site-packages"}
    platlib = f"{sys.exec_prefix}/{sys.platlibdir}/{version}/site-packages"
    if platlib != roots["purelib"]:
        roots["platlib"] = platlib
    return roots


def hash_of_names(directory: str, archive_name: str) -> bytes:
    """Return the listing hash of a root, in which the archive itself may lie, or be being written; raises OSError.

    The record of a pulled archive (`bundles.record`) and a statement on it (`bundles.attestation`) may lie there as well.
    """
    names = {*system.listdir(directory)}.difference(
        _PASSING, (archive_name, archive_name + ".bundle.json", archive_name + ".intoto.json")
    )
    text = "\0".join(sorted(names))
    if TEMPORARY_PREFIX in text:
        left = (name for name in names if not (name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)))
        text = "\0".join(sorted(left))
    return siphash(INDEX_KEY, text.encode("utf-8", "surrogateescape"))


def suffix_of(tag: str, optimization: int) -> str:
    """Return the end of a member's name: that of an entry's file name in a cache."""
    return f".{Layout(tag, optimization, windows=False).plain_suffix}"


def tail(index_offset: int, top_offset: int, top: bytes, digest: str = "0" * 64) -> bytes:
    """Return the tail of a file whose index, and the top in that, are there; the digest is known last of all."""
    where = f"index {index_offset:016x} {top_offset:016x} {len(top):016x} {siphash(INDEX_KEY, top).hex()}\n"
    return FORMAT + f"{where}blake2b {digest}".encode()


def read_tail(tail: bytes) -> tuple[int, int, int, bytes]:
    """Return where the index begins, where the top in it begins and ends, and the top's hash; raises ValueError."""
    if tail[: len(FORMAT)] != FORMAT:
        raise ValueError
    word, *numbers, expected = tail[len(FORMAT) :].split(b"\n")[0].split(b" ")
    index, begin, size = (int(number, 16) for number in numbers)
    if word != b"index" or not 0 <= index <= begin < begin + size:
        raise ValueError
    return index, begin, begin + size, bytes.fromhex(expected.decode())
