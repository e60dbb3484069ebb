"""One program, run four times: by the standard loader and by this package's, with an empty cache and with a full one.

The standard loader runs under `PYTHONPYCACHEPREFIX`, this package under `pycachehook.install()` with the same
directory, so that even the paths of bytecode must agree. Between runs each side's cache is moved to its own name.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conftest import clean_environment
from pycachehook.loader import CachingLoader

Json = Any  # the result of `json.loads`
Sources = Mapping[str, str | bytes]
Cases = Mapping[str, tuple[str, Json]]
Prepare = Callable[[Path], object]

SIDES = ("stock", "ours")

CHILD = Path(__file__).parent / "child"  # on the PYTHONPATH of all children


@dataclass(frozen=True)
class Child:
    """The result of one run; `stats` is None without the hook, and if a process could not write its counters."""

    returncode: int  # negative: the number of the signal that ended it
    stdout: str
    stderr: str
    stats: Json = None

    @property
    def outcome(self) -> tuple[int, str, str]:
        """Status and output, with the name of this package's loader replaced by the standard loader's."""
        return self.returncode, as_stock_type(self.stdout), as_stock_type(self.stderr)

    @property
    def answer(self) -> Json:
        """The JSON on its standard output."""
        assert self.returncode == 0, self.stdout + self.stderr
        return json.loads(as_stock_type(self.stdout))


@dataclass(frozen=True)
class Comparison:
    """The four runs of one program."""

    stock_cold: Child
    stock_warm: Child
    cold: Child
    warm: Child

    def assert_same(self) -> None:
        """Check that output, errors and exit status are the same, cold and warm."""
        assert self.cold.outcome == self.stock_cold.outcome
        assert self.warm.outcome == self.stock_warm.outcome

    def assert_cached(self) -> None:
        """Check that the hook stored something in the cold run and compiled nothing in the warm one."""
        assert self.cold.stats["stored"] > 0, self.cold
        assert self.warm.stats["compiled"] == 0, self.warm
        assert self.warm.stats["hits"] > 0, self.warm


class Lab:
    """The directories of the runs: a tree of sources, and a cache directory that the sides use in turn."""

    def __init__(self, factory: pytest.TempPathFactory, sources: Sources) -> None:
        base = factory.getbasetemp() / "conformance"
        self.cache = base / "cache"
        self.tree = factory.mktemp("tree")
        self._stats = base / "stats"
        if not base.exists():  # entries of the standard library are kept between tests; each tree is new
            for side in SIDES:
                (base / side).mkdir(parents=True)
        write_tree(self.tree, sources)

    def compare(
        self,
        *arguments: str | Path,
        flags: tuple[str, ...] = (),
        run: bool = False,
        cwd: Path | None = None,
        prepare: Prepare = bool,
        prefix: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Comparison:
        """Run `python FLAGS ARGUMENTS` on both sides, twice each.

        `prepare` receives each side's cache before its first run. Without `prefix` CPython keeps its bytecode in the
        tree. With `run`, the side with the hook is `pycachehook run ARGUMENTS`, and `python`, which caches no program,
        runs once.
        """
        runs = []
        for side in SIDES:
            prepare(self.cache.with_name(side))
            variables = {"PYTHONPATH": str(CHILD), "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1", **(environment or {})}
            command = [sys.executable, *flags]
            if side == "stock":
                variables |= {"PYTHONPYCACHEPREFIX": str(self.cache)} if prefix else {}
            elif run:
                command += ["-m", "pycachehook", "run", "--cache-dir", str(self.cache)]
            else:
                variables["CONFORMANCE_CACHE"] = str(self.cache)
            command += map(str, arguments)
            times = 1 if run and side == "stock" else 2
            runs.append([self._run(side, command, variables, cwd or self.tree) for _ in range(times)])
        stock, ours = runs
        return Comparison(stock[0], stock[-1], *ours)

    def sides(self) -> list[Path]:
        """Return each side's cache directory between runs."""
        return [self.cache.with_name(side) for side in SIDES]

    def _run(self, side: str, command: list[str], variables: dict[str, str], cwd: Path) -> Child:
        aside = self.cache.with_name(side)
        aside.rename(self.cache)
        self._stats.unlink(missing_ok=True)
        try:
            process = subprocess.run(
                command,
                env=clean_environment(PYCACHEHOOK_STATS=str(self._stats), **variables),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                check=False,
                timeout=120,
            )
        finally:
            self.cache.rename(aside)
        lines = self._stats.read_text(encoding="utf-8").splitlines() if self._stats.exists() else []
        stats = json.loads(lines[-1]) if lines else None  # those of the process that ended last
        return Child(process.returncode, process.stdout, process.stderr, stats)


class Battery:
    """Many small cases in one program.

    A case is the body of a function and the result expected from the standard loader: a JSON value, in which a pattern
    stands for a text that contains it, and a mapping for one that has at least these items. `<tree>` and `<cache>`
    stand for the directories. If a case raises, the exception is its result (see `raised` in `child/prelude.py`).
    """

    def __init__(self, sources: Sources, cases: Cases, *, changing: bool = False, **options: Any) -> None:
        """Prepare the cases; pass `changing` if the program writes sources, so that its second run compiles, too."""
        self._changing = changing
        self.names = list(cases)
        self._expected = {name: expected for name, (_, expected) in cases.items()}
        functions = "".join(
            f"\n\n@case\ndef {name}():\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
            for name, (body, _) in cases.items()
        )
        self._sources = {**sources, "program.py": f"from prelude import *\n{functions}\n\nmain()\n"}
        self._options = options
        self._done: tuple[Lab, Comparison] | None = None

    def check(self, factory: pytest.TempPathFactory, name: str) -> None:
        """Check that the standard loader's result of one case is the expected one, and the hook's the same."""
        if self._done is None:
            lab = Lab(factory, self._sources)
            self._done = lab, lab.compare("program.py", **self._options)
        lab, runs = self._done
        stock = runs.stock_cold.answer[name]
        if not self._changing:
            runs.assert_cached()
        assert runs.warm.stats["hits"] > 0
        assert_like(stock, self._expected[name], {"<tree>": str(lab.tree), "<cache>": str(lab.cache)})
        assert runs.cold.answer[name] == stock
        assert runs.warm.answer[name] == runs.stock_warm.answer[name]

    def check_all(self, factory: pytest.TempPathFactory) -> None:
        """Check every case."""
        for name in self.names:
            self.check(factory, name)


def assert_like(found: Json, expected: Json, names: Mapping[str, str]) -> None:
    """Check that `found` matches `expected`, as described in `Battery`."""
    if isinstance(expected, re.Pattern):
        text = found if isinstance(found, str) else json.dumps(found)
        assert expected.search(text), f"{expected.pattern!r} is not in {text}"
    elif isinstance(expected, dict):
        for key, value in expected.items():
            assert_like(found[key], value, names)
    elif isinstance(expected, list):
        assert len(found) == len(expected), found
        for each, value in zip(found, expected, strict=True):
            assert_like(each, value, names)
    else:
        if isinstance(expected, str):
            for name, value in names.items():
                expected = expected.replace(name, value)
        assert found == expected


def write_tree(root: Path, sources: Sources) -> None:
    """Write files below `root`; a name that ends in a slash makes an empty directory."""
    for name, content in sources.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def as_stock_type(text: str) -> str:
    """Replace the loader's type name by the standard loader's; the different type is the only intended difference."""
    return text.replace(CachingLoader.__name__, "SourceFileLoader")
