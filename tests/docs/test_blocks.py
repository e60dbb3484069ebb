"""Run every block of commands in the documentation as written, in an empty directory with a real environment."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from .blocks import COMMANDS, Block, blocks, dockerfile_script, pages, script, sessions, shell

TUTORIAL = "getting-started"  # its blocks are run, and their output checked, by a test of their own
CASES = [(page, name) for page in pages() if page.stem != TUTORIAL for name in sessions(page)]
TOOLS = {
    "uv": "uv",
    "tox": "tox",
    "nox": "nox",
}  # sessions that need a tool from the index, which may be installed already
PRIVATE = ("/opt", "/app", "/var/cache")  # what a Dockerfile writes to


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.stem)
def test_each_block_says_how_it_is_run(page: Path) -> None:
    """A comment above each block of commands says how it is run, or why not."""
    untold = [f"{page}:{block.line}" for block in blocks(page) if block.language in COMMANDS and not block.kind]
    assert untold == []
    assert [block.line for block in blocks(page) if block.kind == "not run" and not block.argument] == []


def test_most_blocks_are_run() -> None:
    """Most blocks are run."""
    commands = [block for page in pages() for block in blocks(page) if block.language in COMMANDS]
    assert sum(block.kind == "not run" for block in commands) * 3 <= len(commands)


@pytest.mark.full
@pytest.mark.parametrize(
    ("page", "name"),
    [pytest.param(*case, marks=[pytest.mark.slow] * (case[1] in ("tox", "nox"))) for case in CASES],
    ids=[f"{page.stem}-{name}" for page, name in CASES],
)
def test_commands_succeed(page: Path, name: str, tmp_path: Path, environment: dict[str, str]) -> None:
    """All commands of one session of a page, in order, end with exit code 0."""
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


@pytest.mark.full
def test_getting_started_does_what_it_says(tmp_path: Path, environment: dict[str, str]) -> None:
    """In the tutorial the second run compiles nothing, and `enable` activates the hook."""
    page = next(page for page in pages() if page.stem == TUTORIAL)
    work = tmp_path / "work"
    work.mkdir()
    outputs = []
    (session,) = sessions(page).values()
    for block in session:
        if block.kind == "file":
            (work / block.argument).write_text(block.text, encoding="utf-8")
        else:
            outputs.append(shell(script(block), work, environment))
    first, second = re.findall(r"│ +(\d+) +│ +(\d+) +│", outputs[1])
    assert int(first[0]) > 20
    assert (first[1], second[0]) == ("0", "0")
    assert int(second[1]) > 20
    assert re.search(r"active +yes", outputs[2])
    assert "loaded from store" in outputs[3]
    assert outputs[4].startswith("writable\nNone\n")


def build(block: Block, folder: Path, environment: dict[str, str]) -> None:
    """Run a Dockerfile in a private mount namespace; its final command must compile nothing."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("unshare") is None:
        pytest.skip("needs Linux, root and unshare(1)")
    missing = [Path(each) for each in PRIVATE if not Path(each).is_dir()]
    for each in missing:
        each.mkdir()
    mounts = "".join(f"mount -t tmpfs -o mode=755 tmpfs {each}\n" for each in PRIVATE)
    base = "/opt/base"  # the base image's Python, in a directory that every user can reach
    mounts += f"mkdir {base} && mount --bind {sys.base_prefix} {base}\n"
    path = environment["PATH"].partition(os.pathsep)[2]
    variables = {**environment, "PATH": f"{base}/bin{os.pathsep}{path}", "LD_LIBRARY_PATH": f"{base}/lib"}
    namespace = ("unshare", "--mount", "--")
    try:
        output = shell(mounts + dockerfile_script(block), folder, variables, *namespace)
    finally:
        for each in missing:
            each.rmdir()
    assert output.endswith("compiled: 0\n")


@pytest.mark.full
def test_pytest_plugin(tmp_path: Path, environment: dict[str, str]) -> None:
    """The plugin adds one line if the hook is active, with -v also the hit rate, workers included."""
    work = tmp_path / "work"
    work.mkdir()
    (work / "test_it.py").write_text("def test_it():\n    import json.tool\n", encoding="utf-8")
    (work / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    shell("pip install --quiet pytest-xdist pycachehook", work, environment)
    shell("pycachehook enable", work, environment)
    assert "pycachehook" not in shell("python -m pytest test_it.py", work, environment)
    shell("pip install --quiet 'pycachehook[pytest]'", work, environment)
    home = environment["HOME"]
    assert f"\npycachehook: writable, {home}/" in shell("python -m pytest test_it.py", work, environment)
    assert "modules from the cache" not in shell("python -m pytest test_it.py", work, environment)
    assert re.search(r"pycachehook: [1-9]\d* modules", shell("python -m pytest -v -n 2 test_it.py", work, environment))
    assert "pycachehook: " not in shell("PYCACHEHOOK_DISABLE=1 python -m pytest -v test_it.py", work, environment)
    shell("pycachehook disable && pip uninstall --quiet --yes pycachehook", work, environment)
    assert "pycachehook: " not in shell("python -m pytest -v test_it.py", work, environment)  # with the plugin alone
