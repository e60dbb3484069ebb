"""Start gunicorn with eight workers in a read-only tree, without and with pycachehook, and count the compilations.

The tree contains a virtual environment with gunicorn and flask from PyPI, installed without bytecode, and the
application.
"""

import http.client
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

sys.dont_write_bytecode = True  # for this program's own modules
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mounts import read_only  # noqa: E402
from steps import clean_environment, compiled_by_cpython, folders_of_bytecode, run, stop, table, take_stats  # noqa: E402

HERE = Path(__file__).resolve().parent
CLONE = HERE.parents[1]
WORKERS = 8
PATIENCE = 120  # seconds for all workers to be ready


class Tree:
    """A virtual environment with pycachehook, gunicorn and flask, and the application beside it."""

    def __init__(self, folder: Path) -> None:
        self.root, self.cache = folder / "tree", folder / "cache"
        self.application = self.root / "application"
        self.programs = self.root / "venv" / "bin"
        self._stats, self._log, self._told = (folder / name for name in ("stats.jsonl", "lookups.log", "stderr.txt"))
        shutil.copytree(HERE, self.application, ignore=shutil.ignore_patterns("__pycache__", "run.py", "README.md"))
        run(sys.executable, "-m", "venv", self.root / "venv")
        self._install(CLONE)
        self._install("--no-compile", "gunicorn", "flask")

    def _install(self, *what: object) -> None:
        run(self.programs / "python", "-m", "pip", "install", "-q", "--disable-pip-version-check", *what)

    def enable(self) -> None:
        """Enable the hook for every process of the environment."""
        run(self.programs / "pycachehook", "enable", "--cache-dir", self.cache)

    def start(self, under: list[str], **variables: object) -> str:
        """Start gunicorn by a command, request a page, stop it; return the output of it and CPython on stderr."""
        environment = clean_environment(PYCACHEHOOK_STATS=self._stats, PYCACHEHOOK_LOG=self._log, **variables)
        with self._told.open("ab") as stderr:  # all workers append to it
            command = [*under, str(self.programs / "gunicorn")]
            server = subprocess.Popen(command, cwd=self.application, env=environment, stderr=stderr)
        try:
            self._wait_until_ready(server)
            print("GET /goods/tea:", self._ask("/goods/tea"))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
        told = self._told.read_text(encoding="utf-8")
        self._told.unlink()
        return told

    def _wait_until_ready(self, server: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + PATIENCE
        while len(re.findall(r"Worker \d+ is ready", self._told.read_text(encoding="utf-8"))) < WORKERS:
            if time.monotonic() > end or server.poll() is not None:
                stop(f"gunicorn's workers did not get ready: {self._told.read_text(encoding='utf-8')[-1000:]}")
            time.sleep(0.1)

    def _ask(self, page: str) -> str:
        (address,) = re.findall(r"Listening at: http://(\S+)", self._told.read_text(encoding="utf-8"))
        connection = http.client.HTTPConnection(address, timeout=PATIENCE)
        connection.request("GET", page)
        answer = connection.getresponse().read().decode().strip()
        connection.close()
        return answer

    def compiled(self) -> list[Path]:
        """Return the tree's sources that were compiled with pycachehook since the last call, from its log."""
        lines = self._log.read_text(encoding="utf-8")
        self._log.unlink()
        found = map(Path, re.findall(r": miss \(\S+\) (.*), compiled", lines))
        return [path for path in found if path.is_relative_to(self.root)]

    def counters(self) -> tuple[int, int, int, int]:
        """Return the number of processes with counters since the last call, and the sums of the counters."""
        lines = take_stats(self._stats)
        found = [(line["compiled"], line["stored"], line["hits_by_place"]["store"]) for line in lines]
        compiled, stored, hits = map(sum, zip(*found, strict=True))
        return len(lines), compiled, stored, hits


def how_often(compiled: Iterable[Path]) -> tuple[int, int, int, int]:
    """Return how many modules were compiled in total, once, and once by each worker; and the number of compilations."""
    times = Counter(Counter(compiled).values())
    return times.total(), times[1], times[WORKERS], sum(number * modules for number, modules in times.items())


def main() -> None:
    """Print the answers of each start, and two tables: modules by number of compilations, and the counters."""
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(Path(folder).resolve())
        with read_only(tree.root) as under:
            stock = compiled_by_cpython(tree.start(under, PYTHONVERBOSE=1), tree.root)
        rows, counts = [("CPython, every start", *how_often(stock))], []
        tree.enable()
        bytecode = folders_of_bytecode(tree.root)
        with read_only(tree.root) as under:
            for which in ("first", "second"):
                tree.start(under)
                rows.append((f"pycachehook, {which} start", *how_often(tree.compiled())))
                counts.append((which, *tree.counters()))
        new = folders_of_bytecode(tree.root) - bytecode
        stock = compiled_by_cpython(tree.start([], PYTHONVERBOSE=1, PYCACHEHOOK_DISABLE=1), tree.root)
        rows.append(("CPython, in a writable tree, first start", *how_often(stock)))
        print()
        table(("", "modules compiled", "once", f"{WORKERS} times", "compilations"), rows)
        print()
        table(("start", "processes", "compiled", "stored", "from the cache"), counts)
        print(f"entries in the cache: {len(list(tree.cache.rglob('*.pyc')))}")
        print(f"__pycache__ that are new in the tree: {new}")


if __name__ == "__main__":
    main()
