"""Run a project's tests twice with pytest, without and with pycachehook, and show the new files in the project."""

import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.dont_write_bytecode = True  # for this program's own modules
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steps import folders_of_bytecode, run, stop, table, take_stats  # noqa: E402

PROJECT = Path(__file__).resolve().parent / "project"


def make_environment(folder: Path) -> Path:
    """Make a virtual environment with access to the packages of this one, and return its Python."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    packages = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    lines = [f"import site; site.addsitedir({path!r})\n" for path in packages]
    (site / "_packages.pth").write_text("".join(lines), encoding="utf-8")
    return python


class Project:
    """A copy of the project, a Python to run its tests with, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.root, self.cache, self.stats = folder / "project", folder / "cache", folder / "stats.jsonl"
        self.cached = self.cache / self.root.relative_to("/")  # the directory of the project's entries
        self.python = make_environment(folder / "environment")
        shutil.copytree(PROJECT, self.root, ignore=shutil.ignore_patterns("__pycache__"))
        self._came_with = set(self.root.rglob("*"))

    def test(self, **variables: object) -> str:
        """Run the tests; return the last line of pytest's output, without the seconds."""
        said = run(self.python, "-m", "pytest", "-q", cwd=self.root, PYCACHEHOOK_STATS=self.stats, **variables)
        return re.sub(r" in .*", "", said.splitlines()[-1])

    def rewritten(self, place: Path) -> dict[Path, int]:
        """Return the modules below a directory whose assertions pytest has rewritten, with their times."""
        return {path: path.stat().st_mtime_ns for path in place.rglob("*-pytest-*.pyc")}

    def new(self) -> str:
        """Return the new outermost directories in the project."""
        found = {path for path in self.root.rglob("*") if path not in self._came_with}
        return ", ".join(sorted(str(path.relative_to(self.root)) for path in found if path.parent not in found))


def starts(project: Project, **variables: object) -> Iterator[tuple[object, ...]]:
    """Run the tests twice; yield the result, the files in the tree, and the rewritten modules for each run."""
    places = (project.root, project.cached)
    before: list[dict[Path, int]] = [{}, {}]
    for which in ("first", "second"):
        result = project.test(**variables)
        now = [project.rewritten(place) for place in places]
        rewritten = [len(found.items() - known.items()) for found, known in zip(now, before, strict=True)]
        before = now
        yield which, result, folders_of_bytecode(project.root), *rewritten


def main() -> None:
    """Print a line for each run, the new files in the project, and the paths of the rewritten tests."""
    if importlib.util.find_spec("pytest") is None:
        stop("This example needs pytest, in the environment that runs it: pip install pytest")
    rows, new, counts = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder).resolve())
        rows += [("CPython", *row) for row in starts(project, PYCACHEHOOK_DISABLE=1)]
        new.append(f"new in the project with CPython alone: {project.new()}")
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder).resolve())
        run(project.python, "-m", "pycachehook", "enable", "--cache-dir", project.cache)
        rows += [("pycachehook", *row) for row in starts(project)]
        new.append(f"new in the project with pycachehook: {project.new()}")
        counts = [
            (which, counts["compiled"], counts["stored"], counts["hits_by_place"]["store"], counts["misses"])
            for which, counts in zip(("first", "second"), take_stats(project.stats), strict=True)
        ]
        rewritten = sorted(str(path.relative_to(project.cached)) for path in project.rewritten(project.cached))
    table(("", "run", "tests", "__pycache__ in the project", "rewritten into it", "into the cache"), rows)
    print()
    table(("run", "compiled", "stored", "from the cache", "misses"), counts)
    print()
    print("\n".join(new))
    print("in the cache, below the project's own path:")
    print("\n".join(rewritten))


if __name__ == "__main__":
    main()
