"""The annotations of the API, as a type checker sees them in somebody's program."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conftest import PROJECT, clean_environment

RIGHT = """
import os
from pathlib import Path

import pycachehook
from pycachehook import Event, Hook

hook: Hook = pycachehook.install(
    Path("cache"), layout="shared", in_tree="hashed", lock_timeout=1, gc="freeze", archives=["a.pyca"],
    rules=[{"match": "*", "read_only": True}], open_code="never", config="x.toml", strict=False,
)
state: str = hook.status
why: str | None = hook.reason
hits: int = hook.stats.hits


def listener(event: Event) -> None:
    lines: list[str] = [event.event, event.module, event.path, event.place, event.reason]
    nanoseconds: dict[str, int] = event.nanoseconds
    print(lines, nanoseconds)


remove = pycachehook.on_event(listener)
remove()
with pycachehook.install() as inner:
    inner.uninstall()
active: Hook | None = pycachehook.active()
if hook.status == "writable":
    pycachehook.uninstall()
try:
    pycachehook.install(strict=True)
except (pycachehook.ConfigError, pycachehook.CacheDirError) as error:
    print(error)
"""

WRONG = {
    'pycachehook.install(layout="flat")': "arg-type",
    "pycachehook.install(lock_timeout=[])": "arg-type",
    "pycachehook.install(no_such_option=1)": "call-arg",
    'pycachehook.install("a", "b")': "call-arg",
    "pycachehook.on_event(3)": "arg-type",
    "pycachehook.install().secret": "attr-defined",
    'pycachehook.install().status == "wonderful"': "comparison-overlap",
}


@pytest.fixture
def check(tmp_path: Path) -> Callable[[str], list[str]]:
    """Return a function that runs mypy in its strict mode over a program, with the package as it is installed."""
    pytest.importorskip("mypy")
    pyproject = tmp_path / "mypy.ini"
    pyproject.write_text("[mypy]\nstrict = true\n", encoding="utf-8")

    def run(text: str) -> list[str]:
        program = tmp_path / "program.py"
        program.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "mypy", "--config-file", str(pyproject), "--no-incremental", str(program)]
        environment = clean_environment(MYPYPATH=str(PROJECT / "src"), MYPY_CACHE_DIR=os.devnull)
        process = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert process.returncode in (0, 1), process.stderr
        return process.stdout.splitlines()

    return run


@pytest.mark.full
def test_right_and_wrong_programs(check: Callable[[str], list[str]]) -> None:
    """A program that uses all of the API has no error; each wrong line has its own."""
    (success,) = check(RIGHT)
    assert success.startswith("Success")
    lines = check("import pycachehook\n" + "\n".join(WRONG))
    found = {int(line.split(":")[1]): line.rpartition("[")[2].rstrip("]") for line in lines if ": error:" in line}
    assert found == dict(enumerate(WRONG.values(), 2))


def test_the_package_says_that_it_is_typed() -> None:
    """PEP 561."""
    assert (PROJECT / "src/pycachehook/py.typed").read_bytes() == b""
