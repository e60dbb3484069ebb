"""Start the same program in three new environments: with CPython alone, and with each layout of the cache."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.dont_write_bytecode = True  # for this program's own modules
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from packages import copy_packages  # noqa: E402
from steps import compiled_by_cpython, finish, run, table, take_stats  # noqa: E402

ENVIRONMENTS = 3
PROGRAM = """
import rich.console, rich.markdown, rich.table
print(rich.console.Console.print.__code__.co_filename)
"""
QUIET = {"PYTHONDONTWRITEBYTECODE": 1}


class Environment:
    """A virtual environment with packages that were installed without bytecode."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.stats = folder, folder / "stats.jsonl"
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        self.python = folder / "bin" / "python"
        self.site = Path(run(self.python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
        copy_packages(self.site, "pycachehook", "rich")

    def enable(self, *options: object) -> None:
        """Enable the hook."""
        run(self.python, "-m", "pycachehook", "enable", *options, **QUIET)

    def disable(self) -> None:
        """Disable the hook."""
        run(self.python, "-m", "pycachehook", "disable", **QUIET)

    def start(self) -> tuple[int, int, str]:
        """Start the program; return the numbers of compiled and cached files, and its output."""
        said = run(self.python, "-c", PROGRAM, PYCACHEHOOK_STATS=self.stats)
        (stats,) = take_stats(self.stats)
        return stats["compiled"], stats["hits_by_place"]["store"], said

    def start_alone(self) -> tuple[int, int, str]:
        """Do the same with CPython alone."""
        done = finish(self.python, "-c", PROGRAM, PYTHONVERBOSE=1)
        return len(compiled_by_cpython(done.stderr, self.site)), 0, done.stdout

    def own(self, said: str) -> str:
        """Return whether a path is in this environment."""
        return "yes" if said.strip() == str(self.site / "rich" / "console.py") else "no"


def starts(folder: Path) -> Iterator[tuple[object, ...]]:
    """Yield the results of a start in each environment, for each layout and for CPython alone."""
    environments = [Environment(folder / f"environment-{number + 1}") for number in range(ENVIRONMENTS)]
    for layout in ("mirror", "shared"):
        for number, environment in enumerate(environments, start=1):
            environment.enable("--layout", layout, "--cache-dir", folder / layout)
            compiled, found, said = environment.start()
            yield f"pycachehook, {layout}", number, compiled, found, environment.own(said)
            environment.disable()
    for number, environment in enumerate(environments, start=1):
        compiled, found, said = environment.start_alone()
        yield "CPython", number, compiled, found, environment.own(said)


def main() -> None:
    """Print what was compiled in each environment."""
    with tempfile.TemporaryDirectory() as folder:
        rows = list(starts(Path(folder).resolve()))
    table(("", "environment", "compiled", "from the cache", "its own paths"), rows)


if __name__ == "__main__":
    main()
