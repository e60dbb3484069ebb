"""Two environments, with the hook and without it, in which one package's tests are run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from .. import sides
from .packages import Suite

HERE = Path(__file__).parent
PLUGIN, SCRIPTS = HERE / "report_outcomes.py", HERE / "run_scripts.py"
SIDE = "<side>"  # in a test's name, for the directory of the side
STEERING = (*sides.STEERING, "PYTEST_", "COVERAGE_", "XDG_")


class Side:
    """An environment with its own tree: `hooked` by `pycachehook enable`, or with `sys.pycache_prefix` set."""

    def __init__(self, suite: Suite, source: Path, folder: Path, *, hooked: bool) -> None:
        self.suite, self._folder = suite, folder
        self.tree = folder / "tree"
        self._python = folder / "environment" / "bin" / "python"
        self._outcomes, self._output = folder / "outcomes.json", folder / "output.txt"
        self._stats = folder / "stats.jsonl"
        self._own = {"HOME": folder / "home", "TMPDIR": folder / "tmp"}
        for place in self._own.values():
            place.mkdir(parents=True)
        shutil.copytree(source, self.tree)
        if not suite.from_index:
            shutil.copytree(source, folder / "source")  # a build may leave files there
        venv.EnvBuilder(symlinks=True).create(folder / "environment")
        own = (os.environ.get("TESTS_WHEEL", str(sides.PROJECT)),) if hooked else ()
        pip = (sys.executable, "-m", "pip", "--python", self._python)
        run(
            *pip,
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-compile",  # so that all bytecode comes from the side's own caches
            "pytest",
            *suite.requirements,
            *own,
            f"{suite.name}=={version_of(source)}" if suite.from_index else str(folder / "source"),
        )
        purelib = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "environment")}))
        for plugin in (PLUGIN, SCRIPTS):
            shutil.copy(plugin, purelib)
        if hooked:
            run(self._python, "-m", "pycachehook", "enable", "--cache-dir", folder / "cache")
        else:
            sides.set_prefix(purelib, folder / "cache")
        if suite.conftest:
            shutil.copy(HERE / suite.conftest, self.tree / suite.tests[0].split("/")[0] / "conftest.py")
        if suite.prepare:
            run(self._python, *suite.prepare, cwd=self.tree)
        for name in suite.unused:
            shutil.rmtree(self.tree / name)

    def start(self, *tests: str) -> subprocess.Popen[bytes]:
        """Start pytest on these tests, or all."""
        self._outcomes.unlink(missing_ok=True)
        plugins = (PLUGIN.stem, SCRIPTS.stem, "no:python") if self.suite.scripts else (PLUGIN.stem,)
        options = ["-q", "-p", "no:cacheprovider", *(word for name in plugins for word in ("-p", name))]
        options += self.suite.arguments
        command: tuple[str | Path, ...] = (
            self._python,
            "-m",
            "pytest",
            *options,
            *self._own_names(tests or self.suite.tests),
        )
        path = f"{self._python.parent}{os.pathsep}{os.environ['PATH']}"
        variables = sides.clean_environment(
            STEERING,
            **{name: str(place) for name, place in self._own.items()},
            PATH=path,
            PYCACHEHOOK_STATS=str(self._stats),
            ECOSYSTEM_OUTCOMES=str(self._outcomes),
        )
        with self._output.open("wb") as output:
            return subprocess.Popen(
                command,
                cwd=self.tree,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def outcomes(self) -> dict[str, str]:
        """Return the outcomes of the finished run by node id; empty if the run was aborted."""
        if not self._outcomes.exists():
            return {}
        found = json.loads(self._outcomes.read_text(encoding="utf-8"))
        return {
            re.sub(r"0x[0-9a-f]{6,}", "0xADDRESS", test.replace(str(self._folder), SIDE)): outcome
            for test, outcome in found.items()
        }

    def _own_names(self, tests: Iterable[str]) -> list[str]:
        """Return the node ids that these names of `outcomes` have on this side."""
        return [test.replace(SIDE, str(self._folder)) for test in tests]

    def last_words(self) -> str:
        """Return the end of pytest's output."""
        return self._output.read_text(encoding="utf-8", errors="replace")[-3000:]

    def lookups(self) -> int:
        """Return the numbers of modules that the hook has served and compiled, in all processes."""
        lines = self._stats.read_text(encoding="utf-8").splitlines() if self._stats.exists() else []
        return sum(each["hits"] + each["compiled"] for each in map(json.loads, lines))

    def bytecode(self) -> list[str]:
        """Return the bytecode files in the tree that did not come with the sources."""
        return sorted(str(path.relative_to(self.tree)) for path in self.tree.rglob("__pycache__"))


def run(*command: str | Path, cwd: Path | None = None) -> None:
    """Run a command, which must succeed."""
    done = subprocess.run(
        command, cwd=cwd, env=sides.clean_environment(STEERING), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout}{done.stderr}")


def download(suite: Suite, folder: Path) -> Path:
    """Return the unpacked source distribution of a package."""
    options = ("--quiet", "--no-deps", "--no-binary", suite.name, "--dest", folder)
    run(sys.executable, "-m", "pip", "download", *options, suite.name + suite.version)
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder / "unpacked", filter="data")
    return next((folder / "unpacked").iterdir())


def version_of(source: Path) -> str:
    """Return the version in the name of an unpacked source distribution."""
    return source.name.rpartition("-")[2]


@dataclass(frozen=True)
class Comparison:
    """The result of a suite.

    It has the version of the package; the number of tests with each outcome without the hook; the tests that differ,
    with both outcomes, the one without the hook first; the tests that differed only in the first run; those that fail
    on both sides; the hook's counters; and bytecode that is in the tree only with the hook. `last_words` is the end of pytest's output without the hook, if no test passed there.
    """

    version: str
    counts: dict[str, int]
    differences: dict[str, tuple[str, str]]
    unsteady: list[str]
    fail_on_both: list[str]
    lookups: int
    bytecode: list[str]
    last_words: str = ""


def compare(suite: Suite, folder: Path) -> Comparison:
    """Run a suite on both sides. A test that differs is run again, alone on each side, before it counts."""
    source = download(suite, folder / "download")
    stock = Side(suite, source, folder / "stock", hooked=False)
    # A path of the same length, because some texts are cut by width.
    hooked = Side(suite, source, folder / "hooks", hooked=True)
    left, right = outcomes(stock, hooked)
    differences, unsteady = {}, []
    for test, pair in differing(left, right).items():
        alone = differing(*outcomes(stock, hooked, test))
        if test in alone:
            differences[test] = alone[test]
        elif test in stock.outcomes():
            unsteady.append(test)
        else:  # it cannot be run alone
            differences[test] = pair
    counts = {word: list(left.values()).count(word) for word in sorted(set(left.values()))}
    last_words = "" if "passed" in counts else stock.last_words()
    bytecode = sorted(set(hooked.bytecode()) - set(stock.bytecode()))  # a test's own interpreters may have no prefix
    bad = failing(left, right)
    return Comparison(version_of(source), counts, differences, unsteady, bad, hooked.lookups(), bytecode, last_words)


def outcomes(stock: Side, hooked: Side, *tests: str) -> tuple[dict[str, str], dict[str, str]]:
    """Run these tests, or all, on both sides at once; return the outcomes, first those without the hook."""
    for process in [side.start(*tests) for side in (stock, hooked)]:
        process.wait()
    return stock.outcomes(), hooked.outcomes()


def differing(left: dict[str, str], right: dict[str, str]) -> dict[str, tuple[str, str]]:
    """Return the tests with two outcomes, with both; one that only one side has is `missing` on the other."""
    pairs = {
        test: (left.get(test, "missing"), right.get(test, "missing")) for test in sorted(left.keys() | right.keys())
    }
    return {test: pair for test, pair in pairs.items() if pair[0] != pair[1]}


def failing(left: dict[str, str], right: dict[str, str]) -> list[str]:
    """Return the tests that fail on both sides alike."""
    return [test for test, outcome in left.items() if outcome in ("failed", "error") and right.get(test) == outcome]
