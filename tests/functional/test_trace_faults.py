"""Recording on faulty disks, in foreign directories, and of programs that end or change in unusual ways.

The outcome of the program stays the same, and no file outside the directory of the recording is written.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import Python, clean_environment
from pycachehook.commands import trace

pytestmark = pytest.mark.skipif(os.name == "nt", reason="needs POSIX")

NOBODY = 65534
PROGRAM = "import pycachehook; pycachehook.install()\nimport subject; print('there'); raise SystemExit(7)"
OUTCOME = (7, "there\n", "")


@pytest.fixture
def folder(public: Path) -> Path:
    """Return a directory with a module to import, and a cache, which every user can read."""
    for number in range(20):
        (public / f"part{number}.py").write_text("")
    (public / "subject.py").write_text("import " + ", ".join(f"part{number}" for number in range(20)) + "\n")
    return public


def run(folder: Path, target: str | Path, code: str = PROGRAM, **more: Any) -> tuple[int, str, str]:
    """Record a program in `target`; return its exit code and its output."""
    environment = clean_environment(PYCACHEHOOK_CACHE_DIR=str(folder / "cache"), PYCACHEHOOK_TRACE=str(target))
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False, **more
    )
    return done.returncode, done.stdout, done.stderr


def files(folder: Path) -> set[Path]:
    """Return everything below a directory but the cache."""
    return {path for path in folder.rglob("*") if path.relative_to(folder).parts[0] != "cache"}


@pytest.mark.parametrize("slash", ["", "/"])
def test_link_is_not_followed(folder: Path, slash: str) -> None:
    """A directory that is a link, which leads elsewhere, is not written to; the log says so."""
    (folder / "elsewhere").mkdir()
    (folder / "link").symlink_to("elsewhere")
    before = files(folder)
    code = PROGRAM.replace(
        "import subject", "hook = pycachehook.active(); assert hook.stats.errors == 1; import subject"
    )
    assert run(folder, f"link{slash}", code) == OUTCOME
    assert files(folder) == before


@pytest.mark.parametrize("early", [True, False])
def test_link_that_takes_the_place_of_the_directory(folder: Path, early: bool) -> None:
    """Neither before the first record is written nor afterwards does anything go to where the link leads."""
    (folder / "elsewhere").mkdir()
    swap = "import os; os.rename('traces', 'moved'); os.symlink('elsewhere', 'traces')\n"
    first, rest = PROGRAM.split("\n")
    code = f"{first}\n{swap if early else 'import part1' + chr(10) + swap}{rest}"
    assert run(folder, "traces", code) == OUTCOME
    assert not any((folder / "elsewhere").iterdir())


def test_file_that_takes_the_place_of_the_recording(folder: Path) -> None:
    """A link, a hard link or a FIFO under the recording's name is neither written to nor waited for."""
    first, rest = PROGRAM.split("\n")
    for number, how in enumerate(("os.symlink('../kept', name)", "os.link('../kept', name)", "os.mkfifo(name)")):
        (folder / "kept").write_text("kept\n")
        swap = f"import os; os.chdir('{number}'); (name,) = os.listdir(); os.unlink(name); {how}; os.chdir('..')"
        assert run(folder, str(number), f"{first}\nimport part1\n{swap}\n{rest}") == OUTCOME
        assert (folder / "kept").read_text() == "kept\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
def test_directory_of_another_user(folder: Path, python: Python) -> None:
    """One that the process may not write to is left alone; in one that it may write to, it writes one new file."""
    closed, shared = folder / "closed", folder / "shared"
    closed.mkdir(mode=0o755)
    shared.mkdir()
    shared.chmod(0o1777)
    os.chown(folder, NOBODY, NOBODY)
    first, rest = PROGRAM.split("\n")
    become = f"import os; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"
    code = f"{first}\n{become}\n{rest}"
    before = files(folder)
    assert run(folder, closed, code) == OUTCOME
    assert files(folder) == before
    assert run(folder, shared, code) == OUTCOME
    (file,) = shared.iterdir()
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (NOBODY, 0o600)


@pytest.mark.full
def test_read_only_and_full_disks(folder: Path, private_mounts: Any, python: Python) -> None:
    """Nothing is written on a read-only disk; on a full one, what fits can be read again."""
    (folder / "locked").mkdir()
    (folder / "small").mkdir()
    (folder / "out").mkdir()
    program = (
        "import os, subprocess, sys; from pycachehook.commands import trace\n"
        f"for target in 'locked', 'small':\n"
        f"    env = dict(os.environ, PYCACHEHOOK_TRACE=target, PYCACHEHOOK_CACHE_DIR='out')\n"
        f"    done = subprocess.run([sys.executable, '-c', {PROGRAM!r}], env=env, capture_output=True, text=True)\n"
        f"    assert (done.returncode, done.stdout, done.stderr) == {OUTCOME}, done\n"
        "assert not os.listdir('locked')\n"
        "(process,) = trace.read('small')\n"
        "assert 0 < len(process.imports) < 20, process\n"
        "assert process.imports[0].name != process.imports[-1].name\n"
    )
    private_mounts(
        python,
        *("-c", f"import os; os.chdir({str(folder)!r})\n{program}"),
        read_only=[folder / "locked"],
        small={folder / "small": 4096},
    )


FORKS = """
import os
for _ in range(2):
    if not os.fork():
        import subject
        os._exit(3)
    os.wait()
print('x')
raise SystemExit(4)
"""
ENDS = {
    "modules cleared": ("import sys; sys.modules.clear(); print('x')", 0),
    "modules replaced": ("import sys; sys.modules = dict(sys.modules); import subject; print('x')", 0),
    "exec": ("import os; print('x', flush=True); os.execv('/bin/sh', ['sh', '-c', 'exit 9'])", 9),
    "exec of Python": (
        "import os, sys; print('x', flush=True); os.execv(sys.executable, [sys.executable, '-B', '-c', 'import subject'])",
        0,
    ),
    "forked children": (FORKS, 4),
    "os._exit": ("import os; print('x', flush=True); os._exit(5)", 5),
    "killed": ("import os, subject; print('x', flush=True); os.kill(os.getpid(), 9)", -signal.SIGKILL),
    "descriptors closed": ("import os; print('x', flush=True); os.closerange(3, 100); import subject", 0),
    "clocks replaced": ("import time, os; time.perf_counter_ns = time.time_ns = os.write = None; print('x')", 0),
}


@pytest.mark.parametrize("kind", ENDS)
def test_programs_that_end_or_change_in_unusual_ways(folder: Path, kind: str) -> None:
    """`run --trace` has the program's outcome and a recording; the program is read from standard input."""
    code, status = ENDS[kind]
    (folder / "temporary").mkdir()
    environment = clean_environment(
        PYCACHEHOOK_CACHE_DIR=str(folder / "cache"), TMPDIR=str(folder / "temporary"), PYTHONPATH=str(folder)
    )
    before = files(folder)
    done = subprocess.run(
        [sys.executable, "-m", "pycachehook", "run", "--trace", "out.json", "-", "one"],
        input=f"import sys; assert sys.argv == ['-', 'one']\n{code}",
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (status, "x\n"), done.stderr
    assert "Traceback" not in done.stderr
    assert files(folder) - before == {folder / "out.json"}
    process = next(each for each in trace.read(str(folder / "out.json")) if each.measured)
    assert process.imports


def test_recording_that_cannot_be_written_does_not_change_the_exit_code(folder: Path) -> None:
    """One sentence says so: the kill switch is on, there is no such directory, or the disk is full."""
    cases: list[tuple[str, dict[str, str], str]] = [
        ("out.json", {"PYCACHEHOOK_DISABLE": "1"}, "Nothing was recorded: the hook is not active"),
        ("nowhere/out.json", {}, "nowhere/out.json cannot be written: No such file"),
    ]
    for out, variables, why in cases:
        done = subprocess.run(
            [sys.executable, "-m", "pycachehook", "run", "--trace", out, "-c", "print('x'); raise SystemExit(7)"],
            cwd=folder,
            env=clean_environment(PYCACHEHOOK_CACHE_DIR=str(folder / "cache"), **variables),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (7, "x\n", 1)
        assert why in done.stderr
        assert not (folder / out).exists()


def test_kill_switch(folder: Path) -> None:
    """Nothing is recorded, and the directory is not created."""
    environment = clean_environment(PYCACHEHOOK_DISABLE="1", PYCACHEHOOK_TRACE="traces")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == OUTCOME
    assert not (folder / "traces").exists()


def test_recording_that_ends_within_a_line(folder: Path) -> None:
    """The whole lines before it are read."""
    assert run(folder, "traces") == OUTCOME
    (file,) = (folder / "traces").iterdir()
    data = file.read_bytes()
    complete = len(json.loads(data.decode().rstrip().rstrip(",") + "]"))
    for length in (len(data) - 3, len(data) - 40):
        file.write_bytes(data[:length])
        (process,) = trace.read(str(file))
        assert len(process.imports) == sum(b'"import"' in line for line in data[:length].splitlines()[:complete])
        assert process.torn_down is None
