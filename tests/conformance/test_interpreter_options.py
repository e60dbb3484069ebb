"""Python's own options: optimization, `-B`, `-W`, `--check-hash-based-pycs`, and bytecode from elsewhere."""

from __future__ import annotations

import os
import py_compile
import re
import shutil
import sys
from pathlib import Path
from py_compile import PycInvalidationMode

import pytest

from .harness import Battery, Json, Lab

OPTIMIZED = {
    "level.py": '''"""Docs."""


def checked():
    """More docs."""
    assert False, "asserted"
    return __debug__
''',
}

LEVELS: dict[tuple[str, ...], list[Json]] = {
    (): ["Docs.", "More docs.", {"raised": "AssertionError"}, 0, "cpython-[0-9]+.pyc"],
    ("-O",): ["Docs.", "More docs.", False, 1, "opt-1.pyc"],
    ("-OO",): [None, None, False, 2, "opt-2.pyc"],
}


@pytest.mark.parametrize("flags", LEVELS, ids=lambda flags: "".join(flags) or "none")
def test_optimization(flags: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Docstrings, assertions and the entry's name depend on `-O` and `-OO` in the same way."""
    doc, inner, outcome, level, suffix = LEVELS[flags]
    expression = "[each for each in (level.__doc__, level.checked.__doc__, sys.flags.optimize, level.__spec__.cached)]"
    Battery(
        OPTIMIZED,
        {
            "docs": (
                f"import level\nreturn {expression}",
                [doc, inner, level, re.compile(f"level[.]{suffix}|[.]{suffix}$")],
            ),
            "assertion": ("import level\nreturn level.checked()", outcome),
        },
        flags=flags,
    ).check_all(tmp_path_factory)


def test_optimization_levels_do_not_mix(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A cache filled at one level has no effect at another."""
    program = "import level\nprint(level.__doc__, level.checked.__doc__, level.__spec__.cached.rpartition('.')[0][-5:])"
    lab = Lab(tmp_path_factory, {**OPTIMIZED, "program.py": program})
    seen = set()
    for flags in (*LEVELS, *reversed(LEVELS)):
        runs = lab.compare("program.py", flags=flags)
        runs.assert_same()
        assert runs.warm.stats["compiled"] == 0
        seen.add(runs.cold.stdout)
    assert len(seen) == len(LEVELS)


@pytest.mark.parametrize(("flags", "environment"), [(("-B",), {}), ((), {"PYTHONDONTWRITEBYTECODE": "1"})])
def test_no_bytecode(
    flags: tuple[str, ...], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With `-B` or its variable neither loader writes bytecode, and both load modules."""
    program = "import plain, sys\nprint(plain.VALUE, sys.dont_write_bytecode, plain.__spec__.cached)"
    lab = Lab(tmp_path_factory, {"plain.py": "VALUE = 1\n", "program.py": program})
    runs = lab.compare("program.py", flags=flags, environment=environment)
    runs.assert_same()
    assert runs.stock_cold.stdout.startswith("1 True ")
    assert (runs.cold.stats["stored"], runs.warm.stats["compiled"]) == (0, 1)
    assert not [path for side in lab.sides() for path in entries(side, lab.tree)]
    assert not list(lab.tree.rglob("*.pyc"))


def entries(side: Path, tree: Path) -> list[Path]:
    """Return the entries for the tree in one side's cache."""
    return list((side / tree.relative_to("/")).rglob("*.pyc"))


DOUBTFUL = {
    "doubtful.py": "def f(x):\n    return x is 1\n",
    "warned.py": "import warnings\nwarnings.warn('in the body')\n",
    "wants_doubtful.py": "import doubtful; doubtful\n",
}


@pytest.mark.parametrize(
    ("flags", "name", "error"),
    [
        (("-W", "error"), "doubtful", 'SyntaxError: "is" with'),
        (("-W", "error"), "wants_doubtful", 'SyntaxError: "is" with'),
        (("-W", "error::SyntaxWarning"), "doubtful", 'SyntaxError: "is" with'),
        (("-W", "error"), "warned", "UserWarning: in the body"),
        (("-W", "error::UserWarning:warned"), "warned", "UserWarning: in the body"),
    ],
)
def test_warning_made_an_error(
    flags: tuple[str, ...], name: str, error: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A warning that `-W` makes an error stops the import with the same traceback, every time."""
    lab = Lab(tmp_path_factory, {**DOUBTFUL, "program.py": f"x = 1\nimport {name}; {name}\n"})
    runs = lab.compare("program.py", flags=flags)
    runs.assert_same()
    assert runs.stock_cold.returncode == 1
    assert error in runs.stock_cold.stderr
    assert runs.stock_warm == runs.stock_cold


@pytest.mark.parametrize(
    ("flags", "warned"),
    [
        ((), True),
        (("-W", "ignore"), False),
        (("-W", "ignore::SyntaxWarning"), False),
        (("-W", "ignore::SyntaxWarning:doubtful"), None),  # from 3.15 on the compiler receives the module's name
        (("-W", "always::SyntaxWarning"), True),
        (("-X", "dev"), True),
    ],
)
def test_syntax_warning(flags: tuple[str, ...], warned: bool | None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A SyntaxWarning is printed, with its location, when a source is compiled.

    With warning filters given, a source that causes a warning is compiled at every start, so that the filters always
    decide. CPython compiles it again with no filter.
    """
    lab = Lab(tmp_path_factory, {**DOUBTFUL, "program.py": "import wants_doubtful; wants_doubtful\n"})
    runs = lab.compare("program.py", flags=flags)
    assert runs.cold.outcome == runs.stock_cold.outcome
    assert runs.warm.outcome == (runs.stock_cold if flags else runs.stock_warm).outcome
    assert runs.warm.stats["compiled"] == bool(flags)
    told = f'{lab.tree}/doubtful.py:2: SyntaxWarning: "is" with' in runs.stock_cold.stderr
    assert told is (sys.version_info < (3, 15) if warned is None else warned)
    assert runs.stock_warm.stderr == ""


@pytest.mark.parametrize(
    "flags", [("-X", "dev", "-W", "error"), ("-bb", "-W", "error"), ("-X", "warn_default_encoding")]
)
def test_strict_modes(flags: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> None:
    """The hook causes no warning in any of the interpreter's strict modes."""
    sources = {"pack/__init__.py": "from . import a, b\n", "pack/a.py": "A = 1\n", "pack/b.py": "from .a import A\n"}
    lab = Lab(tmp_path_factory, {**sources, "program.py": "import gc, pack\nprint(pack.b.A)\ngc.collect()\n"})
    runs = lab.compare("program.py", flags=flags)
    runs.assert_same()
    runs.assert_cached()
    assert runs.stock_cold.outcome == (0, "1\n", "")


def emptied(cache: Path) -> None:
    """Remove all entries of a side, the standard library's, too."""
    shutil.rmtree(cache)
    cache.mkdir()


@pytest.mark.parametrize("layout", ["mirror", "shared"])
def test_development_mode_with_no_bytecode_at_all(layout: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """In development mode, loading an extension module imports `encodings.ascii`, which may itself be a miss.

    The first miss loads an extension module for its lock.
    """
    lab = Lab(tmp_path_factory, {"helper.py": "VALUE = 1\n", "program.py": "import helper\nprint(helper.VALUE)\n"})
    runs = lab.compare(
        "program.py",
        flags=("-X", "dev"),
        prepare=emptied,
        environment={"PYCACHEHOOK_IN_TREE": "ignore", "PYCACHEHOOK_LAYOUT": layout},
    )
    runs.assert_same()
    runs.assert_cached()
    assert runs.stock_cold.outcome == (0, "1\n", "")


OLD, NEW = "VALUE = 'old'\n", "VALUE = 'new code'\n"
PRINT = "import changed, sys\nprint(changed.VALUE, changed.__spec__.cached)"
CHECKS = [
    # kind of pyc, --check-hash-based-pycs, result of a stale one
    (PycInvalidationMode.CHECKED_HASH, "default", "new code"),
    (PycInvalidationMode.CHECKED_HASH, "always", "new code"),
    (PycInvalidationMode.CHECKED_HASH, "never", "old"),
    (PycInvalidationMode.UNCHECKED_HASH, "default", "old"),
    (PycInvalidationMode.UNCHECKED_HASH, "always", "new code"),
    (PycInvalidationMode.UNCHECKED_HASH, "never", "old"),
    (PycInvalidationMode.TIMESTAMP, "default", "new code"),
]
by_name = pytest.mark.parametrize(
    ("mode", "check", "value"), CHECKS, ids=lambda value: str(getattr(value, "name", value))
)


def stale(lab: Lab, target: Path, mode: PycInvalidationMode) -> None:
    """Put a pyc of the old source at `target`, and leave the new source in the tree."""
    source = lab.tree / "changed.py"
    source.write_text(OLD, encoding="utf-8")
    os.utime(source, (1, 1))
    target.parent.mkdir(parents=True, exist_ok=True)
    py_compile.compile(str(source), cfile=str(target), doraise=True, invalidation_mode=mode)
    source.write_text(NEW, encoding="utf-8")


@by_name
def test_check_of_hash_based_pycs(
    mode: PycInvalidationMode, check: str, value: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A stale pyc in the cache is used or rejected as CPython does, if its mode is the invalidation mode."""
    lab = Lab(tmp_path_factory, {"program.py": PRINT})
    name = f"changed.{sys.implementation.cache_tag}.pyc"
    runs = lab.compare(
        "program.py",
        flags=("--check-hash-based-pycs", check),
        prepare=lambda side: stale(lab, side / lab.tree.relative_to("/") / name, mode),
        environment={"PYCACHEHOOK_INVALIDATION_MODE": mode.name.lower().replace("_", "-")},
    )
    runs.assert_same()
    assert runs.stock_cold.stdout.startswith(f"{value} {lab.cache}")
    assert runs.cold.stats["compiled"] == (value != "old")
    assert runs.warm.stats["compiled"] == 0


@by_name
def test_stale_pyc_beside_the_source(
    mode: PycInvalidationMode, check: str, value: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A stale pyc that a package ships in its `__pycache__` is used or rejected as CPython does."""
    assert_shipped(tmp_path_factory, mode, check, value, fresh=False)


@pytest.mark.parametrize("mode", PycInvalidationMode)
def test_pyc_beside_the_source(mode: PycInvalidationMode, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A pyc that a package ships in its `__pycache__` is used whenever CPython uses it."""
    assert_shipped(tmp_path_factory, mode, "default", "new code", fresh=True)


def assert_shipped(
    tmp_path_factory: pytest.TempPathFactory, mode: PycInvalidationMode, check: str, value: str, *, fresh: bool
) -> None:
    """Compare with an in-tree pyc: of the current source, if `fresh`, otherwise of an earlier one."""
    lab = Lab(tmp_path_factory, {"program.py": PRINT.replace(", changed.__spec__.cached", "")})
    target = lab.tree / "__pycache__" / f"changed.{sys.implementation.cache_tag}.pyc"

    def prepare(_side: Path) -> None:
        shutil.rmtree(target.parent, ignore_errors=True)
        stale(lab, target, mode)
        if fresh:
            py_compile.compile(str(lab.tree / "changed.py"), cfile=str(target), doraise=True, invalidation_mode=mode)

    runs = lab.compare(
        "program.py",
        flags=("--check-hash-based-pycs", check),
        prepare=prepare,
        prefix=False,
        environment={"PYCACHEHOOK_IN_TREE": "all"},
    )
    runs.assert_same()
    assert runs.stock_cold.stdout == f"{value}\n"
    assert runs.cold.stats["compiled"] == (not fresh and value != "old")
    assert runs.warm.stats["compiled"] == 0


@pytest.mark.parametrize("name", ["absent", "empty", "short", "header", "foreign"])
def test_damaged_pyc(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A damaged pyc that CPython ignores is ignored here too, and the source's value is the result."""
    content = {"empty": b"", "short": b"\0" * 7, "header": b"\0" * 16, "foreign": b"\x6f\x0d\x0d\x0a" + b"\0" * 40}
    lab = Lab(tmp_path_factory, {"program.py": PRINT, "changed.py": NEW})

    def prepare(side: Path) -> None:
        target = side / lab.tree.relative_to("/") / f"changed.{sys.implementation.cache_tag}.pyc"
        target.parent.mkdir(parents=True)
        if name in content:
            target.write_bytes(content[name])

    runs = lab.compare("program.py", prepare=prepare)
    runs.assert_same()
    runs.assert_cached()
    assert runs.stock_cold.stdout.startswith("new code ")
