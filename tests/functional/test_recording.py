"""`pycachehook run --record FILE`: only an earlier record, or an empty file, is replaced."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Python

RUN = ("-m", "pycachehook", "run", "--record")


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """Return a program that imports one module."""
    folder = tmp_path / "program"
    folder.mkdir()
    (folder / "helper.py").touch()
    program = folder / "program.py"
    program.write_text("import helper\nprint('run')\n", encoding="utf-8")
    return program


def test_record_is_replaced(program: Path, python: Python, tmp_path: Path) -> None:
    """An empty file and an earlier record are replaced, and no other file is left beside them."""
    record = tmp_path / "records" / "record"
    record.parent.mkdir()
    record.touch()
    for _ in range(2):
        python(*RUN, record, program)
        assert str(program.parent / "helper.py") in record.read_text(encoding="utf-8").splitlines()
    assert os.listdir(record.parent) == ["record"]


@pytest.mark.parametrize("content", ["import helper\n", "/etc/hosts\n", "relative.py\n"])
def test_other_file_is_kept(content: str, program: Path, python: Python, tmp_path: Path) -> None:
    """A file that is no record stays unchanged, and the program does not run."""
    other = tmp_path / "other"
    other.write_text(content, encoding="utf-8")
    done = python(*RUN, other, program, check=False)
    assert (done.returncode, done.stdout, other.read_text(encoding="utf-8")) == (2, "", content)
    assert done.stderr == (
        f"pycachehook: error: --record {other} is no record, and is left as it is: name a new file, or remove this one "
        "first.\n"
    )


@pytest.mark.parametrize("kind", ["fifo", "device", "directory", "link", "dangling"])
def test_no_regular_file(kind: str, program: Path, python: Python, tmp_path: Path) -> None:
    """The command does not wait for a FIFO, and follows no link."""
    record, target = tmp_path / "record", tmp_path / "target"
    if kind == "fifo":
        os.mkfifo(record)
    elif kind == "directory":
        record.mkdir()
    else:
        record.symlink_to("/dev/zero" if kind == "device" else target)
        if kind == "link":
            target.touch()
    done = python(*RUN, record, program, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--record {record} is no regular file, and is left as it is" in done.stderr
    assert target.exists() == (kind == "link")
    assert not target.exists() or target.read_bytes() == b""


def test_what_the_program_has_put_there(program: Path, python: Python, tmp_path: Path) -> None:
    """A file that appears while the program runs is not replaced."""
    record = tmp_path / "record"
    program.write_text(f"open({str(record)!r}, 'w').write('results')\n", encoding="utf-8")
    done = python(*RUN, record, program)
    assert record.read_text(encoding="utf-8") == "results"
    assert done.stderr == f"pycachehook: warning: the profile {record} is no record.\n"


def test_odd_names(python: Python, tmp_path: Path) -> None:
    """Names with unusual line separators are recorded; a name with a line feed is omitted."""
    for folder, name in (("a\x1cb\u2028", "first"), ("line\nfeed", "second")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.py").touch()
    record, archive = tmp_path / "record", tmp_path / "archive"
    places = [str(each.parent) for each in tmp_path.glob("*/*.py")]
    text = f"import sys; sys.path += {places!r}; import first, second"
    python(*RUN, record, "-c", text)
    lines = record.read_text(encoding="utf-8").split("\n")
    assert str(tmp_path / "a\x1cb\u2028" / "first.py") in lines
    assert all(line.endswith(".py") and line.startswith("/") for line in lines[:-1])
    python("-m", "pycachehook", "archive", "build", "--path", tmp_path, "--profile", record, archive)
