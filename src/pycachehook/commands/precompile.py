"""Filling of a cache in advance, with the options and rules that imports will use: `pycachehook precompile`."""

import os
import stat
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from pycachehook._compat import replaced_step
from pycachehook.cache_dir import WRITABLE
from pycachehook.errors import PycacheHookError
from pycachehook.events import Stats
from pycachehook.loader import CachingLoader
from pycachehook.on_miss.compiling import compile_and_store, refusal_of
from pycachehook.runtime import compose
from pycachehook.system import READ_FLAGS, read_file

from .composed import Composed
from .inspect import find_module
from .workers import TASKS_PER_BATCH, in_processes

VALID, COMPILED, EXCLUDED, FAILED = "valid", "compiled", "excluded", "failed"
SKIPPED, BROKEN = "skipped", "broken_on_purpose"

# Directories of the standard library with sources that do not compile on purpose, as test data. None is ever imported.
_TEST_DATA = ("test", "tests", "idle_test", "lib2to3")
_FILE_TYPES = {stat.S_IFIFO: "a FIFO", stat.S_IFDIR: "a directory", stat.S_IFSOCK: "a socket"}

# Exceptions of reading and compiling a source: the codec that a source declares may raise anything.
NOT_COMPILED = Exception

# Path, outcome, error message, and the compiler's warnings.
Outcome = tuple[str, str, str, list[str]]


@dataclass
class Precompiled:
    """The numbers of files that were compiled, valid already, or excluded by a rule; and the failures, with reasons.

    `skipped` are files that no import would use as a source, with reasons. `broken_on_purpose` counts test data of the
    standard library that does not compile. `warnings` has one line per warning of the compiler.
    """

    compiled: int = 0
    valid: int = 0
    excluded: int = 0
    broken_on_purpose: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return the result as plain data, as printed by `precompile --json`; empty rare keys are omitted."""
        failed = [{"path": path, "error": error} for path, error in self.failed]
        return {
            "compiled": self.compiled,
            "valid": self.valid,
            "excluded": self.excluded,
            "failed": failed,
            **rare_keys(self.skipped, self.broken_on_purpose, self.warnings),
        }


def rare_keys(skipped: Sequence[tuple[str, str]], broken_on_purpose: int, warned: Sequence[str]) -> dict[str, object]:
    """Return the rare parts of a result as plain data, without the empty ones."""
    values: dict[str, Any] = {
        "skipped": [{"path": path, "reason": reason} for path, reason in skipped],
        "broken_on_purpose": broken_on_purpose,
        "warnings": [*warned],
    }
    return {name: value for name, value in values.items() if value}


def sources(
    paths: Sequence[str],
    distributions: Sequence[str],
    modules: Sequence[str],
    exclude: Sequence[str],
    *,
    environment: bool = False,
) -> list[str]:
    """Return the sources below `paths`, of distributions and of modules; of the whole environment if none is named.

    With `environment`, those of the whole environment are always included. The result is sorted and without duplicates,
    contains paths as an import would name them, and excludes those that match a glob in `exclude`. Raises
    `PycacheHookError` for anything that does not exist.
    """
    if environment or not (paths or distributions or modules):
        paths = [*paths, *site_packages()]
        standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    else:
        standard = set()
    selected: set[str] = set()
    for path in standard:
        selected.update(_below(path, leave_out=("__pycache__", "site-packages", "dist-packages")))
    for path in paths:
        selected.update(_below(path))
    for name in distributions:
        selected.update(_of_distribution(name))
    for name in modules:
        selected.update(_of_module(name))
    return sorted(path for path in selected if not any(fnmatchcase(path, pattern) for pattern in exclude))


def no_source(path: str) -> tuple[str, str] | None:
    """Return `SKIPPED` or `FAILED`, with the reason, for a file called `*.py` that cannot be a source; else None.

    An import uses only regular files as sources, so other files are skipped; reading some of them would never end. A
    directory that cannot be listed is contained in the result of `sources` under its own name.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return (SKIPPED, "a link that leads nowhere") if os.path.islink(path) else None
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISDIR(mode) and not path.endswith(".py"):
        return FAILED, "the directory cannot be listed"
    return SKIPPED, f"{_FILE_TYPES.get(stat.S_IFMT(mode), 'a device')}, no source"


def outcome_of_error(path: str, error: Exception) -> str:
    """Return `BROKEN` for test data of the standard library that does not compile on purpose, else `FAILED`."""
    if not isinstance(error, (OSError, MemoryError)):
        for name in ("stdlib", "platstdlib"):
            root = os.path.join(sysconfig.get_path(name), "")
            parts = path[len(root) :].split(os.sep)[:-1]
            packages = {"site-packages", "dist-packages"} & {*parts}
            if path.startswith(root) and not packages and any(part in _TEST_DATA for part in parts):
                return BROKEN
    return FAILED


@contextmanager
def warnings_as_text() -> Iterator[list[str]]:
    """Yield a list to which one line for each warning is appended when the `with` block ends."""
    lines: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        yield lines
    lines += [
        f"{warning.filename}:{warning.lineno}: {warning.category.__name__}: {warning.message}" for warning in caught
    ]


def describe(error: Exception) -> str:
    """Return in a few words why a source does not compile, with the line if there is one."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror or error}"
    return f"{type(error).__name__}: {error}"


def site_packages() -> list[str]:
    """Return the directories of installed packages; some systems have separate ones for platform-specific packages."""
    return sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def precompile(
    files: Sequence[str], values: dict[str, Any], jobs: int, progress: Callable[[], object] = lambda: None
) -> Precompiled:
    """Compile and store the sources without a valid entry, with `jobs` processes; `progress` is called for every file.

    `values` are option values. The result does not depend on the number of processes or their order. Raises
    `PycacheHookError` if the cache cannot be written to.
    """
    # Archives are ignored, so that the cache also serves processes without them.
    composition = compose({**values, "archives": ()}, Stats())
    for directory in composition.cache_dirs.values():
        if directory.status != WRITABLE:
            raise PycacheHookError(directory.reason or f"{directory.path} is {directory.status}.")
    outcome = Precompiled()
    with _outcomes(files, Composed(composition), jobs) as outcomes:
        for path, kind, error, warned in outcomes:
            progress()
            outcome.warnings += warned
            if kind in (FAILED, SKIPPED):
                getattr(outcome, kind).append((path, error))
            else:
                setattr(outcome, kind, getattr(outcome, kind) + 1)
    return outcome


def usable_processors() -> int:
    """Return how many processors this process may use, by its affinity and, on Linux, by control group quotas."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers == "" or "cpu" in controllers.split(","):
            while True:
                count = min(count, _quota(controllers, group) or count)
                if group in ("", "/"):
                    break
                group = os.path.dirname(group)
    return max(count, 1)


def _quota(controllers: str, group: str) -> int | None:
    """Return a control group's quota in processors, rounded up, or None. Version 2 has no `controllers`."""
    folder = f"/sys/fs/cgroup/{controllers}/{group}"
    names = ("cpu.cfs_quota_us", "cpu.cfs_period_us") if controllers else ("cpu.max",)
    words = []
    for name in names:
        try:
            with open(os.path.join(folder, name), encoding="ascii") as file:
                words += file.read().split()
        except OSError:
            return None
    quota, period = words
    return None if quota in ("max", "-1") else -(-int(quota) // int(period))


def _below(path: str, leave_out: Sequence[str] = ("__pycache__",)) -> Iterator[str]:
    path = os.path.abspath(path)
    if os.path.isfile(path):
        yield path
        return
    if not os.path.isdir(path):
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            raise PycacheHookError(f"{path} does not exist.") from None
        except (OSError, ValueError) as error:
            raise PycacheHookError(f"{path} cannot be read: {getattr(error, 'strerror', error)}.") from None
        _, why = no_source(path) or ("", "neither a file nor a directory")
        raise PycacheHookError(f"{path} cannot be compiled: it is {why}.")
    unlisted: list[str] = []
    for folder, folders, names in os.walk(path, onerror=lambda error: unlisted.append(str(error.filename))):
        folders[:] = [name for name in folders if name not in leave_out]
        yield from (os.path.join(folder, name) for name in (*names, *folders) if name.endswith(".py"))
    yield from unlisted


def _of_distribution(name: str) -> Iterator[str]:
    import importlib_metadata  # slow to load

    try:
        files = importlib_metadata.distribution(name).files
    except importlib_metadata.PackageNotFoundError:
        raise PycacheHookError(f"There is no distribution {name} in this environment.") from None
    if files is None:
        raise PycacheHookError(f"The distribution {name} does not record its files.")
    yield from (os.path.abspath(str(file.locate())) for file in files if str(file).endswith(".py"))


def _of_module(name: str) -> Iterator[str]:
    spec = find_module(name)
    if spec.submodule_search_locations is not None:
        for folder in spec.submodule_search_locations:
            yield from _below(folder)
    elif spec.has_location and str(spec.origin).endswith(".py"):
        yield str(spec.origin)
    else:
        raise PycacheHookError(f"{name} has no source ({spec.origin}).")


def _outcomes(files: Sequence[str], composed: Composed, jobs: int) -> AbstractContextManager[Iterator[Outcome]]:
    if jobs == 1 or len(files) <= TASKS_PER_BATCH:
        return nullcontext(map(_Worker(composed), files))
    return in_processes(_work, files, jobs, _lost, prepare=_start_worker, arguments=(composed,))


class _Worker:
    """A callable that looks up a source as an import would, and compiles it on a miss."""

    def __init__(self, composed: Composed) -> None:
        self._policies = composed.policies()

    def __call__(self, path: str) -> Outcome:
        if self._policies.of(path) is None:
            return path, EXCLUDED, "", []
        refused = no_source(path)
        if refused is not None:
            return path, *refused, []
        with warnings_as_text() as warned:
            kind, why = self._compile(path)
        return path, kind, why, warned

    def _compile(self, path: str) -> tuple[str, str]:
        policy = self._policies.of(path)
        assert policy is not None
        name = os.path.basename(path).removesuffix(".py")
        loader = CachingLoader(name, path, self._policies)
        step = replaced_step(loader)
        if step is not None or policy.store is None:
            return FAILED, f"a tool has replaced {step} in this process" if step else "there is no cache for it"
        try:
            code, outcome = policy.look_up(path)
            if code is None:
                code, outcome = compile_and_store(loader, name, policy.store, policy.stats, outcome)
        except NOT_COMPILED as error:  # also MemoryError, for a source too large to be read
            return self._without_entry(path, outcome_of_error(path, error), describe(error))
        if outcome.place:  # a valid entry exists, perhaps stored by another process meanwhile
            return VALID, ""
        return (COMPILED, "") if outcome.stored else self._without_entry(path, FAILED, outcome.detail)

    def _without_entry(self, path: str, kind: str, why: str) -> tuple[str, str]:
        """Return `SKIPPED` with the reason if a source is never stored because of its encoding; else `kind` and `why`."""
        try:
            refusal = refusal_of(read_file(path, READ_FLAGS)[0])
        except (OSError, MemoryError):
            refusal = None
        return (kind, why) if refusal is None else (SKIPPED, refusal)


_worker: "_Worker | None" = None


def _start_worker(composed: Composed) -> None:
    global _worker  # noqa: PLW0603 -- one for each process of the pool
    _worker = _Worker(composed)


def _work(path: str) -> Outcome:
    assert _worker is not None
    return _worker(path)


def _lost(path: str, why: str) -> Outcome:
    return path, FAILED, why, []
