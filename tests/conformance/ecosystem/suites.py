"""Two environments, with the hook and without it, and one package's tests run in both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[3]
PREFIX = "import sys; sys.pycache_prefix = {!r}\n"


@dataclass(frozen=True)
class Suite:
    """A package whose source distribution has its tests at `tests`, and what they need beside pytest."""

    name: str
    tests: str
    requirements: tuple[str, ...] = ()


SUITES = {suite.name: suite for suite in (Suite("pluggy", "testing", ("pytest-benchmark",)),)}


class Side:
    """An environment and a tree of its own: `hooked` by `pycachehook enable`, or with `sys.pycache_prefix` set."""

    def __init__(self, suite: Suite, source: Path, folder: Path, *, hooked: bool) -> None:
        self.suite = suite
        self.tree = folder / "tree"
        self._python = folder / "environment" / "bin" / "python"
        self._report = folder / "report.xml"
        self._stats = folder / "stats.jsonl"
        shutil.copytree(source, self.tree)
        venv.EnvBuilder(with_pip=True, symlinks=True).create(folder / "environment")
        own = (str(PROJECT),) if hooked else ()
        pip_install = (self._python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        run(*pip_install, "pytest", *suite.requirements, *own, str(source))
        if hooked:
            run(self._python, "-m", "pycachehook", "enable", "--cache-dir", folder / "cache")
        else:
            purelib = Path(sysconfig.get_path("purelib", "venv", {"base": str(folder / "environment")}))
            (purelib / "prefix.pth").write_text(PREFIX.format(str(folder / "cache")), encoding="utf-8")

    def outcomes(self, *tests: str) -> dict[str, str]:
        """Run these tests, or all; return the outcome of each by its node id."""
        self._report.unlink(missing_ok=True)
        options = ("-q", "-p", "no:cacheprovider", "-o", "junit_family=xunit1", "--junitxml", self._report)
        command = (self._python, "-m", "pytest", *options, *(tests or (self.suite.tests,)))
        run(*command, cwd=self.tree, check=False, PYCACHEHOOK_STATS=str(self._stats))
        if not self._report.exists():
            return {}
        return {node_id(case): outcome(case) for case in ET.parse(self._report).iter("testcase")}

    def lookups(self) -> int:
        """Return how many modules the hook has answered for so far, or compiled, in all processes."""
        lines = self._stats.read_text(encoding="utf-8").splitlines() if self._stats.exists() else []
        return sum(each["hits"] + each["compiled"] for each in map(json.loads, lines))

    def bytecode(self) -> list[str]:
        """Return what bytecode there is in the tree that did not come with the sources."""
        return sorted(str(path.relative_to(self.tree)) for path in self.tree.rglob("__pycache__"))


def node_id(case: ET.Element) -> str:
    """Return the id that pytest would run a test of its report by."""
    file, module, name = case.get("file", ""), case.get("classname", ""), case.get("name", "")
    within = module.removeprefix(file.removesuffix(".py").replace("/", ".")).strip(".")
    return "::".join((file, *filter(None, within.split(".")), name))


def outcome(case: ET.Element) -> str:
    """Return `passed`, or what else pytest's report says."""
    tags = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
    return "+".join(tags) or "passed"


def run(*command: str | Path, cwd: Path | None = None, check: bool = True, **more: str) -> None:
    """Run a command with nothing in its environment that steers Python or us, but for `more`."""
    steering = ("PYTHON", "PYCACHEHOOK_", "PYTEST_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(steering)} | more
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise RuntimeError(f"{command} failed:\n{done.stdout}{done.stderr}")


def download(suite: Suite, folder: Path) -> Path:
    """Return the unpacked source distribution of a package."""
    options = ("--quiet", "--no-deps", "--no-binary", ":all:", "--dest", folder)
    run(sys.executable, "-m", "pip", "download", *options, suite.name)
    (archive,) = folder.glob("*.tar.gz")
    shutil.unpack_archive(archive, folder / "unpacked", filter="data")
    return next((folder / "unpacked").iterdir())


@dataclass(frozen=True)
class Comparison:
    """What came of a suite: tests by outcome without the hook, those that differ, what the hook did, and bytecode in the tree."""

    counts: dict[str, int]
    differences: dict[str, tuple[str, str]]
    lookups: int
    bytecode: list[str]


def compare(suite: Suite, folder: Path) -> Comparison:
    """Run a suite on both sides. A test that differs is run again, alone on each side, before it counts."""
    source = download(suite, folder / "download")
    stock = Side(suite, source, folder / "stock", hooked=False)
    hooked = Side(suite, source, folder / "hooked", hooked=True)
    left, right = stock.outcomes(), hooked.outcomes()
    differences = {}
    for test in sorted(left.keys() | right.keys()):
        pair = left.get(test, "missing"), right.get(test, "missing")
        if pair[0] != pair[1]:
            pair = stock.outcomes(test).get(test, "missing"), hooked.outcomes(test).get(test, "missing")
        if pair[0] != pair[1]:
            differences[test] = pair
    counts = {word: list(left.values()).count(word) for word in sorted(set(left.values()))}
    return Comparison(counts, differences, hooked.lookups(), hooked.bytecode())
