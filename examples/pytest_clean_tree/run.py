"""Run a project's tests twice by pytest, without and with pycachehook, and look at what that leaves in the project."""

import importlib.util
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.dont_write_bytecode = True  # of this program itself
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from steps import folders_of_bytecode, run, stop, table, take_stats  # noqa: E402

PROJECT = Path(__file__).resolve().parent / "project"


def make_environment(folder: Path) -> Path:
    """Make a virtual environment that has the packages of this one, which stays as it is; return its Python."""
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
        self.cached = self.cache / self.root.relative_to("/")  # where the project's entries are
        self.python = make_environment(folder / "environment")
        shutil.copytree(PROJECT, self.root, ignore=shutil.ignore_patterns("__pycache__"))
        self._came_with = set(self.root.rglob("*"))

    def test(self, **variables: object) -> str:
        """Run the tests; return pytest's last words, without the seconds."""
        said = run(self.python, "-m", "pytest", "-q", cwd=self.root, PYCACHEHOOK_STATS=self.stats, **variables)
        return re.sub(r" in .*", "", said.splitlines()[-1])

    def rewritten(self, place: Path) -> dict[Path, int]:
        """Return the modules below a place whose assertions pytest has rewritten, with the time of that."""
        return {path: path.stat().st_mtime_ns for path in place.rglob("*-pytest-*.pyc")}

    def new(self) -> str:
        """Return what is in the project now and has not come with it, the outermost directories only."""
        found = {path for path in self.root.rglob("*") if path not in self._came_with}
        return ", ".join(sorted(str(path.relative_to(self.root)) for path in found if path.parent not in found))


def starts(project: Project, **variables: object) -> Iterator[tuple[object, ...]]:
    """Run the tests twice; yield for each how they went, what is in the tree, and what pytest rewrote where."""
    places = (project.root, project.cached)
    before: list[dict[Path, int]] = [{}, {}]
    for which in ("first", "second"):
        result = project.test(**variables)
        now = [project.rewritten(place) for place in places]
        rewritten = [len(found.items() - known.items()) for found, known in zip(now, before, strict=True)]
        before = now
        yield which, result, folders_of_bytecode(project.root), *rewritten


def main() -> None:
    """Print a line for each run, what is new in the project, and where the rewritten tests are."""
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
            (which, each["compiled"], each["stored"], each["hits_by_place"]["store"], each["misses"])
            for which, each in zip(("first", "second"), take_stats(project.stats), strict=True)
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
