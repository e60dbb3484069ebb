"""Writing an archive: every source of some roots, compiled, in one file. `pycachehook archive build`; see `archive_format`."""

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

from .archive_entries import compiled
from .precompile import FAILED, SKIPPED, seldom
from .recording import lines

LEFT_OUT = ("__pycache__", "site-packages", "dist-packages")  # roots of their own, below another
ALIGNMENT = 16
ALIGNMENT_EXTRA = 0xD935  # the extra field that Android's zipalign made for this
EPOCH = (1980, 1, 1, 0, 0, 0)
PART = 1 << 20  # bytes read at once

Position = tuple[int, int, bytes]  # of something in the index: offset, size and hash
Place = tuple[int, int]  # an entry's offset and size in bytes


@dataclass
class Built:
    """How many entries an archive has, of how many bytes in all, and the sources that are not in it, with the reason.

    `skipped`, `broken_on_purpose` and `warnings` are what they are in `Precompiled`.
    """

    path: str
    entries: int = 0
    bytes: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    broken_on_purpose: int = 0
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return the same as plain data, as `archive build --json` prints it."""
        failed = [{"path": path, "error": error} for path, error in self.failed]
        return {
            "path": self.path,
            "entries": self.entries,
            "bytes": self.bytes,
            "failed": failed,
            **seldom(self.skipped, self.broken_on_purpose, self.warnings),
        }


@dataclass(frozen=True)
class Root:
    """A directory that the archive covers: its name, where it lies now, and where to look for it, if its name is its own."""

    name: str
    place: str
    location: str = ""

    def relative(self, path: str) -> str:
        """Return a path from here, with `/`."""
        return os.path.relpath(path, self.place).replace(os.sep, "/")


@dataclass(frozen=True)
class _Plan:
    """What is to be written: files in their order, of which the first `profiled` are those that a start needs."""

    files: Sequence[str]
    profiled: int
    roots: Sequence[Root]
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
    """Write the archive `out` with the entries of the sources `files`, and return what became of it.

    `paths` are directories of the application's own, which become roots; other files lie in the named roots. The
    sources in `profile` come first, in its order. Code comes from the cache that the option values `cache` name, where
    it has a valid entry. Two builds from the same input give the same bytes, whatever is cached. The file appears
    whole, by rename; it replaces only an archive, or with `force` any file. Raises `PycacheHookError` if it cannot be
    written, or a file lies in no root.
    """
    out = os.path.abspath(out)
    _refuse_to_replace(out, force=force)
    roots = _roots(out, files, paths)
    wanted = set(files)
    first = [path for path in dict.fromkeys(profile) if path in wanted]
    plan = _Plan([*dict.fromkeys([*first, *files])], len(first), roots, mode, jobs, cache)
    built = Built(out)
    try:
        descriptor, temporary = tempfile.mkstemp(TEMPORARY_SUFFIX, TEMPORARY_PREFIX, os.path.dirname(out))
        try:
            with os.fdopen(descriptor, "w+b") as file:
                _write(file, plan, progress, built)
                built.bytes = file.seek(0, os.SEEK_END)
            umask = os.umask(0)
            os.umask(umask)
            os.chmod(temporary, 0o644 & ~umask)
            _refuse_to_replace(out, force=force)  # others may have put something there meanwhile
            os.replace(temporary, out)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise PycacheHookError(f"The archive {out} cannot be written: {error.strerror or error}.") from None
    return built


def _refuse_to_replace(out: str, *, force: bool) -> None:
    """Raise `PycacheHookError` if something is at `out` that is no archive; `force` is about files and links."""
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
        mend = "; --force replaces it" if stat.S_ISREG(mode) or stat.S_ISLNK(mode) else ""
        raise PycacheHookError(f"{out} {why}, and is left as it is{mend}.")


def _is_archive(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - archive_format.TAIL_SIZE))
        return file.read(len(archive_format.FORMAT)) == archive_format.FORMAT


def read_profile(path: str) -> list[str]:
    """Return the sources that `run --record` wrote to `path`; raises `PycacheHookError` if it cannot be read."""
    try:
        return lines(read_file(path, READ_FLAGS)[0])
    except (OSError, ValueError) as error:
        raise PycacheHookError(f"The profile {path} cannot be read: {getattr(error, 'strerror', error)}.") from None


def _roots(out: str, files: Iterable[str], paths: Iterable[str]) -> list[Root]:
    """Return the roots in which the files lie, those that lie in another first."""
    known = [Root(name, place) for name, place in named_roots().items()]
    number = 0
    for path in paths:
        place = os.path.abspath(path)
        place = place if os.path.isdir(place) else os.path.dirname(place)
        if not any(_inside(place, root.place) for root in known):
            number += 1
            inside = _inside(place, os.path.dirname(out))
            location = os.path.relpath(place, os.path.dirname(out)) if inside else place
            known.append(Root("application" if number == 1 else f"application-{number}", place, location))
    known.sort(key=lambda root: -len(root.place))
    used: dict[Root, None] = {}
    for path in files:
        root = _root_of(path, known)
        if root is None:
            raise PycacheHookError(f"{path} is in no directory that the archive covers: name its directory, too.")
        used[root] = None
    return [root for root in known if root in used]


def _inside(path: str, place: str) -> bool:
    return path == place or path.startswith(place.rstrip(os.sep) + os.sep)


def _root_of(path: str, roots: Iterable[Root]) -> Root | None:
    return next((root for root in roots if _inside(path, root.place)), None)


def _write(file: Any, plan: _Plan, progress: Callable[[], object], built: Built) -> None:
    tag, level = sys.implementation.cache_tag, sys.flags.optimize
    suffix = archive_format.suffix_of(tag, level)
    places: dict[str, Place] = {}
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
                places[path] = _add(whole, file, name, data), len(data)
                built.entries += 1
                if number < plan.profiled:
                    start = file.tell()
        index = io.BytesIO()
        base = _data_offset(file.tell(), INDEX_NAME)
        tops = tuple(
            (
                root.name,
                root.location,
                hash_of_names(root.place, os.path.basename(built.path)),
                _branches(root, places, index, base, {each.place for each in plan.roots}),
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
    """Add a member whose bytes begin at a multiple of `ALIGNMENT`, and return where they begin."""
    position = file.tell()
    info = zipfile.ZipInfo(name, EPOCH)
    info.create_system = 3  # whose permissions follow
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
    if missing < 4:  # noqa: PLR2004 -- an extra field begins with its number and size, two bytes each
        missing += ALIGNMENT
    return ALIGNMENT_EXTRA.to_bytes(2, "little") + (missing - 4).to_bytes(2, "little") + bytes(missing - 4)


def _name_bytes(name: str) -> bytes:
    return name.encode("utf-8")


def _branches(
    root: Root, places: dict[str, Place], index: io.BytesIO, base: int, roots: Collection[str]
) -> dict[str, Position]:
    """Add the listings of the root to `index`, and where they are; return where that is, by the first name of paths.

    What lies in another of the `roots` is for that one alone to say: it may no longer be what it was.
    """
    branches: dict[str, dict[str, Position]] = {}
    for folder, folders, names in os.walk(root.place):
        folders[:] = sorted(each for each in folders if each not in LEFT_OUT)
        others = [each for each in folders if os.path.join(folder, each) in roots]
        listing = _listing(folder, folders, names, places)
        if others:
            listing = dict(sorted({**listing, **dict.fromkeys(others, False)}.items()))
            folders[:] = [each for each in folders if each not in others]
        if listing or folder == root.place:
            relative = "" if folder == root.place else root.relative(folder)
            branches.setdefault(relative.partition("/")[0], {})[relative] = _append(listing, index, base)
    return {name: _append(listed, index, base) for name, listed in branches.items()}


def _append(value: Any, index: io.BytesIO, base: int) -> Position:
    data = marshal.dumps(value, 2)
    position = base + index.tell(), len(data), siphash(INDEX_KEY, data)
    index.write(data)
    return position


def _listing(folder: str, folders: Sequence[str], names: Sequence[str], places: dict[str, Place]) -> dict[str, Any]:
    """Return what can be imported from a directory, by name, as `FileFinder` would find it there."""
    found: dict[str, Any] = {}
    suffixes = [*EXTENSION_SUFFIXES, *SOURCE_SUFFIXES, *BYTECODE_SUFFIXES]  # in the order of `FileFinder`'s loaders
    for suffix in reversed(suffixes):
        for name in names:
            stem = name.removesuffix(suffix)
            if stem != name and "." not in stem:
                found[stem] = _record(os.path.join(folder, name), suffix, places)
    for name in folders:
        inside = os.path.join(folder, name)
        first = next((each for each in suffixes if os.path.isfile(os.path.join(inside, f"__init__{each}"))), None)
        if first is not None:
            position = places.get(os.path.join(inside, "__init__.py")) if first == ".py" else None
            found[name] = position is not None and (*position, True)
        elif name not in found:  # a part of a namespace package
            found[name] = False
    return dict(sorted(found.items()))


def _record(path: str, suffix: str, places: dict[str, Place]) -> Any:
    if suffix in EXTENSION_SUFFIXES:
        return os.path.isfile(path) and suffix
    position = places.get(path)
    return position is not None and (*position, False)


def _sign(file: Any) -> None:
    """Put the digest of all that precedes it in the place of the last 64 bytes."""
    digest = digest_of(file, file.seek(0, os.SEEK_END) - 64)
    file.write(digest.encode())


def digest_of(file: Any, end: int) -> str:
    """Return the BLAKE2b digest, 64 hexadecimal digits, of a file's first `end` bytes; leaves the file there."""
    digest = hashlib.blake2b(digest_size=32)
    file.seek(0)
    left = end
    while left:
        part = file.read(min(PART, left))
        if not part:
            break
        digest.update(part)
        left -= len(part)
    return digest.hexdigest()
