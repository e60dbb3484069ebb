"""What is wrong with the set-up here, what it costs, and the command that mends it: `pycachehook doctor`."""

import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import BuiltinImporter, FrozenImporter
from pathlib import Path
from typing import Any

from pycachehook import runtime
from pycachehook.cache_dir import DISABLED, READ_ONLY
from pycachehook.commands.source_file import SourceFile
from pycachehook.config import resolution
from pycachehook.finder import CachingFinder
from pycachehook.pyc import CHECK_SOURCE, HASH_BASED, HEADER_SIZE
from pycachehook.store import READ_FLAGS, read_file

from . import status
from .enable import FILES, START_FILES_ALONE, STARTUP, activation_problems
from .verify import NOT_BAD, SOUND, verify

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "lustre", "gpfs", "ceph", "afs", "glusterfs", "fuse.sshfs")

# Finders that stand in front of ours in ordinary environments and find next to nothing.
_HARMLESS = (BuiltinImporter, FrozenImporter)
_HARMLESS_TYPES = ("DistutilsMetaFinder", "FirstImport")

VARIABLES = "PYCACHEHOOK_"  # how the names of our variables begin


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: `what`, what it `costs`, and the command or change that `mend`s it."""

    what: str
    costs: str
    mend: str


def examine(config: object = None) -> Iterator[Finding]:
    """Yield what is wrong with this environment; raises `ConfigError` for a wrong option."""
    if runtime.killed():
        yield Finding("PYCACHEHOOK_DISABLE is set.", "Nothing is cached by pycachehook.", "unset PYCACHEHOOK_DISABLE")
        return
    state = status.state(config)
    yield from _activation(state)
    yield from _environment(state)
    if state["status"] == DISABLED and os.path.lexists(state["cache_dir"]):
        yield Finding(str(state["reason"]), "Every start compiles every module.", "see the sentence itself")
    elif (
        state["status"] == READ_ONLY
        and state["options"]["read_only"]["value"] is False
        and not _told_not_to_write(state)
    ):
        yield Finding(
            str(state["reason"]),
            "What is not in the cache yet is compiled at every start.",
            "pycachehook precompile, as a user who may write there; or enable --cache-dir with a directory that this one may",
        )
    for each in state["archives"]:
        if each["reason"] is not None:
            mend = f"pycachehook archive build {each['path']}, with the options that it was built with"
            yield Finding(each["reason"], "What is in it comes from the cache, or is compiled.", mend)
    if os.path.isdir(state["cache_dir"]):
        yield from _file_system(state["cache_dir"])
        yield from _entries(state)
    yield from _in_tree()


def _activation(state: dict[str, Any]) -> Iterator[Finding]:
    purelib = sysconfig.get_path("purelib")
    present = [name for name in FILES if os.path.exists(os.path.join(purelib, name))]
    if not present:
        if not state["active"]:
            yield Finding(
                "The hook is not enabled in this environment.",
                "Programs are not cached unless they call pycachehook.install() themselves.",
                "pycachehook enable",
            )
        return
    for problem in activation_problems(Path(purelib)):
        yield Finding(problem, "The hook may not start, or starts are slower.", "pycachehook enable")
    if not state["active"]:
        why = "`python -S` or `-I -S`" if sys.flags.no_site else "something at start-up"
        yield Finding(
            f"The hook is enabled, but not active: {why} has prevented it.",
            "This process is not cached.",
            f"{sys.executable} -c 'import {STARTUP}; {STARTUP}.activate()'",
        )


def _told_not_to_write(state: dict[str, Any]) -> bool:
    return sys.dont_write_bytecode and not state["options"]["force_write"]["value"]


def _environment(state: dict[str, Any]) -> Iterator[Finding]:
    if _told_not_to_write(state) and state["status"] != DISABLED:  # where it is, we have said so to Python ourselves
        variable = (
            "PYTHONDONTWRITEBYTECODE is set" if os.environ.get("PYTHONDONTWRITEBYTECODE") else "Python runs with -B"
        )
        yield Finding(
            f"{variable}.",
            "Entries are read, but none is written.",
            "unset PYTHONDONTWRITEBYTECODE, or set PYCACHEHOOK_FORCE_WRITE=1",
        )
    known = {f"{VARIABLES}{name.upper()}" for name in (*resolution.NAMES, "disable", "stats", "log", "config")}
    for name in sorted(os.environ):
        if name.startswith(VARIABLES) and name not in known:
            yield Finding(f"There is no option {name}.", "The variable has no effect.", f"unset {name}")
    prefix = os.environ.get("PYTHONPYCACHEPREFIX")
    if prefix and os.path.abspath(prefix) != state["cache_dir"]:
        yield Finding(
            f"PYTHONPYCACHEPREFIX is {prefix}, and cache_dir is {state['cache_dir']}.",
            "Programs without the hook fill another cache.",
            "unset PYTHONPYCACHEPREFIX",
        )
    ours = next((place for place, finder in enumerate(sys.meta_path) if isinstance(finder, CachingFinder)), 0)
    for finder in sys.meta_path[:ours]:
        kind = finder if isinstance(finder, type) else type(finder)
        if finder not in _HARMLESS and kind.__name__ not in _HARMLESS_TYPES:
            yield Finding(
                f"The finder {kind.__module__}.{kind.__qualname__} stands in front of ours.",
                "What it finds is not cached.",
                "install it after pycachehook, if it has such a choice",
            )
    if sys.version_info >= START_FILES_ALONE and not os.path.exists(
        os.path.join(sysconfig.get_path("purelib"), FILES[1])
    ):
        yield Finding(
            f"This Python runs no code from .pth files, and there is no {FILES[1]}.",
            "The hook does not start.",
            "pycachehook enable",
        )


def _file_system(cache_dir: str) -> Iterator[Finding]:
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return
    best, kind = "", ""
    for words in mounts:
        point = words[4].encode("latin-1", "replace").decode("unicode_escape") if "\\" in words[4] else words[4]
        inside = cache_dir == point or cache_dir.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, words[words.index("-") + 1]
    if kind in NETWORK:
        yield Finding(
            f"The cache directory {cache_dir} is on a network file system ({kind}).",
            "Each import asks the network, and locks may not work.",
            "choose a local cache_dir",
        )


def _entries(state: dict[str, Any]) -> Iterator[Finding]:
    counts = verify(state["cache_dir"], allow_shared=bool(state["options"]["allow_shared"]["value"])).counts
    bad = {verdict: count for verdict, count in counts.items() if verdict not in NOT_BAD}
    if bad:
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(bad.items()))
        yield Finding(
            f"{sum(bad.values())} of {sum(bad.values()) + counts[SOUND]} entries are bad: {told}.",
            "Each is compiled again when it is imported, or takes room for nothing.",
            f"pycachehook verify --fix --cache-dir {state['cache_dir']}",
        )


def _in_tree() -> Iterator[Finding]:
    """Look at the pycs that the environment's packages ship: packaging that rewrites times makes them stale."""
    stale = total = 0
    tag = sys.implementation.cache_tag
    for folder, folders, names in os.walk(sysconfig.get_path("purelib")):
        folders.sort()
        if os.path.basename(folder) != "__pycache__":
            continue
        for name in names:
            if name.endswith(f".{tag}.pyc"):
                total += 1
                source = os.path.join(os.path.dirname(folder), name.removesuffix(f"{tag}.pyc") + "py")
                stale += _is_stale(os.path.join(folder, name), source)
    if stale * 10 > total:
        yield Finding(
            f"{stale} of {total} pycs that the packages here ship are stale.",
            "Without an entry in the cache each of these modules is compiled.",
            "pycachehook precompile",
        )


def _is_stale(path: str, source: str) -> bool:
    """Say whether CPython would not take the pyc for the source."""
    try:
        header = read_file(path, READ_FLAGS)[0][:HEADER_SIZE]
        flags, stamp = int.from_bytes(header[4:8], "little"), header[8:]
        if flags & HASH_BASED and not flags & CHECK_SOURCE:
            return False
        return stamp != SourceFile(source).stamp(flags)
    except OSError:
        return True
