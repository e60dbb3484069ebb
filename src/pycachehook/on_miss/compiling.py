"""Handling of a miss: compile the source, once for all waiting processes, and store the entry.

Loaded by `own_modules` at the first miss, not at start-up; imports modules of this package only.
"""

import sys

from pycachehook._compat import hidden_from_tracebacks, note_warnings, replaced_step
from pycachehook._compat import stock_source_to_code as source_to_code
from pycachehook.events import COMPILE, LOCK_TIMEOUT, OTHER_MODE, READ, WAIT, WRITE, Outcome
from pycachehook.loader import source_to_code as source_to_code_of
from pycachehook.on_miss.single_flight import SingleFlight
from pycachehook.on_miss.writer import Source, read_source
from pycachehook.pyc import TIMESTAMP
from pycachehook.system import BUILTINS, is_foreign

__builtins__ = BUILTINS  # so that patches of `builtins` do not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType

    from pycachehook._compat import SourceFileLoader
    from pycachehook.events import Stats, Stopwatch
    from pycachehook.store import Store


@hidden_from_tracebacks
def compile_and_store(  # noqa: C901 -- a chain of steps
    loader: "SourceFileLoader",
    fullname: str,
    store: "Store",
    stats: "Stats",
    outcome: Outcome,
    *,
    watch: "Stopwatch | None" = None,
) -> "tuple[CodeType, Outcome]":
    """Compile the loader's source and store the entry, unless another process does so meanwhile.

    `outcome` is the lookup's result, without code; the updated outcome is returned. `stats` count faults of the
    environment. Raises what the standard loader raises for a source that cannot be read or compiled.
    """
    path = loader.path
    source = _source(path, store, outcome)  # before the lock, which may take the last file descriptor
    if source is None:  # the loader raises the same OSError as CPython's
        return source_to_code(loader.get_data(path), path, fullname), outcome
    if watch is not None:
        watch(READ)
    with SingleFlight(store.directory, source.location, stats) as flight:
        step = replaced_step(loader)  # a tool may have replaced it while this thread waited
        stored = None if step is not None else store.find_again(path, source.location, source.data)
        if watch is not None:
            watch(WAIT)
        if stored is not None:
            return stored, store.hit_outcome
        refusal = f"a tool has replaced {step} in this process" if step is not None else refusal_of(source.data)
        if step is not None:
            code, warned = source_to_code_of(loader, loader.get_data(path), path, fullname), True
        else:
            code, warned = note_warnings(source_to_code, source.data, path, fullname)
        if watch is not None:
            watch(COMPILE)
        outcome.stored = flight.may_write and refusal is None and store.put(source, code, stats, warned=warned)
        if watch is not None:
            watch(WRITE)
    if step is not None:
        outcome.reason, outcome.detail = OTHER_MODE, str(refusal)
    elif flight.timed_out:
        outcome.reason = LOCK_TIMEOUT
        outcome.detail = "another process has compiled it for longer than lock_timeout"
    elif not outcome.stored:
        outcome.detail = refusal or store.directory.reason or "it could not be stored"
    return code, outcome


def _source(path: str, store: "Store", outcome: Outcome) -> Source | None:
    """Return the source with the location of its entry, from the lookup or read now; None if it cannot be read."""
    # For a timestamp the status must be taken before the bytes are read, which a lookup does not do.
    if outcome.source is not None and store.mode != TIMESTAMP:
        source = Source(path, *outcome.source)
    else:
        try:
            source = read_source(path, open_code=store.open_code)
        except OSError as error:
            if is_foreign(error):
                raise
            return None
    source.location = outcome.location or store.location(path, source.data)
    return source


def refusal_of(source: bytes) -> str | None:
    """Return in a few words why the code compiled from these bytes must not be stored, or None.

    A source may declare a codec that a third-party package provides; its bytes then do not determine the code, and a
    process without that package could not compile it.
    """
    for name in declared_encodings(source):
        if not is_standard_codec(name):
            return f"its encoding {name!r} is not one of Python's own"
    return None


def declared_encodings(source: bytes) -> list[str]:
    """Return each encoding that a source may declare in its first two lines (PEP 263), possibly one too many."""
    names = []
    for line in b"\n".join(source.split(b"\n", 2)[:2]).splitlines():
        for after in line.split(b"coding")[1:]:
            if after[:1] in (b":", b"="):
                rest = after[1:].lstrip(b" \t").decode("latin-1")
                length = 0
                while length < len(rest) and (rest[length].isalnum() or rest[length] in "-_."):
                    length += 1
                names.append(rest[:length])
    return names


def is_standard_codec(name: str) -> bool:
    """Return whether the codec `name` is part of Python; other tools can register any other codec."""
    search = getattr(sys.modules.get("encodings"), "search_function", None)
    return search is not None and search(name.lower()) is not None
