"""Every block of commands in the documentation is run as it is written, in a clean directory with a real environment."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from conftest import clean_environment

from .blocks import COMMANDS, Block, blocks, dockerfile_script, pages, script, sessions

CASES = [(page, name) for page in pages() for name in sessions(page)]
TOOLS = {
    "uv": "uv",
    "tox": "tox",
    "nox": "nox",
}  # sessions that need a tool from the index, which may be installed already
PRIVATE = ("/opt", "/app", "/var/cache")  # what a Dockerfile writes to


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_each_block_says_how_it_is_run(page: Path) -> None:
    """A block of commands has a comment above it: how it is run, or why not."""
    untold = [f"{page}:{block.line}" for block in blocks(page) if block.language in COMMANDS and not block.kind]
    assert untold == []
    assert [block.line for block in blocks(page) if block.kind == "not run" and not block.argument] == []


def test_most_blocks_are_run() -> None:
    """Reasons not to run a block are rare."""
    commands = [block for page in pages() for block in blocks(page) if block.language in COMMANDS]
    assert sum(block.kind == "not run" for block in commands) * 3 <= len(commands)


@pytest.fixture
def environment(tmp_path: Path, wheel: Path) -> dict[str, str]:
    """Return the variables of a shell in a new virtual environment, whose installers find this project's wheel."""
    home, folder = tmp_path / "home", tmp_path / "environment"
    home.mkdir()
    venv.EnvBuilder(with_pip=True, symlinks=True).create(folder)
    links = f"{wheel.parent} {os.environ.get('PIP_FIND_LINKS', '')}".strip()
    found = clean_environment(HOME=str(home), PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    found = {name: value for name, value in found.items() if not name.startswith(("VIRTUAL_ENV", "XDG_"))}
    return {
        **found,
        "PIP_FIND_LINKS": links,
        "UV_FIND_LINKS": str(wheel.parent),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "TMPDIR": str(home),
    }


@pytest.mark.full
@pytest.mark.parametrize(("page", "name"), CASES, ids=[f"{page.stem}-{name}" for page, name in CASES])
def test_commands_succeed(page: Path, name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """All commands of one session of a page end with exit code 0, one after the other."""
    work = tmp_path / "work"
    work.mkdir()
    if name in TOOLS and shutil.which(name, path=environment["PATH"]) is None:
        shell(f"pip install --quiet {TOOLS[name]}", work, environment)
    for block in sessions(page)[name]:
        if block.kind == "file":
            path = work / block.argument
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
        elif block.kind == "dockerfile":
            build(block, work, environment)
        else:
            shell(script(block), work, environment)


def test_getting_started_does_what_it_says(tmp_path: Path, environment: dict[str, str]) -> None:
    """In the tutorial the second run compiles nothing, and a program that is enabled sees the hook."""
    page = next(page for page in pages() if page.stem == "getting-started")
    work = tmp_path / "work"
    work.mkdir()
    outputs = []
    for block in sessions(page)["run"]:
        if block.kind == "file":
            (work / block.argument).write_text(block.text, encoding="utf-8")
        else:
            outputs.append(shell(script(block), work, environment))
    first, second = re.findall(r"│ +(\d+) +│ +(\d+) +│", outputs[1])
    assert int(first[0]) > 20
    assert (first[1], second[0]) == ("0", "0")
    assert int(second[1]) >= int(first[0])
    assert re.search(r"active +True", outputs[2])
    assert "loaded from store" in outputs[3]
    assert outputs[4].startswith("writable\nNone\n")


def shell(commands: str, folder: Path, environment: dict[str, str], *prefix: str) -> str:
    """Run commands as a reader's shell would, but stop at the first that fails; return what they print."""
    done = subprocess.run(
        [*prefix, "sh", "-e", "-c", commands],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}"
    return done.stdout


def build(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Carry out a Dockerfile in a private mount namespace; what it starts at last must have compiled nothing."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs Linux, root and unshare(1)")
    for each in PRIVATE:
        if not Path(each).is_dir():
            pytest.skip(f"needs a directory {each}")
    mounts = "".join(f"mount -t tmpfs -o mode=755 tmpfs {each}\n" for each in PRIVATE)
    path = environment["PATH"].partition(os.pathsep)[2]
    python = f"{Path(sys.executable).resolve().parent}{os.pathsep}{path}"
    output = shell(
        mounts + dockerfile_script(block), folder, {**environment, "PATH": python}, "unshare", "--mount", "--"
    )
    assert output.endswith("compiled: 0\n")
