"""The entries of a new archive: the code of each source, taken from a valid cache entry or compiled."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from importlib.machinery import SourceFileLoader
from typing import Any

from pycachehook import pyc
from pycachehook._compat import note_warnings, source_hash
from pycachehook.loader import source_to_code
from pycachehook.on_miss.compiling import refusal_of
from pycachehook.system import READ_FLAGS, read_file

from .cached_code import CachedCode, composed, normalized
from .composed import Composed
from .precompile import FAILED, NOT_COMPILED, SKIPPED, describe, no_source, outcome_of_error, warnings_as_text
from .workers import in_processes

# A source's path, its entry, why there is none (an outcome of `precompile`, and details), and the compiler's warnings.
Compiled = tuple[str, bytes, str, str, list[str]]


def compiled(
    files: Sequence[str], mode: str, cache: dict[str, Any] | None, jobs: int
) -> AbstractContextManager[Iterator[Compiled]]:
    """Give an iterator over the entries of some sources, in the sources' order, computed by `jobs` processes.

    `mode` is the archive's invalidation mode. `cache` holds the option values of the caches to read from, or is None.
    """
    caches = None if cache is None else composed(cache)
    if jobs == 1:
        return nullcontext(map(_start(mode, caches), files))
    return in_processes(_work, files, jobs, _lost, prepare=_start, arguments=(mode, caches))


class _Compiler:
    """A function object that makes the entry of a source in the archive's invalidation mode."""

    def __init__(self, mode: str, caches: Composed | None) -> None:
        self._flags = pyc.FLAGS[mode]
        self._cached = None if caches is None else CachedCode(caches)

    def __call__(self, path: str) -> Compiled:
        wrong = no_source(path)
        if wrong is not None:
            return path, b"", *wrong, []
        with warnings_as_text() as warned:
            try:
                data, _ = read_file(path, READ_FLAGS)
                refusal = refusal_of(data) if _is_unicode(path) else "its path is not UTF-8, as names in an archive are"
                if refusal is not None:
                    return path, b"", SKIPPED, refusal, warned
                return path, self._entry(path, data), "", "", warned
            except NOT_COMPILED as error:
                return path, b"", outcome_of_error(path, error), describe(error), warned

    def _entry(self, path: str, data: bytes) -> bytes:
        code_and_warned = None if self._cached is None else self._cached.of(path, data)
        if code_and_warned is None:
            name = os.path.basename(path).removesuffix(".py")
            loader = SourceFileLoader(name, path)
            code_and_warned = note_warnings(source_to_code, loader, data, path, name)
        code, warned = code_and_warned
        return pyc.encode(normalized(code), self._flags, source_hash(data), pyc.second_hash(data), warned=warned)


def _is_unicode(path: str) -> bool:
    """Return whether no byte of a path had to be decoded as a surrogate."""
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)


_compiler: _Compiler | None = None


def _start(mode: str, caches: Composed | None) -> _Compiler:
    global _compiler  # noqa: PLW0603 -- one for each process
    _compiler = _Compiler(mode, caches)
    return _compiler


def _work(path: str) -> Compiled:
    assert _compiler is not None
    return _compiler(path)


def _lost(path: str, why: str) -> Compiled:
    return path, b"", FAILED, why, []
