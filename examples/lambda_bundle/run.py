"""Build a function's bundle, zip it, unpack it where it cannot be written to, and count what its cold starts compile.

The bundle is built at the path where it will run, as in the build images of such services, because entries are named by
the paths of their sources.
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.dont_write_bytecode = True  # for this program's own modules
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mounts import read_only  # noqa: E402
from packages import copy_packages  # noqa: E402
from steps import COUNTERS, compiled_by_cpython, counters, finish, run, table, take_stats  # noqa: E402

HERE = Path(__file__).resolve().parent
HASHES = ("--invalidation-mode", "checked-hash")
SERVICE = """
import handler
answer = handler.handler({"dishes": {"soup": "4.20", "cake": "2.50"}}, None)
print(answer["statusCode"])
"""


class Function:
    """A bundle, from its build to its cold starts."""

    def __init__(self, folder: Path) -> None:
        self.task, self._stats = folder / "var" / "task", folder / "stats.jsonl"
        self.task.mkdir(parents=True)
        shutil.copy(HERE / "handler.py", self.task)
        shutil.copytree(HERE / "menu", self.task / "menu", ignore=shutil.ignore_patterns("__pycache__"))
        copy_packages(self.task, "pycachehook", "rich")

    def build(self, *module: object) -> None:
        """Run a module of Python in the bundle."""
        run(sys.executable, "-m", *module, cwd=self.task)

    def deploy(self) -> int:
        """Zip the bundle and unpack it at the same path; return how many sources have kept their modification time."""
        before = self._modification_times()
        archive = shutil.make_archive(str(self.task.parent / "bundle"), "zip", self.task)
        shutil.rmtree(self.task)
        shutil.unpack_archive(archive, self.task)
        return len(before.items() & self._modification_times().items())

    def sources(self) -> int:
        """Return the number of sources in the bundle."""
        return len(self._modification_times())

    def _modification_times(self) -> dict[Path, int]:
        return {path: int(path.stat().st_mtime) for path in self.task.rglob("*.py")}

    def start(self, under: list[str], **variables: object) -> tuple[int, dict[str, object]]:
        """Answer one event in a new process with the bundle and the standard library, but no other packages.

        Return how many of the bundle's modules CPython compiled, and pycachehook's counters, if it was used.
        """
        environment = {"PYTHONPATH": self.task, "PYTHONVERBOSE": 1, "PYCACHEHOOK_STATS": self._stats, **variables}
        told = finish(*under, sys.executable, "-S", "-c", SERVICE, **environment).stderr
        stats = take_stats(self._stats)[0] if self._stats.exists() else {}
        return len(compiled_by_cpython(told, self.task)), stats

    def attempt_to_write(self, under: list[str]) -> str:
        """Return the error message of a process that tries to write into the bundle."""
        command = [*under, "touch", "file"]
        return subprocess.run(command, cwd=self.task, capture_output=True, text=True, check=False).stderr.strip()


def build_stock(function: Function) -> None:
    """Build as many projects do: the pycs have the modification times of the build."""
    function.build("compileall", "-q", ".")


def build_stock_with_hashes(function: Function) -> None:
    """Build with CPython's solution for this case: hash-based pycs in the tree."""
    function.build("compileall", "-q", *HASHES, ".")


def build_with_cache(function: Function) -> None:
    """Build a cache, and pycs of CPython for the modules that are loaded before the hook is installed."""
    function.build("compileall", "-q", *HASHES, "handler.py", "pycachehook")
    function.build("pycachehook", "precompile", "--in-tree", "ignore", "--cache-dir", "pycache", ".")


def main() -> None:
    """Print a line for each cold start of each bundle."""
    off = {"PYCACHEHOOK_DISABLE": 1}
    ways = (
        ("compileall", build_stock, off),
        ("compileall with hashes", build_stock_with_hashes, off),
        ("pycachehook precompile", build_with_cache, {}),
    )
    rows, counts = [], []
    for name, build, variables in ways:
        with tempfile.TemporaryDirectory() as folder:
            function = Function(Path(folder).resolve())
            build(function)
            same = f"{function.deploy()} of {function.sources()}"
            pycs = [len(list(function.task.rglob("*.pyc"))), len(list(function.task.glob("pycache/**/*.pyc")))]
            with read_only(function.task) as under:
                for which in ("first", "second"):
                    compiled, stats = function.start(under, **variables)
                    rows.append((name, which, same, pycs[0] - pycs[1], pycs[1], compiled))
                    if stats:
                        counts.append((which, *counters(stats), stats["errors"]))
                refusal = function.attempt_to_write(under)
    heads = ("built by", "cold start", "same mtime", "pycs in the tree", "pycs in the cache", "compiled by CPython")
    table(heads, rows)
    print()
    table(("pycachehook", *COUNTERS, "errors"), counts)
    print()
    print(f"a process that wants to write into the bundle: {refusal}")


if __name__ == "__main__":
    main()
