"""Building of archives: all sources of some roots, compiled, in one file. `pycachehook archive build`.

The file format is described in `archive_format`.
"""

import hashlib
import io
import marshal
import os
import stat
import sys
import tempfile
import zipfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from typing import Any

from pycachehook import archive_format
from pycachehook._compat import MAGIC_NUMBER, siphash
from pycachehook.archive_format import INDEX_KEY, INDEX_NAME, hash_of_names, named_roots
from pycachehook.errors import PycacheHookError
from pycachehook.paths import TEMPORARY_PREFIX, TEMPORARY_SUFFIX
from pycachehook.pyc import CHECKED_HASH
from pycachehook.system import READ_FLAGS, read_file

from .archive_access import Access
from .archive_entries import compiled
from .precompile import FAILED, SKIPPED, rare_keys
from .recording import lines

LEFT_OUT = ("__pycache__", "site-packages", "dist-packages")  # separate roots, below another
ALIGNMENT = 16
ALIGNMENT_EXTRA = 0xD935  # the extra field that Android's zipalign uses for alignment
EPOCH = (1980, 1, 1, 0, 0, 0)
READ_SIZE = 1 << 20  # bytes per read

Position = tuple[int, int, bytes]  # offset, size and hash of an object in the index
Extent = tuple[int, int]  # an entry's offset and size in bytes


@dataclass
class Built:
    """The result of a build: number and total size in bytes of the entries, and the sources without one, with reasons.

    `skipped`, `broken_on_purpose` and `warnings` have the same meaning as in `Precompiled`.
    """

    path: str
    entries: int = 0
    bytes: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    broken_on_purpose: int = 0
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return the result as plain data, as printed by `archive build --json`."""
        failed = [{"path": path, "error": error} for path, error in self.failed]
        return {
            "path": self.path,
            "entries": self.entries,
            "bytes": self.bytes,
            "failed": failed,
            **rare_keys(self.skipped, self.broken_on_purpose, self.warnings),
        }


@dataclass(frozen=True)
class BuildRoot:
    """A directory that the archive covers: name, path, and recorded location unless the name is a standard one."""

    name: str
    directory: str
    location: str = ""

    def relative(self, path: str) -> str:
        """Return `path` relative to the root, with `/` as the separator."""
        return os.path.relpath(path, self.directory).replace(os.sep, "/")


@dataclass(frozen=True)
class _Plan:
    """The input of a build: the files in order, the first `profiled` of which a recorded start used."""

    files: Sequence[str]
    profiled: int
    roots: Sequence[BuildRoot]
    mode: str
    jobs: int
    cache: dict[str, Any] | None


def build(
    out: str,
    files: Sequence[str],
    *,
    paths: Sequence[str] = (),
    mode: str = CHECKED_HASH,
    profile: Sequence[str] = (),
    jobs: int = 1,
    cache: dict[str, Any] | None = None,
    force: bool = False,
    progress: Callable[[], object] = lambda: None,
) -> Built:
    """Write the archive `out` with the entries of the sources `files`, and return the result.

    `paths` are directories of the application, which become roots; all other files must be in the named roots. The
    sources in `profile` come first, in the order given there. Code is taken from the caches that the option values
    `cache` configure if they have a valid entry. The same input always gives the same bytes, whatever is cached. The
    file appears by rename when it is complete. It replaces only an archive, or with `force` any file. Raises
    `PycacheHookError` if it cannot be written, or if a file is in no root.
    """
    out = os.path.abspath(out)
    _refuse_to_replace(out, force=force)
    roots = _roots(out, files, paths)
    wanted = set(files)
    first = [path for path in dict.fromkeys(profile) if path in wanted]
    plan = _Plan([*dict.fromkeys([*first, *files])], len(first), roots, mode, jobs, cache)
    built, access = Built(out), Access()
    try:
        descriptor, temporary = tempfile.mkstemp(TEMPORARY_SUFFIX, TEMPORARY_PREFIX, os.path.dirname(out))
        try:
            with os.fdopen(descriptor, "w+b") as file:
                _write(file, plan, progress, built, access)
                built.bytes = file.seek(0, os.SEEK_END)
            access.apply(temporary)
            _refuse_to_replace(out, force=force)  # another process may have created a file since
            os.replace(temporary, out)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise PycacheHookError(f"The archive {out} cannot be written: {error.strerror or error}.") from None
    built.warnings += access.warnings(out)
    return built


def _refuse_to_replace(out: str, *, force: bool) -> None:
    """Raise `PycacheHookError` if `out` exists and is no archive; with `force`, other files and links are accepted."""
    try:
        mode = os.lstat(out).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISREG(mode):
        why = "is no archive"
        replaceable = force or _is_archive(out)
    else:
        why, replaceable = "is no regular file", force and stat.S_ISLNK(mode)
    if not replaceable:
        remedy = "; --force replaces it" if stat.S_ISREG(mode) or stat.S_ISLNK(mode) else ""
        raise PycacheHookError(f"{out} {why}, and is left as it is{remedy}.")


def _is_archive(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - archive_format.TAIL_SIZE))
        return file.read(len(archive_format.ARCHIVE_FORMAT)) == archive_format.ARCHIVE_FORMAT


def read_profile(path: str) -> list[str]:
    """Return the sources that `run --record` has written to `path`; raises `PycacheHookError` if it cannot be read."""
    try:
        return lines(read_file(path, READ_FLAGS)[0])
    except (OSError, ValueError) as error:
        raise PycacheHookError(f"The profile {path} cannot be read: {getattr(error, 'strerror', error)}.") from None


def _roots(out: str, files: Iterable[str], paths: Iterable[str]) -> list[BuildRoot]:
    """Return the roots that contain the files, nested roots before those around them."""
    known = [BuildRoot(name, directory) for name, directory in named_roots().items()]
    number = 0
    for path in paths:
        directory = os.path.abspath(path)
        directory = directory if os.path.isdir(directory) else os.path.dirname(directory)
        if not any(_inside(directory, root.directory) for root in known):
            number += 1
            inside = _inside(directory, os.path.dirname(out))
            location = os.path.relpath(directory, os.path.dirname(out)) if inside else directory
            known.append(BuildRoot("application" if number == 1 else f"application-{number}", directory, location))
    known.sort(key=lambda root: -len(root.directory))
    used: dict[BuildRoot, None] = {}
    for path in files:
        root = _root_of(path, known)
        if root is None:
            raise PycacheHookError(f"{path} is in no directory that the archive covers: name its directory, too.")
        used[root] = None
    return [root for root in known if root in used]


def _inside(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip(os.sep) + os.sep)


def _root_of(path: str, roots: Iterable[BuildRoot]) -> BuildRoot | None:
    return next((root for root in roots if _inside(path, root.directory)), None)


def _write(file: Any, plan: _Plan, progress: Callable[[], object], built: Built, access: Access) -> None:
    tag, level = sys.implementation.cache_tag, sys.flags.optimize
    suffix = archive_format.suffix_of(tag, level)
    extents: dict[str, Extent] = {}
    start = 0
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as whole:
        with compiled(plan.files, plan.mode, plan.cache, plan.jobs) as outcomes:
            for number, (path, data, word, error, warned) in enumerate(outcomes):
                progress()
                built.warnings += warned
                if word in (FAILED, SKIPPED):
                    getattr(built, word).append((path, error))
                    continue
                if word:
                    built.broken_on_purpose += 1
                    continue
                root = _root_of(path, plan.roots)
                assert root is not None
                name = f"{root.name}/{root.relative(path).removesuffix('.py')}{suffix}"
                extents[path] = _add(whole, file, name, data), len(data)
                access.add(path)
                built.entries += 1
                if number < plan.profiled:
                    start = file.tell()
        index = io.BytesIO()
        base = _data_offset(file.tell(), INDEX_NAME)
        tops = tuple(
            (
                root.name,
                root.location,
                hash_of_names(root.directory, os.path.basename(built.path)),
                _branches(root, extents, index, base, {root.directory for root in plan.roots}),
            )
            for root in plan.roots
        )
        top = marshal.dumps((MAGIC_NUMBER, tag, level, plan.mode, start, tops), 2)
        offset = index.seek(0, os.SEEK_END)
        index.write(top)
        _add(whole, file, INDEX_NAME, index.getvalue())
        whole.comment = archive_format.tail(base, base + offset, top)
    _sign(file)


def _add(whole: zipfile.ZipFile, file: Any, name: str, data: bytes) -> int:
    """Add a member whose data is aligned to `ALIGNMENT`, and return the offset of the data."""
    position = file.tell()
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system = 3  # Unix, so that the following permissions count
    info.external_attr = 0o100644 << 16
    info.extra = _padding(position, name)
    whole.writestr(info, data)
    return _data_offset(position, name)


def _data_offset(position: int, name: str) -> int:
    return position + 30 + len(_name_bytes(name)) + len(_padding(position, name))


def _padding(position: int, name: str) -> bytes:
    missing = -(position + 30 + len(_name_bytes(name))) % ALIGNMENT
    if missing == 0:
        return b""
    if missing < 4:  # noqa: PLR2004 -- an extra field begins with its id and size, two bytes each
        missing += ALIGNMENT
    return ALIGNMENT_EXTRA.to_bytes(2, "little") + (missing - 4).to_bytes(2, "little") + bytes(missing - 4)


def _name_bytes(name: str) -> bytes:
    return name.encode("utf-8")


def _branches(
    root: BuildRoot, extents: dict[str, Extent], index: io.BytesIO, base: int, roots: Collection[str]
) -> dict[str, Position]:
    """Append the root's listings and their positions to `index`; return the position of the positions, by branch.

    Directories below another of the `roots` are recorded for that root only, because only its listing hash covers them.
    """
    branches: dict[str, dict[str, Position]] = {}
    for folder, folders, names in os.walk(root.directory):
        folders[:] = sorted(name for name in folders if name not in LEFT_OUT)
        others = [name for name in folders if os.path.join(folder, name) in roots]
        listing = _listing(folder, folders, names, extents)
        if others:
            listing = dict(sorted({**listing, **dict.fromkeys(others, False)}.items()))
            folders[:] = [name for name in folders if name not in others]
        if listing or folder == root.directory:
            relative = "" if folder == root.directory else root.relative(folder)
            branches.setdefault(relative.partition("/")[0], {})[relative] = _append(listing, index, base)
    return {name: _append(listed, index, base) for name, listed in branches.items()}


def _append(value: Any, index: io.BytesIO, base: int) -> Position:
    data = marshal.dumps(value, 2)
    position = base + index.tell(), len(data), siphash(INDEX_KEY, data)
    index.write(data)
    return position


def _listing(folder: str, folders: Sequence[str], names: Sequence[str], extents: dict[str, Extent]) -> dict[str, Any]:
    """Return the importable names in a directory with their records, with the precedence of `FileFinder`."""
    listing: dict[str, Any] = {}
    suffixes = [*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES]  # in the order of `FileFinder`'s loaders
    for suffix in reversed(suffixes):
        for name in names:
            stem = name.removesuffix(suffix)
            if stem != name and "." not in stem:
                listing[stem] = _record(os.path.join(folder, name), suffix, extents)
    for name in folders:
        inside = os.path.join(folder, name)
        first = next((suffix for suffix in suffixes if os.path.isfile(os.path.join(inside, f"__init__{suffix}"))), None)
        if first is not None:
            position = extents.get(os.path.join(inside, "__init__.py")) if first == ".py" else None
            listing[name] = position is not None and (*position, True)
        elif name not in listing:  # a part of a namespace package
            listing[name] = False
    return dict(sorted(listing.items()))


def _record(path: str, suffix: str, extents: dict[str, Extent]) -> Any:
    if suffix in EXTENSION_SUFFIXES:
        return os.path.isfile(path) and suffix
    position = extents.get(path)
    return position is not None and (*position, False)


def _sign(file: Any) -> None:
    """Replace the last 64 bytes of the file by the digest of all bytes before them."""
    digest = digest_of(file, file.seek(0, os.SEEK_END) - 64)
    file.write(digest.encode())


def digest_of(file: Any, end: int) -> str:
    """Return the BLAKE2b digest of a file's first `end` bytes, 64 hexadecimal digits, and leave the file there."""
    digest = hashlib.blake2b(digest_size=32)
    file.seek(0)
    remaining = end
    while remaining:
        part = file.read(min(READ_SIZE, remaining))
        if not part:
            break
        digest.update(part)
        remaining -= len(part)
    return digest.hexdigest()
