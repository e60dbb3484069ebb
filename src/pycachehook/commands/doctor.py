"""Problems of the set-up, what they cost, and the commands that fix them: `pycachehook doctor`."""

import functools
import os
import re
import shlex
import sys
import sysconfig
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from importlib.machinery import BuiltinImporter, FrozenImporter
from pathlib import Path
from typing import Any

from pycachehook import runtime
from pycachehook.cache_dir import DISABLED, READ_ONLY, WRITABLE
from pycachehook.config import resolution
from pycachehook.config.options import ALIASES, DEFAULT
from pycachehook.events import OTHER_MODE, STALE_SOURCE, UNTRUSTED, WRONG_MAGIC
from pycachehook.finder import CachingFinder

from . import status
from .cache_walk import ENTRY, FOREIGN, SHARED, TEMPORARY, may_be_cache, walk
from .enable import FILES, START_FILES_ALONE, STARTUP, activation_problems
from .installer import install_command
from .prospect import NOTHING_IS_STORED, Coverage, is_stale, told_not_to_write
from .verify import NOT_BAD, ORPHANED, verify_cache

NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "lustre", "gpfs", "ceph", "afs", "glusterfs", "fuse.sshfs")

# Finders that ordinary environments have in front of pycachehook's, and that find almost no modules.
_HARMLESS = (BuiltinImporter, FrozenImporter)
_HARMLESS_TYPES = ("DistutilsMetaFinder", "FirstImport")

LEAST_SPACE = 1 << 16  # bytes: too few for the entries of most programs

VARIABLES = "PYCACHEHOOK_"  # prefix of pycachehook's variables
OTHER_VARIABLES = ("disable", "stats", "log", "trace", "config", "frames")  # in addition to the options

# Set by the command line if it runs `doctor` for another environment (`--prefix`), and if that has no copy of this package.
for_other = False
lent = False


@dataclass(frozen=True)
class Finding:
    """A problem: `what` it is, what it `costs`, and in `mend` the command or change that fixes it."""

    what: str
    costs: str
    mend: str


@dataclass
class Examination:
    """The problems, and in `notes` what could be better, or will be corrected without any action.

    `archives` are the paths of the archives that a start reads.
    """

    findings: list[Finding] = field(default_factory=list)
    notes: list[Finding] = field(default_factory=list)
    archives: list[str] = field(default_factory=list)


def examine(config: object = None, given: Mapping[str, object] | None = None) -> Examination:
    """Return the problems of this environment, for the option values `given` or else those in use.

    Raises `ConfigError` for a wrong option.
    """
    examination = _examine(config, given)
    if for_other:  # the command `pycachehook` of that environment is not on PATH
        for items in (examination.findings, examination.notes):
            items[:] = [replace(item, mend=_with_path_of_python(item.mend)) for item in items]
    return examination


def _with_path_of_python(mend: str) -> str:
    """Return a command with `pycachehook` replaced by the path of this Python and `-m pycachehook`."""
    command = f"{shlex.quote(sys.executable)} -m pycachehook "
    return re.sub(r"(?<!\S)pycachehook (?=(?:enable|precompile|prune|verify|archive)\b)", lambda _: command, mend)


def _examine(config: object, given: Mapping[str, object] | None) -> Examination:
    examination = Examination()
    state = status.state(config, given)
    examination.archives += [archive["path"] for archive in state["archives"]]
    values = {name: option["value"] for name, option in state["options"].items()}
    coverage = functools.cache(lambda: Coverage(values))  # which reads thousands of files
    examination.findings += _lent()
    if runtime.disabled_by_environment():
        examination.findings.append(
            Finding("PYCACHEHOOK_DISABLE is set.", coverage().cost(), "unset PYCACHEHOOK_DISABLE")
        )
        return examination
    examination.findings += [*_activation(state), *_environment(state, coverage), *_directory(state, coverage)]
    for archive in state["archives"]:
        if archive["reason"] is not None:
            remedy = f"pycachehook archive build {archive['path']}, with the options that it was built with"
            cost = "Its modules are loaded from the cache, or compiled."
            examination.findings.append(Finding(archive["reason"], cost, remedy))
    if state["cache_dir"] is not None and os.path.isdir(state["cache_dir"]):
        examination.findings += _file_system(state["cache_dir"])
        if state["start"]["status"] == WRITABLE:
            examination.findings += _space(state["cache_dir"])
        if may_be_cache(state["cache_dir"]):
            _entries(state, examination)
    examination.findings += _in_tree(coverage)
    return examination


def _lent() -> Iterator[Finding]:
    """Check whether the environment has its own copy of this package."""
    if lent:
        yield Finding(
            f"pycachehook is not installed in {sys.prefix}.",
            "Its programs cannot use a cache.",
            install_command("pycachehook", sys.executable, [sysconfig.get_path("purelib")]),
        )


def _directory(state: dict[str, Any], coverage: Callable[[], Coverage]) -> Iterator[Finding]:
    """Check what a start may do with the cache directory."""
    status_of_start, reason = state["start"]["status"], str(state["start"]["reason"])
    if status_of_start == DISABLED:
        yield Finding(reason, coverage().cost(), _mend(reason))
        return
    options = state["options"]
    intended = bool(options["read_only"]["value"]) or _told_not_to_write(state)
    if status_of_start != READ_ONLY or intended:
        return
    if reason.startswith(NOTHING_IS_STORED):
        path = shlex.quote(state["cache_dir"])
        yield Finding(reason, coverage().cost(), f"mv {path} {path}-old")
        return
    if options["cache_dir"]["origin"] == DEFAULT or (coverage().missing and not _is_filled(state)):
        remedy = (
            "pycachehook precompile, as a user who may write there; or pycachehook enable --cache-dir DIR, with a "
            "directory that this user may write to"
        )
        yield Finding(reason, coverage().cost(), remedy)


def _mend(reason: str) -> str:
    """Return the command named in the sentence about a refused directory, or a command that always helps."""
    command = re.search("`([^`]+)`", reason)
    return command[1] if command else "pycachehook enable --cache-dir DIR, with a directory that this user may write to"


def _is_filled(state: dict[str, Any]) -> bool:
    """Return whether the cache has entries, for example written by root for the user of a container."""
    try:
        return any(file.kind in (ENTRY, SHARED) for file in walk(state["cache_dir"]))
    except OSError:
        return False


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
    if not state["active"] and not lent:
        why = "`python -S` or `-I -S`" if sys.flags.no_site else "something at start-up"
        yield Finding(
            f"The hook is enabled, but not active: {why} has prevented it.",
            "This process is not cached.",
            f"{sys.executable} -c 'import {STARTUP}; {STARTUP}.activate()'",
        )


def _told_not_to_write(state: dict[str, Any]) -> bool:
    return told_not_to_write() and not state["options"]["force_write"]["value"]


def _environment(state: dict[str, Any], coverage: Callable[[], Coverage]) -> Iterator[Finding]:
    if _told_not_to_write(state) and state["start"]["status"] != DISABLED:
        variable = (
            "PYTHONDONTWRITEBYTECODE is set" if os.environ.get("PYTHONDONTWRITEBYTECODE") else "Python runs with -B"
        )
        yield Finding(
            f"{variable}.",
            f"Entries are read, but none is written. {coverage().cost()}",
            "unset PYTHONDONTWRITEBYTECODE, or set PYCACHEHOOK_FORCE_WRITE=1",
        )
    known = {f"{VARIABLES}{name.upper()}" for name in (*resolution.NAMES, *ALIASES, *OTHER_VARIABLES)}
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
    own_index = next((index for index, finder in enumerate(sys.meta_path) if isinstance(finder, CachingFinder)), 0)
    for finder in sys.meta_path[:own_index]:
        kind = finder if isinstance(finder, type) else type(finder)
        if finder not in _HARMLESS and kind.__name__ not in _HARMLESS_TYPES:
            yield Finding(
                f"The finder {kind.__module__}.{kind.__qualname__} stands in front of pycachehook's.",
                "What it finds is not cached.",
                "install it after pycachehook, if it offers that",
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
            "Every import accesses the network, and locks may not work.",
            "choose a local cache_dir",
        )


def _space(cache_dir: str) -> Iterator[Finding]:
    """Check whether the file system has space for entries. A quota cannot be seen."""
    if not hasattr(os, "statvfs"):
        return
    status = os.statvfs(cache_dir)
    left = status.f_bavail * status.f_frsize
    if left >= LEAST_SPACE and (status.f_favail or not status.f_files):  # some file systems count no files
        return
    what = f"{left // 1024} KiB" if left < LEAST_SPACE else "no inode"
    yield Finding(
        f"The file system of {cache_dir} has {what} left.",
        "Entries cannot be stored, and their modules are compiled at every start.",
        "pycachehook prune --max-size SIZE, or another cache_dir",
    )


def _entries(state: dict[str, Any], examination: Examination) -> None:
    """Check every entry. Entries that an import will replace or `prune` will remove are not counted as problems."""
    path, writable = state["cache_dir"], state["start"]["status"] == WRITABLE
    outcome = verify_cache(path, allow_shared=bool(state["options"]["allow_shared"]["value"]))
    counts = {verdict: count for verdict, count in outcome.counts.items() if verdict not in NOT_BAD}
    orphaned = counts.pop(ORPHANED, 0)
    outdated = sum(counts.pop(verdict, 0) for verdict in (STALE_SOURCE, OTHER_MODE, WRONG_MAGIC))
    untrusted = counts.pop(UNTRUSTED, 0)
    total = sum(outcome.counts[verdict] for verdict in outcome.counts if verdict not in (FOREIGN, TEMPORARY))
    quoted = shlex.quote(path)
    if counts:
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
        examination.findings.append(
            Finding(
                f"{sum(counts.values())} of {total} entries are bad: {verdicts}.",
                "Their modules are compiled again when they are imported, or the entries occupy space in vain.",
                f"pycachehook verify --fix --cache-dir {quoted}",
            )
        )
    if untrusted:
        examination.findings.append(_of_others(path, untrusted, total))
    links = sum(file.kind == FOREIGN and _is_link_to_entry(file.path) for file in walk(path))
    if links:
        examination.findings.append(
            Finding(
                f"{links} entries in {path} are links, and entries are not read through links.",
                "Each of these modules is compiled at every start.",
                f"cp -RL {quoted} DIR, and use DIR as cache_dir; or mount the links' targets there",
            )
        )
    if outdated:
        what = f"{outdated} of {total} entries belong to an earlier source, or to another interpreter or mode."
        precompile = f"pycachehook precompile --cache-dir {quoted}"
        if writable:
            examination.notes.append(Finding(what, "Each is replaced when its module is imported.", precompile))
        else:
            cost = "Each of these modules is compiled at every start."
            examination.findings.append(Finding(what, cost, f"{precompile}, as a user who may write there"))
    if orphaned:
        what = f"Entries whose source no longer exists, which can be pruned: {orphaned} of {total}."
        examination.notes.append(
            Finding(what, "They occupy space.", f"pycachehook prune --orphans --cache-dir {quoted}")
        )


def _of_others(path: str, untrusted: int, total: int) -> Finding:
    """Return the finding for entries that other users own or may write to."""
    what = f"{untrusted} of {total} entries belong to another user, or others may write to them."
    quoted, root = shlex.quote(path), hasattr(os, "geteuid") and os.geteuid() == 0
    remedy = f"chown -R {os.stat(path).st_uid} {quoted} && chmod -R go-w {quoted}" if root else ""
    return Finding(
        what,
        "They are not used, and their modules are compiled at every start.",
        remedy or f"pycachehook verify --fix --cache-dir {quoted}",
    )


def _is_link_to_entry(path: str) -> bool:
    return path.endswith(".pyc") and f".{sys.implementation.cache_tag}." in path and os.path.islink(path)


def _in_tree(coverage: Callable[[], Coverage]) -> Iterator[Finding]:
    """Check the pycs that the installed packages ship, which become stale if packaging changes modification times."""
    stale = total = 0
    tag = sys.implementation.cache_tag
    for folder, folders, names in os.walk(sysconfig.get_path("purelib")):
        folders.sort()
        if os.path.basename(folder) != "__pycache__":
            continue
        for name in names:
            if name.endswith(f".{tag}.pyc"):
                source = os.path.join(os.path.dirname(folder), name.removesuffix(f"{tag}.pyc") + "py")
                if not os.path.lexists(source):  # no import looks at the pyc
                    continue
                total += 1
                stale += is_stale(os.path.join(folder, name), source) and not coverage().covers(source)
    if stale * 10 > total:
        yield Finding(
            f"{stale} of {total} pycs beside the installed sources are stale.",
            "There is no entry in the cache for any of these modules: each is compiled.",
            "pycachehook precompile",
        )
