"""Run a repository's tests as three CI jobs would, each in a new clone, keeping a directory between jobs.

The command and the directory to keep are read from the workflow in `project`.
"""

import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

sys.dont_write_bytecode = True  # for this program's own modules
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steps import compiled_by_cpython, finish, loaded_by_cpython, run, stop, table, take_stats  # noqa: E402

PROJECT = Path(__file__).resolve().parent / "project"
WORKFLOW = (PROJECT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
STOCK = ["python", "-m", "unittest", "discover", "tests"]
(HOOKED,) = (shlex.split(command) for command in re.findall(r"- run: (python .*)", WORKFLOW))
(STORE,) = re.findall(r"path: (.*)", WORKFLOW)
JOBS = (1, 2, 3)
ME = ("-c", "user.name=me", "-c", "user.email=me@example.org")


class Repository:
    """A git repository, the path at which every job has its clone, and the directories kept between jobs."""

    def __init__(self, folder: Path) -> None:
        self.origin, self.clone, self.kept = folder / "origin", folder / "clone", folder / "kept"
        shutil.copytree(PROJECT, self.origin, ignore=shutil.ignore_patterns("__pycache__"))
        run("git", "init", "-q", cwd=self.origin)
        self.commit("Receipts")

    def commit(self, message: str) -> None:
        """Commit all that is in the working tree."""
        run("git", "add", "--all", cwd=self.origin)
        run("git", *ME, "commit", "-q", "-m", message, cwd=self.origin)

    def change(self, module: str, old: str, new: str) -> None:
        """Change a module and commit that."""
        path = self.origin / module
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        self.commit(f"Another {module}")

    def check_out(self) -> None:
        """Create the clone again, at least one second after the last one, and restore the kept directories."""
        if self.clone.exists():
            shutil.rmtree(self.clone)
        time.sleep(1 - time.time() % 1)
        run("git", "clone", "-q", self.origin, self.clone)
        if self.kept.exists():
            shutil.copytree(self.kept, self.clone, dirs_exist_ok=True)

    def keep(self, pattern: str) -> None:
        """Keep the directories that match, as a CI's cache action does."""
        shutil.rmtree(self.kept, ignore_errors=True)
        for directory in self.clone.glob(pattern):
            shutil.copytree(directory, self.kept / directory.relative_to(self.clone))

    def modification_times(self) -> dict[str, int]:
        """Return each source's modification time in the clone, in whole seconds, as a pyc records it."""
        return {str(path): int(path.stat().st_mtime) for path in self.clone.rglob("*.py")}


def stock_job(repository: Repository, **variables: object) -> tuple[int, int]:
    """Run the tests with CPython alone; return how many modules it compiled, and how many it loaded from the cache."""
    told = finish(sys.executable, *STOCK[1:], cwd=repository.clone, PYTHONVERBOSE=1, **variables).stderr
    return len(compiled_by_cpython(told, repository.clone)), len(loaded_by_cpython(told, repository.clone))


def hooked_job(repository: Repository) -> tuple[int, int]:
    """Run the tests as in the workflow; return how many modules were compiled, and how many came from the cache."""
    file = repository.kept.parent / "stats.jsonl"
    run(sys.executable, *HOOKED[1:], cwd=repository.clone, PYCACHEHOOK_STATS=file)
    (stats,) = take_stats(file)
    return stats["compiled"], stats["hits_by_place"]["store"]


def jobs(folder: Path, way: str) -> Iterator[tuple[object, ...]]:
    """Run three jobs with one way of keeping bytecode, the last one after a commit; yield a row for each."""
    repository = Repository(folder)
    before: dict[str, int] = {}
    for job in JOBS:
        if job == JOBS[-1]:
            repository.change("receipts/goods.py", "5.90", "6.20")
        repository.check_out()
        times = repository.modification_times()
        same = sum(before.get(path) == seconds for path, seconds in times.items())
        if way == STORE:
            counted = hooked_job(repository)
        elif way == "**/__pycache__":
            counted = stock_job(repository)
        else:
            counted = stock_job(repository, PYTHONPYCACHEPREFIX=repository.clone / way)
        repository.keep(way)
        yield job, way, f"{same} of {len(times)}" if before else "-", *counted
        before = times


def main() -> None:
    """Print a line for each job, for each of three ways of keeping bytecode."""
    if shutil.which("git") is None:
        stop("This example needs git(1).")
    ways = {"CPython": "**/__pycache__", "CPython with PYTHONPYCACHEPREFIX": ".prefix", "pycachehook": STORE}
    rows = []
    for name, way in ways.items():
        with tempfile.TemporaryDirectory() as folder:
            rows += [(name, *row) for row in jobs(Path(folder).resolve(), way)]
    table(("", "job", "kept", "same mtime", "compiled", "from what was kept"), rows)


if __name__ == "__main__":
    main()
