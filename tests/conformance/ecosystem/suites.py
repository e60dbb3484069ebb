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
from dataclasses import dataclass
from pathlib import Path

from .. import sides

PLUGIN = Path(__file__).with_name("report_outcomes.py")
STEERING = (*sides.STEERING, "PYTEST_", "COVERAGE_", "XDG_")


@dataclass(frozen=True)
class Suite:
    """A package whose source distribution has its tests at `tests`, and the packages they need beside pytest.

    `arguments` go to pytest; `prepare` is a script of the tree, with its arguments, that must run first; `unused` is
    then removed from the tree, because the tests would import it instead of the installed package.
    """

    name: str
    tests: tuple[str, ...] = ("tests",)
    requirements: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    prepare: tuple[str, ...] = ()


# The parts of coverage's tests that measure programs, in the same process and in others.
COVERAGE = ("api", "arcs", "concurrency", "context", "coverage", "execfile", "oddball", "plugins", "process", "python")

# The parts of setuptools' tests that build in this process, and need no network.
SETUPTOOLS = (
    "archive_util",
    "build_py",
    "config_discovery",
    "dist",
    "find_packages",
    "find_py_modules",
    "glob",
    "sdist",
)

# Django's tests of imports that need no installed applications, which pytest does not set up: reloading, lazy loading.
DJANGO = ("autoreload", "functional", "lazyobject", "module_loading")

# IPython's tests of its own imports, reloads, and programs that it runs.
IPYTHON = (
    *("compilerop", "completerlib", "deepreload", "extension", "imports", "importstring", "module_paths", "oinspect"),
    *("run", "syspathcontext", "ultratb", "zzz_autoreload"),
)

PYTEST_REQUIREMENTS = ("argcomplete", "attrs", "hypothesis", "mock", "pexpect", "pygments", "pytest-xdist", "xmlschema")

SUITES = {
    suite.name: suite
    for suite in (
        Suite("attrs", requirements=("cloudpickle", "hypothesis", "pympler"), arguments=("--hypothesis-seed=0",)),
        Suite("beartype", ("beartype_test",)),
        Suite("click"),
        Suite(
            "coverage",
            tuple(f"tests/test_{name}.py" for name in COVERAGE),
            requirements=("flaky", "hypothesis", "pytest-xdist", "setuptools"),
            arguments=("-n0", "-o", "addopts=-p no:legacypath --no-flaky-report"),
            unused=("coverage", "coverage.egg-info"),
            prepare=("tools/igor.py", "zip_mods"),
        ),
        Suite("dill", ("dill/tests",), arguments=("--continue-on-collection-errors",)),  # some are scripts
        Suite(
            "django",
            tuple(f"tests/utils_tests/test_{name}.py" for name in DJANGO),
            requirements=("pytest-django",),
            arguments=("--ds=test_sqlite", "-o", "pythonpath=tests"),
        ),
        Suite(
            "eventlet", ("tests/patcher_test.py", "tests/greenio_test.py"), arguments=("-o", "python_files=*_test.py")
        ),
        Suite("flask", requirements=("asgiref", "greenlet", "python-dotenv", "pytest<9")),
        Suite("freezegun"),
        Suite("hy"),
        Suite("importlib-metadata", requirements=("packaging", "pyfakefs", "setuptools")),
        Suite("importlib-resources", ("importlib_resources/tests",), requirements=("jaraco.test", "zipp")),
        Suite(
            "ipython",
            tuple(f"tests/test_{name}.py" for name in IPYTHON),
            requirements=("pytest-asyncio", "setuptools", "testpath"),
        ),
        Suite("jinja2", requirements=("trio",)),
        Suite("lazy-loader"),
        Suite("packaging", requirements=("hypothesis", "pretend", "tomli_w")),
        Suite("pluggy", ("testing",), requirements=("pytest-benchmark",)),
        Suite("pytest", ("testing",), requirements=(*PYTEST_REQUIREMENTS, "requests", "setuptools")),
        Suite("pyfakefs", ("pyfakefs/tests",)),
        Suite(
            "setuptools",
            tuple(f"setuptools/tests/test_{name}.py" for name in SETUPTOOLS),
            requirements=(
                "build",
                "ini2toml[lite]",
                "jaraco.envs",
                "jaraco.path",
                "jaraco.test",
                "pytest-home",
                "wheel",
            ),
            arguments=("-o", "addopts="),
        ),
        Suite("wrapt", ("tests/core",)),
        Suite("typeguard", requirements=("mypy", "typing_extensions")),
    )
}


class Side:
    """An environment with its own tree: `hooked` by `pycachehook enable`, or with `sys.pycache_prefix` set."""

    def __init__(self, suite: Suite, source: Path, folder: Path, *, hooked: bool) -> None:
        self.suite = suite
        self.tree = folder / "tree"
        self._python = folder / "environment" / "bin" / "python"
        self._outcomes, self._output = folder / "outcomes.json", folder / "output.txt"
        self._stats = folder / "stats.jsonl"
        self._own = {"HOME": folder / "home", "TMPDIR": folder / "tmp"}
        for place in self._own.values():
            place.mkdir(parents=True)
        shutil.copytree(source, self.tree)
        shutil.copytree(source, folder / "source")  # a build may leave files there
        venv.EnvBuilder(symlinks=True).create(folder / "environment")
        own = (os.environ.get("TESTS_WHEEL", str(sides.PROJECT)),) if hooked else ()
        pip = (sys.executable, "-m", "pip", "--python", self._python)
        run(
            *pip,
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "pytest",
            *suite.requirements,
            *own,
            str(folder / "source"),
        )
        purelib = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "environment")}))
        shutil.copy(PLUGIN, purelib)
        if hooked:
            run(self._python, "-m", "pycachehook", "enable", "--cache-dir", folder / "cache")
        else:
            sides.set_prefix(purelib, folder / "cache")
        if suite.prepare:
            run(self._python, *suite.prepare, cwd=self.tree)
        for name in suite.unused:
            shutil.rmtree(self.tree / name)

    def start(self, *tests: str) -> subprocess.Popen[bytes]:
        """Start pytest on these tests, or all."""
        self._outcomes.unlink(missing_ok=True)
        options = ("-q", "-p", "no:cacheprovider", "-p", PLUGIN.stem, *self.suite.arguments)
        command: tuple[str | Path, ...] = (self._python, "-m", "pytest", *options, *(tests or self.suite.tests))
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
        return {re.sub(r"0x[0-9a-f]{6,}", "0xADDRESS", test): outcome for test, outcome in found.items()}

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
    run(sys.executable, "-m", "pip", "download", *options, suite.name)
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder / "unpacked", filter="data")
    return next((folder / "unpacked").iterdir())


@dataclass(frozen=True)
class Comparison:
    """The result of a suite.

    It has the version of the package; the number of tests with each outcome without the hook; the tests that differ, with both outcomes, the one
    without the hook first; the tests that differed only in the first run; the hook's counters; and bytecode in the
    tree. `last_words` is the end of pytest's output without the hook, if no test passed there.
    """

    version: str
    counts: dict[str, int]
    differences: dict[str, tuple[str, str]]
    unsteady: list[str]
    lookups: int
    bytecode: list[str]
    last_words: str = ""


def compare(suite: Suite, folder: Path) -> Comparison:
    """Run a suite on both sides. A test that differs is run again, alone on each side, before it counts."""
    source = download(suite, folder / "download")
    stock = Side(suite, source, folder / "stock", hooked=False)
    hooked = Side(
        suite, source, folder / "hooks", hooked=True
    )  # a path of the same length, because some texts are cut by width
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
    version = source.name.rpartition("-")[2]
    return Comparison(version, counts, differences, unsteady, hooked.lookups(), hooked.bytecode(), last_words)


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
