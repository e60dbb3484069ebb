r"""The file format of archives. `archive` reads it, `commands.archive_build` writes it.

An archive is an ordinary ZIP file without compression in which every time is 1980-01-01, so `unzip -l` lists it:

    entries     sealed pycs as described in `pyc`, named `<root>/<directory>/<module>.<cache tag>.pyc`, the ones that
                a recorded start used first; each is aligned to 16 bytes by an extra field (0xD935) of its ZIP header
    index       the member `pycachehook.index`, a sequence of marshalled objects: the listing of each directory, then
                the positions of the listings below each first-level directory of a root, then the top
    directory   the ZIP's central directory and its end record, whose comment is the tail
    tail        the last 168 bytes, ASCII: `pycachehook archive 1\n`; `index <offset> <offset> <size> <hash>\n` with the
                offset of the index, then offset, size and hash of the top, each as 16 hexadecimal digits;
                `blake2b <digest>` with 64 hexadecimal digits, over all bytes before the digest

The objects in the index:

    top         (magic number, cache tag, optimization, mode, start, roots). `start` is the number of bytes at the
                beginning of the file that a recorded start used. `roots` has (name, location, listing hash, branches)
                for each root. `branches` maps the first name of a directory's path below the root ("" for the root
                itself) to (offset, size, hash) of its positions.
    positions   maps a directory's path below the root to (offset, size, hash) of its listing
    listing     maps each name that can be imported from the directory to (offset, size, is_package) of a source's
                entry, to the suffix of an extension module, or to False if `PathFinder` has to be asked

A root with one of `sysconfig`'s names (`stdlib`, `purelib`, `platlib`) is in the running interpreter's directory of
that name. Any other root is at its `location`, absolute or relative to the archive's directory. All hashes are SipHash
under `INDEX_KEY`. The listing hash covers the names in the root. In an `unchecked-hash` archive it stands for the whole
content, because installing or removing a package adds or removes a `*.dist-info` directory.

Start-up module where archives are configured: imports nothing at module level that the interpreter has not already
loaded.
"""

import os
import sys

from ._compat import siphash
from .paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Layout
from .system import system

ARCHIVE_FORMAT = b"pycachehook archive 1\n"
INDEX_NAME = "pycachehook.index"
INDEX_KEY = int.from_bytes(b"PYCHOOKA", "little")
TAIL_SIZE = len(ARCHIVE_FORMAT) + len(b"index ") + 4 * len(b"0123456789abcdef ") + len(b"blake2b ") + 64

_STDLIB = os.__file__.rpartition("\\" if system.windows else "/")[0]

# Names that may appear and disappear without a change of the root's modules: caches and activation files.
_PASSING = ("__pycache__", "_pycachehook_startup.py", "pycachehook.pth", "pycachehook.start")


def named_roots() -> dict[str, str]:
    """Return the paths that `sysconfig` calls `stdlib`, `purelib` and `platlib`, without loading it."""
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
    """Return the listing hash of a root; raises OSError.

    The record of a pulled archive (`bundles.record`) and a statement on it (`bundles.attestation`) may lie there as well.
    """
    names = {*system.listdir(directory)}.difference(
        _PASSING, (archive_name, archive_name + ".bundle.json", archive_name + ".intoto.json")
    )
    text = "\0".join(sorted(names))
    if TEMPORARY_PREFIX in text:
        kept = (name for name in names if not (name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)))
        text = "\0".join(sorted(kept))
    return siphash(INDEX_KEY, text.encode("utf-8", "surrogateescape"))


def suffix_of(tag: str, optimization: int) -> str:
    """Return the end of a member's name, which is that of an entry's file name in a cache."""
    return f".{Layout(tag, optimization, windows=False).plain_suffix}"


def tail(index_offset: int, top_offset: int, top: bytes, digest: str = "0" * 64) -> bytes:
    """Return the tail for the given offsets; the digest is filled in last, when all other bytes are written."""
    where = f"index {index_offset:016x} {top_offset:016x} {len(top):016x} {siphash(INDEX_KEY, top).hex()}\n"
    return ARCHIVE_FORMAT + f"{where}blake2b {digest}".encode()


def read_tail(tail: bytes) -> tuple[int, int, int, bytes]:
    """Return the offset of the index, the offsets of the top's begin and end, and its hash; raises ValueError."""
    if tail[: len(ARCHIVE_FORMAT)] != ARCHIVE_FORMAT:
        raise ValueError
    word, *numbers, expected = tail[len(ARCHIVE_FORMAT) :].split(b"\n")[0].split(b" ")
    index, begin, size = (int(number, 16) for number in numbers)
    if word != b"index" or not 0 <= index <= begin < begin + size:
        raise ValueError
    return index, begin, begin + size, bytes.fromhex(expected.decode())
