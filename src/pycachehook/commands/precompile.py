"""Filling a cache ahead of time, by the options and rules that an import will go by: `pycachehook precompile`."""

import multiprocessing
import os
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, TypeVar

import importlib_metadata

from pycachehook.cache_dir import WRITABLE
from pycachehook.errors import PycacheHookError
from pycachehook.loader import CachingLoader
from pycachehook.runtime import InForce

from .inspect import find_module

CHUNK = 8  # files that a worker takes at once

VALID, COMPILED, EXCLUDED, FAILED = "valid", "compiled", "excluded", "failed"

# What reading and compiling a source may raise.
NOT_COMPILED = (SyntaxError, OSError, ValueError, RecursionError, MemoryError, OverflowError)

Task = TypeVar("Task")
Done = TypeVar("Done")

Outcome = tuple[str, str, str]  # path, one of the four words above, and what went wrong


@dataclass
class Precompiled:
    """How many files were compiled, found valid, or left to CPython by a rule; and those that failed, with the reason."""

    compiled: int = 0
    valid: int = 0
    excluded: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        """Return the same as plain data, as `precompile --json` prints it."""
        failed = [{"path": path, "error": error} for path, error in self.failed]
        return {"compiled": self.compiled, "valid": self.valid, "excluded": self.excluded, "failed": failed}


def sources(
    paths: Sequence[str],
    distributions: Sequence[str],
    modules: Sequence[str],
    exclude: Sequence[str],
    *,
    environment: bool = False,
) -> list[str]:
    """Return the sources below `paths`, of distributions and of modules; of the whole environment if none is named.

    With `environment` those of the whole environment are among them in any case.

    Sorted, each once, as an import would name them; those that match a glob of `exclude` are left out. Raises
    `PycacheHookError` for what is not there.
    """
    if environment or not (paths or distributions or modules):
        paths = [*paths, *site_packages()]
        standard = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib")}
    else:
        standard = set()
    found: set[str] = set()
    for path in standard:
        found.update(_below(path, leave_out=("__pycache__", "site-packages", "dist-packages")))
    for path in paths:
        found.update(_below(path))
    for name in distributions:
        found.update(_of_distribution(name))
    for name in modules:
        found.update(_of_module(name))
    return sorted(path for path in found if not any(fnmatchcase(path, each) for each in exclude))


def what_is_wrong(error: Exception) -> str:
    """Return in a few words why a source does not compile, with the line where there is one."""
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: {error.msg}"
    return f"{type(error).__name__}: {error}"


def site_packages() -> list[str]:
    """Return the directories that packages are installed into here, which some systems have in places of their own."""
    return sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})


def precompile(
    files: Sequence[str], values: dict[str, Any], jobs: int, progress: Callable[[], object] = lambda: None
) -> Precompiled:
    """Compile and store what has no valid entry yet, with `jobs` processes; `progress` is called for every file.

    `values` are option values. What is written does not depend on the number of processes or the order. Raises
    `PycacheHookError` if the cache cannot be written to.
    """
    _, _, directories = InForce().compose(values, private=False)
    for directory in directories.values():
        if directory.status != WRITABLE:
            raise PycacheHookError(directory.reason or f"{directory.path} is {directory.status}.")
    outcome = Precompiled()
    for path, word, error in _outcomes(files, values, jobs):
        progress()
        if word == FAILED:
            outcome.failed.append((path, error))
        else:
            setattr(outcome, word, getattr(outcome, word) + 1)
    return outcome


def usable_processors() -> int:
    """Return how many processors this process may use: by its affinity, and on Linux by its control groups' quotas."""
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
    """Return a control group's share in processors, rounded up; None is no limit. Version 2 names no controllers."""
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
        raise PycacheHookError(f"{path} does not exist.")
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name not in leave_out]
        yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))


def _of_distribution(name: str) -> Iterator[str]:
    try:
        files = importlib_metadata.distribution(name).files
    except importlib_metadata.PackageNotFoundError:
        raise PycacheHookError(f"There is no distribution {name} in this environment.") from None
    if files is None:
        raise PycacheHookError(f"The distribution {name} does not say which files it has.")
    yield from (os.path.abspath(str(each.locate())) for each in files if str(each).endswith(".py"))


def _of_module(name: str) -> Iterator[str]:
    spec = find_module(name)
    if spec.submodule_search_locations is not None:
        for folder in spec.submodule_search_locations:
            yield from _below(folder)
    elif spec.has_location and str(spec.origin).endswith(".py"):
        yield str(spec.origin)
    else:
        raise PycacheHookError(f"{name} has no source ({spec.origin}).")


def _outcomes(files: Sequence[str], values: dict[str, Any], jobs: int) -> Iterable[Outcome]:
    if jobs == 1 or len(files) <= CHUNK:
        return map(_Worker(values), files)
    return in_processes(_work, files, jobs, partial(_start_worker, values))


def in_processes(
    work: Callable[[Task], Done], tasks: Sequence[Task], jobs: int, prepare: Callable[[], object] | None = None
) -> Iterator[Done]:
    """Yield what `work` returns for each task, in their order, from `jobs` processes; each calls `prepare` first."""
    # Not "fork": whoever calls this may have threads.
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    with ProcessPoolExecutor(jobs, context, prepare) as pool:
        yield from pool.map(work, tasks, chunksize=CHUNK)


class _Worker:
    """Looks each source up as an import would, and compiles it if that would not find it."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._setting = InForce()
        default, rules, _ = self._setting.compose(values, private=False)
        self._setting.policies.replace(default, rules)

    def __call__(self, path: str) -> Outcome:
        stats = self._setting.stats
        if self._setting.policies.of(path) is None:
            return path, EXCLUDED, ""
        hits, stored = stats.hits, stats.stored
        name = os.path.basename(path).removesuffix(".py")
        loader = CachingLoader(name, path, self._setting.policies)
        try:
            loader.get_code(name)
        except NOT_COMPILED as error:
            return path, FAILED, what_is_wrong(error)
        if stats.hits > hits:
            return path, VALID, ""
        if stats.stored > stored:
            return path, COMPILED, ""
        return path, FAILED, self._why_not_stored(loader)

    def _why_not_stored(self, loader: CachingLoader) -> str:
        path = str(loader.path)
        policy = self._setting.policies.of(path)
        store = policy and policy.store
        try:
            refusal = store and store.refusal(loader, loader.get_data(path))
        except OSError:
            refusal = None
        return (store and (store.directory.reason or refusal)) or "it could not be stored"


_worker: "_Worker | None" = None


def _start_worker(values: dict[str, Any]) -> None:
    global _worker  # noqa: PLW0603 -- one for each process of the pool
    _worker = _Worker(values)


def _work(path: str) -> Outcome:
    assert _worker is not None
    return _worker(path)
