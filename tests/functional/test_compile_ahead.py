"""`compile_ahead`: worker processes compile the modules that a cold start will import."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from conftest import clean_environment

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_spawn"), reason="needs posix_spawn")

SOON = 60.0  # seconds; enough on any machine for an action that takes no time
FIRST = 25  # modules before the one that waits: more misses than a worker's start requires

# Appends the process id to a file, so that the test sees every run of a body, in any process.
BODY = "import os\nwith open(os.environ['RAN'], 'a') as ran:\n    print(os.getpid(), __name__, file=ran)\n"
WAIT = """
import os, time
deadline = time.monotonic() + 60
while not any(name.startswith("last.") for _, _, names in os.walk(os.environ["CACHE"]) for name in names):
    assert time.monotonic() < deadline, "nobody has compiled it ahead"
    time.sleep(0.01)
"""
PRELUDE = """
import os, pycachehook
hook = pycachehook.install(os.environ["CACHE"], compile_ahead=1)
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a directory with `main.py`, which imports many modules, then one that waits for a worker, then `last`."""
    tree = tmp_path / "tree"
    tree.mkdir()
    names = [f"module_{number:02}" for number in range(FIRST)]
    for name in names:
        (tree / f"{name}.py").write_text(BODY)
    (tree / "gate.py").write_text(BODY + "import waiting, last\n")
    (tree / "waiting.py").write_text(BODY + WAIT)
    (tree / "last.py").write_text(BODY)
    (tree / "program.py").write_text("".join(f"import {name}\n" for name in [*names, "gate"]))
    return tree


def environment(tree: Path, **extra: str) -> dict[str, str]:
    """Return the environment variables for a program in the tree."""
    own = {"RAN": f"{tree.parent}/ran", "CACHE": f"{tree.parent}/cache", "PYTHONPATH": str(tree)}
    return clean_environment(**own, **extra)


def run(tree: Path, code: str, *options: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has installed the hook with the option."""
    return subprocess.run(
        [sys.executable, *options, "-c", PRELUDE + code],
        env=environment(tree, **extra),
        cwd=tree.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )


def workers_of(pid: int) -> dict[int, list[str]]:
    """Return the process ids of a process's workers, taken from its descriptors."""
    found = {}
    for each in Path("/proc").iterdir():
        try:
            arguments = (each / "cmdline").read_bytes()
            if b"ahead_worker" in arguments and f"for {pid}".encode() in arguments.split(b"\0"):
                found[int(each.name)] = sorted(os.readlink(link) for link in (each / "fd").iterdir())
        except (OSError, ValueError):
            continue
    return found


def wait_for(condition: Callable[[], Any]) -> Any:
    """Return the result of the condition as soon as it is true."""
    deadline = time.monotonic() + SOON
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)  # another process does it, so there is no event to wait for
    return value


def test_a_module_is_compiled_before_it_is_imported(tree: Path) -> None:
    """A worker stores a module's entry before the program imports that module; no body runs twice."""
    stats = tree.parent / "stats"
    run(tree, "import program", PYCACHEHOOK_STATS=str(stats))
    wait_for(lambda: len(stats.read_text().splitlines()) == 2)
    counted = [json.loads(line) for line in stats.read_text().splitlines()]
    assert sum(each["compiled"] for each in counted) == sum(each["stored"] for each in counted) == FIRST + 4
    ran = (tree.parent / "ran").read_text().split()
    assert len(set(ran[::2])) == 1
    assert len(ran[1::2]) == len(set(ran[1::2])) == FIRST + 3


@contextmanager
def running(tree: Path, code: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Yield a program that runs `code` with the hook installed, and the first line of its output; kill it at the end."""
    program = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + code],
        env=environment(tree),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with program:
        assert program.stdout is not None
        yield program, program.stdout.readline()
        program.kill()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_worker_holds_nothing_of_the_program(tree: Path) -> None:
    """A worker inherits only one pipe, so a reader of the program's output sees its end."""
    (tree / "waiting.py").write_text("import sys\n" + WAIT + "print(os.getpid(), flush=True)\ninput()\n")
    with running(tree, "import os; os.dup2(1, 77); import program") as (program, line):
        pid = int(line)
        held = wait_for(lambda: workers_of(pid))
        output = os.readlink(f"/proc/{pid}/fd/1")
        assert [output in each for each in held.values()] == [False]
        program.send_signal(signal.SIGKILL)
        wait_for(lambda: not workers_of(pid))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc")
def test_a_worker_ends_when_there_is_nothing_to_do(tree: Path) -> None:
    """The worker ends while the program continues, and the program has no unknown child."""
    code = "import program\ntry:\n    os.wait()\nexcept ChildProcessError:\n    print('there', flush=True)\ninput()"
    with running(tree, code) as (program, line):
        assert line == "there\n"
        wait_for(lambda: not workers_of(program.pid))
        assert program.poll() is None


def test_a_warning_of_the_compiler_is_shown(tree: Path) -> None:
    """The program itself compiles a source that causes a warning, and shows the warning."""
    (tree / "gate.py").write_text("import waiting, warns, last\n")
    (tree / "waiting.py").write_text(WAIT)
    (tree / "warns.py").write_text("1 is 1\n")
    assert "SyntaxWarning" in run(tree, "import program").stderr


@pytest.mark.parametrize("how", ["warm", "dont_write", "few"])
def test_no_worker_starts_where_there_is_nothing_to_gain(tree: Path, how: str) -> None:
    """No worker starts with a warm cache, with a read-only one, or for a few modules."""
    (tree / "waiting.py").write_text("")
    code = "import module_01" if how == "few" else "import program"
    if how == "warm":
        run(tree, "import program")
    before = "import sys; sys.dont_write_bytecode = True\n" if how == "dont_write" else ""
    said = run(
        tree,
        f"import sys\nsys.addaudithook(lambda event, arguments: event == 'os.posix_spawn' and print(event))\n{before}{code}",
    )
    assert said.stdout == ""


def test_entries_are_those_of_the_programs_optimization(tree: Path) -> None:
    """A worker compiles with the program's optimization level."""
    run(tree, "import program", "-O")
    names = {path.name for path in (tree.parent / "cache").rglob("*.pyc")}
    assert len(names) == FIRST + 4
    assert all(".opt-1." in name for name in names)
