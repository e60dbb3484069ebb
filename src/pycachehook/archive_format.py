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

from ._compat import siphash, standard_module
from .cache_dir import fault_of, why_untrusted
from .paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Layout
from .system import BUILTINS, READ_FLAGS, S_IFLNK, S_IFMT, S_IFREG, is_refusal, system

TYPE_CHECKING = False
if TYPE_CHECKING:
    import mmap as mmap
    from typing import Any

if not TYPE_CHECKING:
    mmap = standard_module("mmap")  # never a file `mmap.py` on the program's `sys.path`
    if mmap is None:
        import mmap

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

ARCHIVE_FORMAT = b"pycachehook archive 1\n"
INDEX_NAME = "pycachehook.index"
INDEX_KEY = int.from_bytes(b"PYCHOOKA", "little")
TAIL_SIZE = len(ARCHIVE_FORMAT) + len(b"index ") + 4 * len(b"0123456789abcdef ") + len(b"blake2b ") + 64

SEP = "\\" if system.windows else "/"
_STDLIB = os.__file__.rpartition(SEP)[0]

# Names that may appear and disappear without a change of the root's modules: caches and activation files.
_PASSING = ("__pycache__", "_pycachehook_startup.py", "pycachehook.pth", "pycachehook.start")


def named_roots() -> dict[str, str]:
    """Return the paths that `sysconfig` calls `stdlib`, `purelib` and `platlib`, without loading it."""
    version = "python{}.{}{}".format(*system.version, "t" if "t" in getattr(sys, "abiflags", "") else "")
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

    The record of a pulled archive (`bundles.record`) and a statement on it (`bundles.attestation`) may lie there as
    well.
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


class Unusable(Exception):  # noqa: N818 -- not an error: the archive is skipped
    """The reason, as one sentence, why an archive or a part of it is not used."""


def map_file(path: str, owners: tuple[int, ...], *, open_code: bool = False) -> "tuple[mmap.mmap | bytes, bytes]":
    """Return the file, mapped or read through `io.open_code`, and its tail; raises Unusable.

    The file and the directories above it must be trusted by the rules for a cache directory.
    """
    try:
        fault = why_untrusted(
            path if _is_link(path) else path.rpartition(SEP)[0] or SEP, owners
        )  # a link: everything on the way to its target
        if fault is not None:
            raise Unusable(f"The archive {path} is not trusted: {fault}")
        descriptor = system.open(path, READ_FLAGS)
        try:
            status = system.fstat(descriptor)
            fault = fault_of(status, owners)
            if fault is not None:
                raise Unusable(f"The archive {path} is not trusted: it {fault}.")
            if status.st_mode & S_IFMT != S_IFREG or status.st_size < TAIL_SIZE:
                raise Unusable(f"The archive {path} is damaged, or is no archive of this format.")
            if open_code:  # a hook returns a file-like object, perhaps without a descriptor
                with system.open_code(path) as file:
                    data = file.read()
                return data, data[-TAIL_SIZE:]
            how: dict[str, Any] = {"trackfd": False} if not system.windows and system.version >= (3, 13) else {}
            mapping = mmap.mmap(descriptor, status.st_size, access=mmap.ACCESS_READ, **how)
            system.lseek(descriptor, -TAIL_SIZE, 2)
            return mapping, system.read(descriptor, TAIL_SIZE)  # reading the mapping would load the pages around it
        finally:
            system.close(descriptor)
    except Exception as error:
        # ValueError: an invalid path, or a file truncated since.
        if not isinstance(error, (OSError, ValueError)) and not is_refusal(error):
            raise
        raise Unusable(f"The archive {path} cannot be opened: {getattr(error, 'strerror', None) or error}.") from None


def _is_link(path: str) -> bool:
    try:
        return system.lstat(path).st_mode & S_IFMT == S_IFLNK  # type: ignore[no-any-return]
    except OSError:
        return False


def read_ahead(mapping: "Any", begin: int, end: int) -> None:
    """Have the kernel read this part of the file in one operation, without waiting for it."""
    if hasattr(mmap, "MADV_WILLNEED") and type(mapping) is not bytes:
        begin -= begin % mmap.PAGESIZE
        try:  # noqa: SIM105 -- contextlib would have to be loaded
            mapping.madvise(mmap.MADV_WILLNEED, begin, end - begin)
        except (OSError, ValueError):
            pass
