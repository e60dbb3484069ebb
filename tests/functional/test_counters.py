"""The output of processes about their lookups: one JSON line each, and one log line for each lookup."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pycachehook

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Python

    from .conftest import Measure

PROCESSES = 20
NAMES = [f"module_{number}" for number in range(10)]
KEYS = ["pid", "python", "argv0", "hits", "hits_by_place", "compiled", "stored", "misses", "errors"]
REASONS = {"absent", "stale-source", "other-mode", "wrong-magic", "corrupt", "untrusted", "io-error", "lock-timeout"}


@pytest.fixture
def modules(tree: Callable[[Mapping[str, str]], Path]) -> Path:
    """Return a directory with ten modules."""
    return tree({f"{name}.py": f"NAME = {name!r}\n" for name in NAMES})


def program(cache: Path, *names: str) -> str:
    """Return a program that installs the hook and imports modules by name."""
    imports = "".join(f"import {name}\n" for name in names or NAMES)
    return f"import os, sys, pycachehook\nhook = pycachehook.install({str(cache)!r})\n{imports}"


def test_many_processes_at_once(python: Python, modules: Path, cache: Path, measure: Measure) -> None:
    """Twenty processes that end together leave twenty whole lines, with exactly the documented keys."""
    script = modules / "start.py"
    counted = "print(os.getpid(), hook.stats.hits + hook.stats.compiled)\n"
    script.write_text(program(cache) + counted, encoding="utf-8")
    processes = [python.start(script, PYCACHEHOOK_STATS=str(measure.file)) for _ in range(PROCESSES)]
    looked_up = {}
    for process in processes:
        output, errors = process.communicate()
        assert (process.returncode, errors) == (0, "")
        pid, count = map(int, output.split())
        looked_up[pid] = count
    lines = measure.lines()
    assert measure.file.read_bytes().endswith(b"}\n")
    assert len(lines) == PROCESSES
    for line in lines:
        assert list(line) == KEYS
        assert line["argv0"] == str(script)
        assert line["python"] == sys.version.split()[0]
        assert list(line["hits_by_place"]) == ["archive", "store", "in_tree"]
        assert line["hits"] == sum(line["hits_by_place"].values())
        assert line["hits"] + line["compiled"] == looked_up.pop(line["pid"]) >= len(NAMES)
        assert sum(line["misses"].values()) == line["compiled"]
        assert set(line["misses"]) <= REASONS
        assert line["errors"] == 0
    assert sum(line["stored"] for line in lines) >= len(NAMES)


def test_exact_counts(python: Python, modules: Path, cache: Path, measure: Measure) -> None:
    """A cold start counts a compilation and an entry per module, a warm one a hit per module, and nothing else."""
    run = ("-c", program(cache), "ignored")
    cold = measure(python, *run, PYTHONPATH=str(modules))
    warm = measure(python, *run, PYTHONPATH=str(modules))
    (modules / "module_3.py").write_text("NAME = 'other'\n", encoding="utf-8")
    log = modules / "log.txt"
    edited = measure(python, *run, PYTHONPATH=str(modules), PYCACHEHOOK_LOG=str(log))
    stale = [line for line in log.read_text(encoding="utf-8").splitlines() if f"(stale-source) {modules}" in line]

    assert cold["compiled"] == sum(cold["misses"].values()) >= len(NAMES)
    assert len(list((cache / str(modules)[1:]).glob("*.pyc"))) == len(NAMES)
    assert (warm["compiled"], warm["stored"], warm["misses"], warm["errors"]) == (0, 0, {}, 0)
    assert warm["hits_by_place"]["store"] == len(NAMES)
    assert warm["argv0"] == "-c"
    assert [line.split()[1] for line in stale] == ["module_3:"]
    assert edited["misses"]["stale-source"] >= 1
    assert edited["hits_by_place"]["store"] >= len(NAMES) - 1


def test_forked_child_counts_its_own(python: Python, modules: Path, cache: Path, measure: Measure) -> None:
    """A forked child starts from zero and writes a separate line, and the parent's line does not include it."""
    python("-c", program(cache), PYTHONPATH=str(modules))
    fork = (
        "child = os.fork()\n"
        "if child:\n    os.waitpid(child, 0)\n    import module_9\n"
        "else:\n    import module_2, module_3, module_4\n"
        "print(child, flush=True)\n"
    )
    code = program(cache, "module_0", "module_1") + fork
    output = python("-c", code, PYTHONPATH=str(modules), PYCACHEHOOK_STATS=str(measure.file)).stdout
    child, parent = measure.lines()
    assert child["pid"] == int(output.split()[1])
    assert child["pid"] != parent["pid"]
    assert (child["hits"], parent["hits"]) == (3, 3)
    assert child["hits_by_place"] == {"archive": 0, "store": 3, "in_tree": 0}


@pytest.mark.parametrize(
    ("ending", "code", "lines"),
    [
        ("pass", 0, 1),
        ("sys.exit(3)", 3, 1),
        ("raise RuntimeError", 1, 1),
        ("pycachehook.uninstall()", 0, 1),
        ("pycachehook.install(read_only=True)", 0, 1),
        ("os._exit(4)", 4, 0),
        ("os.execv(sys.executable, [sys.executable, '-c', ''])", 0, 0),
    ],
)
def test_one_line_however_a_process_ends(
    *, ending: str, code: int, lines: int, python: Python, modules: Path, cache: Path, measure: Measure
) -> None:
    """A process writes one line at any kind of exit, unless it is killed or replaced."""
    settings = {"PYTHONPATH": str(modules), "PYCACHEHOOK_STATS": str(measure.file)}
    assert python.within(settings)("-c", program(cache) + ending, check=False).returncode == code
    assert (len(measure.lines()) if measure.file.exists() else 0) == lines


@pytest.mark.parametrize("start", ["cold", "warm"])
@pytest.mark.parametrize("target", ["stderr", "file"])
def test_log_has_one_line_for_each_lookup(
    *, target: str, start: str, python: Python, modules: Path, cache: Path, measure: Measure, tmp_path: Path
) -> None:
    """The log has one line with process, module, outcome and path per lookup, and no other."""
    if start == "warm":
        python("-c", program(cache), PYTHONPATH=str(modules))
    log = tmp_path / "log.txt"
    settings = {"PYCACHEHOOK_LOG": "stderr" if target == "stderr" else str(log), "PYCACHEHOOK_STATS": str(measure.file)}
    process = python.within(settings)("-c", program(cache), PYTHONPATH=str(modules))
    text = process.stderr if target == "stderr" else log.read_text(encoding="utf-8")
    (stats,) = measure.lines()
    outcome = "hit (store)" if start == "warm" else "miss (absent)"
    done = "" if start == "warm" else ", compiled and stored"
    assert text.endswith("\n")
    assert len(text.splitlines()) == stats["hits"] + stats["compiled"]
    for name in NAMES:
        assert f"pycachehook[{stats['pid']}]: {name}: {outcome} {modules}/{name}.py{done}\n" in text
        assert len(re.findall(rf": {name}: ", text)) == 1
    if target == "file":
        assert process.stderr == ""


def test_log_of_many_processes(python: Python, modules: Path, cache: Path, tmp_path: Path) -> None:
    """Processes that write to one log at the same time leave whole lines."""
    python("-c", program(cache), PYTHONPATH=str(modules))
    log = tmp_path / "log.txt"
    settings = {"PYTHONPATH": str(modules), "PYCACHEHOOK_LOG": str(log)}
    processes = [python.within(settings).start("-c", program(cache)) for _ in range(PROCESSES)]
    assert [process.communicate() for process in processes] == [("", "")] * PROCESSES
    lines = log.read_text(encoding="utf-8").splitlines()
    expected = re.compile(rf"pycachehook\[\d+\]: module_\d: hit \(store\) {re.escape(str(modules))}/module_\d\.py")
    assert [line for line in lines if not expected.fullmatch(line)] == []
    assert len(lines) == PROCESSES * len(NAMES)


def test_relative_files_stay_where_they_began(python: Python, modules: Path, cache: Path, tmp_path: Path) -> None:
    """A relative name refers to the directory in which the process started, also after `chdir`."""
    (tmp_path / "began").mkdir()
    code = program(cache, "module_0") + f"os.chdir({str(tmp_path / 'home')!r})\nimport module_1\n"
    settings = {"PYTHONPATH": str(modules), "PYCACHEHOOK_STATS": "stats.jsonl", "PYCACHEHOOK_LOG": "log.txt"}
    python.within(settings)("-c", code, cwd=tmp_path / "began")
    assert sorted(path.name for path in (tmp_path / "began").iterdir()) == ["log.txt", "stats.jsonl"]
    assert list((tmp_path / "home").iterdir()) == []


@pytest.mark.parametrize("folder", ["two\nlines", "not\udcfftext", "é"], ids=["line break", "byte", "accent"])
def test_odd_names_do_not_break_lines(
    folder: str, python: Python, cache: Path, measure: Measure, tmp_path: Path
) -> None:
    """A source in a directory whose name contains a line break, an undecodable byte or an accent has one line."""
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "odd.py").write_text("", encoding="utf-8")
    log = tmp_path / "log.txt"
    settings = {"PYTHONPATH": str(tmp_path / folder), "PYCACHEHOOK_LOG": str(log)}
    stats = measure(python, "-c", program(cache, "odd"), **settings)
    lines = log.read_text(encoding="utf-8").split("\n")
    assert lines.pop() == ""
    assert len(lines) == stats["hits"] + stats["compiled"]
    assert [line for line in lines if not line.startswith("pycachehook[")] == []


def test_what_storing_needs_is_not_counted(python: Python, modules: Path, cache: Path, measure: Measure) -> None:
    """Without bytecode of the package itself (`pip install --no-compile`) only the program's modules are counted."""
    package = Path(pycachehook.__file__).parent
    shutil.copytree(package, modules / "pycachehook", ignore=shutil.ignore_patterns("__pycache__"))
    start = (
        "import sys\n"
        f"sys.path.insert(0, {str(modules)!r})\n"
        "sys.dont_write_bytecode = True\nimport pycachehook\n"
        f"hook = pycachehook.install({str(cache)!r}, force_write=True)\n"
    )
    for name, compiled in (("module_0", 1), ("module_1", 1), ("module_2", 1)):
        python(
            "-c",
            f"{start}import {name}\nassert 'pycachehook.on_miss.writer' in sys.modules",
            PYCACHEHOOK_STATS=str(measure.file),
        )
        line = measure.lines()[-1]
        assert (line["compiled"], line["stored"], line["misses"]) == (compiled, compiled, {"absent": compiled})


def test_nothing_is_stored_once_the_package_is_gone(python: Python, modules: Path, cache: Path) -> None:
    """After the package has been removed under a running process, modules are compiled and not stored."""
    package = Path(pycachehook.__file__).parent
    shutil.copytree(package, modules / "pycachehook")
    program = f"""
import shutil, sys
sys.path.insert(0, {str(modules)!r})
import pycachehook, pycachehook.runtime
hook = pycachehook.install({str(cache)!r}, force_write=True)
shutil.rmtree({str(modules / "pycachehook")!r})
import module_0, module_1
assert (hook.stats.compiled, hook.stats.stored) == (2, 0), hook.stats.as_dict()
"""
    python("-c", program)
