"""The configuration file: one table in a TOML file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pycachehook.config.toml_file import read_config_file
from pycachehook.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return the path for the configuration file."""
    return tmp_path / "options.toml"


@pytest.mark.parametrize("kind", ["path", "text", "bytes"])
def test_reads_the_table(kind: str, file: Path) -> None:
    """The table is returned unchecked, with the file's path as origin, however the file is named."""
    file.write_text(
        '[project]\nname = "x"\n[tool.other]\na = 1\n[tool.pycachehook]\nlayout = 3\nnew = "ä"\n', encoding="utf-8"
    )
    named = {"path": file, "text": str(file), "bytes": str(file).encode()}[kind]
    assert read_config_file(named) == (str(file), {"layout": 3, "new": "ä"})


def test_origin_is_absolute(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file with a relative path has its absolute path as origin."""
    file.write_text("[tool.pycachehook]\n", encoding="utf-8")
    monkeypatch.chdir(file.parent)
    assert read_config_file("options.toml") == (str(file), {})


def test_directories_start_from_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Relative directories, also in rules, are relative to the file's own directory; absolute ones and `~` are not."""
    monkeypatch.setenv("HOME", "/home/me")
    file.write_text(
        "[tool.pycachehook]\n"
        'cache_dir = "below"\n'
        'archives = ["one.pyca", "/two.pyca", 3]\n'
        'rules = [{match = "a/*", cache_dir = "other"}, {cache_dir = "/abs"}, {cache_dir = "~/c"}, 3]\n',
        encoding="utf-8",
    )
    folder = file.parent
    _, table = read_config_file(file)
    assert table == {
        "cache_dir": f"{folder}/below",
        "archives": [f"{folder}/one.pyca", "/two.pyca", 3],
        "rules": [
            {"match": "a/*", "cache_dir": f"{folder}/other"},
            {"cache_dir": "/abs"},
            {"cache_dir": "/home/me/c"},
            3,
        ],
    }


@pytest.mark.parametrize("value", ["3", '""', "[]"])
def test_no_directory_is_left_as_it_is(value: str, file: Path) -> None:
    """A value that is no directory is left for the check that follows."""
    file.write_text(f"[tool.pycachehook]\ncache_dir = {value}\n", encoding="utf-8")
    assert read_config_file(file)[1] == {"cache_dir": {"3": 3, '""': "", "[]": []}[value]}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read: No such file or directory."),
        ("directory", "cannot be read: Is a directory."),
        (b"[tool.pycachehook\n", "is not valid TOML: "),
        (b"a = 1\na = 2\n", "is not valid TOML: "),
        (b"a = '\xff'\n", "is not valid TOML: "),
        (b"a = " + b"[" * 5000, "is not valid TOML"),
        (b"a = " + b"1" * 5000, "is not valid TOML"),
        (b"", "has no table [tool.pycachehook]."),
        (b"[tool.other]\n", "has no table [tool.pycachehook]."),
        (b"tool = 3\n", "has no table [tool.pycachehook]."),
        (b"[tool]\npycachehook = 3\n", "has no table [tool.pycachehook]."),
        (b"[[tool.pycachehook]]\n", "has no table [tool.pycachehook]."),
    ],
    ids=[
        "missing",
        "directory",
        "cut",
        "twice",
        "no UTF-8",
        "too deep",
        "digits",
        "empty",
        "other",
        "no tool",
        "value",
        "array",
    ],
)
def test_faulty_file(content: bytes | str | None, complaint: str, file: Path) -> None:
    """A file that cannot be read, is not TOML, or lacks the table, is a ConfigError with its path and the problem."""
    if content == "directory":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_config_file(file)
    assert str(caught.value).startswith(f"The configuration file {file} {complaint}")


def test_byte_order_mark(file: Path) -> None:
    """Editors of Windows put one in front of a file; it is passed over."""
    file.write_bytes(b"\xef\xbb\xbf[tool.pycachehook]\nlayout = 'shared'\n")
    assert read_config_file(file)[1] == {"layout": "shared"}


def test_huge_file(file: Path) -> None:
    """A file out of all proportion is refused before anything of it is read."""
    with file.open("wb") as opened:
        opened.truncate(1 << 40)
    with pytest.raises(ConfigError, match="cannot be read: it has more than"):
        read_config_file(file)
