"""`pycachehook prune`: keeps a cache within limits while others use it, and removes nothing else."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

import filelock  # noqa: F401 -- imported here because a hook would load it again for every test
import pytest

import pycachehook
import pycachehook.on_miss.compiling  # imported before there is a hook, like filelock
from pycachehook.cli.main import main
from pycachehook.hook import loader as loader_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conftest import Python

    from .conftest import PrivateMounts

ENTRIES = 40
DAY = 86400


@pytest.fixture
def filled(no_hook: None, cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> list[tuple[Path, Path]]:
    """Return `(source, entry)` for every entry of a cache; the entry at index N was last used N days ago."""
    root = tree({f"folder_{number}/module.py": f"VALUE = {'x' * number!r}\n" for number in range(ENTRIES)})
    filled = []
    with pycachehook.install(cache, in_tree="ignore"):
        for number in range(ENTRIES):
            source = root / f"folder_{number}" / "module.py"
            loader_for("module", str(source)).get_code("module")
            entry = cache / str(source.relative_to("/").with_suffix(f".{sys.implementation.cache_tag}.pyc"))
            used = time.time() - number * DAY
            os.utime(entry, (used, used))
            filled.append((source, entry))
    return filled


@pytest.fixture
def prune(
    filled: list[tuple[Path, Path]], cache: Path, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the command and returns its JSON output."""

    def run(*arguments: str) -> dict[str, Any]:
        assert main(["prune", "--json", "--cache-dir", str(cache), *arguments]) == 0
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        return said

    return run


def left(filled: list[tuple[Path, Path]]) -> list[int]:
    """Return the numbers of the remaining entries."""
    return [number for number, (_, entry) in enumerate(filled) if entry.exists()]


def test_without_limits_nothing_is_removed(
    filled: list[tuple[Path, Path]], prune: Callable[..., dict[str, Any]]
) -> None:
    """Without a limit no entry is removed."""
    size = sum(entry.stat().st_size for _, entry in filled)
    assert prune() == {"removed": [], "removed_bytes": 0, "files": ENTRIES, "bytes": size}
    assert left(filled) == list(range(ENTRIES))


def test_limits(filled: list[tuple[Path, Path]], prune: Callable[..., dict[str, Any]]) -> None:
    """Above a limit the least recently used entries are removed, each reported with the limit it exceeded."""
    sizes = [entry.stat().st_size for _, entry in filled]
    said = prune("--max-files", "30")
    assert (left(filled), said["files"], said["bytes"]) == (list(range(30)), 30, sum(sizes[:30]))
    assert said["removed"] == [{"path": str(filled[number][1]), "reason": "files"} for number in range(39, 29, -1)]
    said = prune("--max-age", "20d")
    assert {each["reason"] for each in said["removed"]} == {"age"}
    assert left(filled) == list(range(20))
    said = prune("--max-size", str(sum(sizes[:10])))
    assert {each["reason"] for each in said["removed"]} == {"size"}
    assert (left(filled), said["removed_bytes"]) == (list(range(10)), sum(sizes[10:20]))
    assert prune("--max-size", "1K", "--max-files", "2")["files"] <= 2


def test_dry_run(filled: list[tuple[Path, Path]], prune: Callable[..., dict[str, Any]], cache: Path) -> None:
    """`--dry-run` reports what would be removed, and removes nothing."""
    before = sorted(cache.rglob("*"))
    said = prune("--max-files", "1", "--dry-run")
    assert (len(said["removed"]), said["files"]) == (ENTRIES - 1, 1)
    assert sorted(cache.rglob("*")) == before
    assert prune("--max-files", "1") == said


def test_orphans_and_empty_directories(
    filled: list[tuple[Path, Path]], prune: Callable[..., dict[str, Any]], cache: Path
) -> None:
    """`--orphans` removes entries whose source is missing, and directories that become empty."""
    for source, _ in filled[:-1]:
        source.unlink()
    assert {each["reason"] for each in prune("--orphans")["removed"]} == {"orphan"}
    assert left(filled) == [ENTRIES - 1]
    assert list(cache.rglob("folder_*")) == [filled[-1][1].parent]
    assert (cache / "CACHEDIR.TAG").exists()


def test_what_killed_writers_left(filled: list[tuple[Path, Path]], prune: Callable[..., dict[str, Any]]) -> None:
    """Temporary files of this package and of CPython are removed when they are an hour old."""
    folder = filled[0][1].parent
    paths = [
        folder / name
        for name in (".pycachehook-1-a.tmp", ".pycachehook-2-b.tmp", "m.pyc.123", "m.pyc.456", "notes.tmp")
    ]
    for path, age in zip(paths, (3700, 60, 3700, 60, 10**7), strict=True):
        path.touch()
        os.utime(path, (time.time() - age,) * 2)
    assert {each["path"] for each in prune()["removed"]} == {str(paths[0]), str(paths[2])}
    assert [path.exists() for path in paths] == [False, True, False, True, True]


def test_bytecode_of_others_ages_too(filled: list[tuple[Path, Path]], prune: Callable[..., dict[str, Any]]) -> None:
    """Age limits apply to bytecode of other interpreters and tools too; other files stay."""
    folder = filled[0][1].parent
    others = [folder / name for name in ("m.cpython-27.pyc", "m.cpython-311-pytest-9.pyc", "notes.txt")]
    for path in others:
        path.touch()
        os.utime(path, (1, 1))
    assert {each["path"] for each in prune("--max-age", "100d")["removed"]} == set(map(str, others[:2]))
    assert others[2].exists()


@pytest.mark.parametrize("missing", ["CACHEDIR.TAG", ".pycachehook/format"])
def test_other_directories_are_refused(
    missing: str, filled: list[tuple[Path, Path]], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory without both marker files of a cache is refused."""
    (cache / missing).unlink()
    assert main(["prune", "--cache-dir", str(cache), "--max-files", "0"]) == 1
    assert "is no cache of this version" in capsys.readouterr().err
    assert left(filled) == list(range(ENTRIES))


def test_links_lead_nowhere(
    filled: list[tuple[Path, Path]], prune: Callable[..., dict[str, Any]], tmp_path: Path, cache: Path
) -> None:
    """Nothing outside the cache is removed through a link to a directory or a file."""
    outside = tmp_path / "outside"
    (outside / "empty").mkdir(parents=True)
    victim = outside / filled[0][1].name
    victim.write_bytes(filled[0][1].read_bytes())
    os.utime(victim, (1, 1))
    (cache / "to_a_directory").symlink_to(outside)
    (cache / "to_a_file.pyc").symlink_to(victim)
    prune("--max-files", "0", "--max-age", "1s", "--orphans")
    assert (left(filled), victim.exists(), (outside / "empty").exists()) == ([], True, True)


@pytest.fixture
def strangers(filled: list[tuple[Path, Path]], cache: Path) -> set[Path]:
    """Put old files into the cache that pycachehook cannot have written; return them."""
    folder = filled[0][1].parent
    (cache / "project" / ".git" / "refs").mkdir(parents=True)
    (folder / "empty" / "d.cpython-311.pyc").mkdir(parents=True)
    tag = sys.implementation.cache_tag
    other_cache = folder / "nested"
    (other_cache / ".pycachehook").mkdir(parents=True)
    (other_cache / ".pycachehook" / "format").write_text("1\n", encoding="utf-8")
    (folder / "__pycache__").mkdir()
    os.mkfifo(folder / f"fifo.{tag}.pyc")
    (folder / f"link.{tag}.pyc").symlink_to(filled[0][0])
    for name in ("sourceless.pyc", "notes.txt", f"__pycache__/m.{tag}.pyc", f"nested/m.{tag}.pyc"):
        (folder / name).write_bytes(b"data")
        os.utime(folder / name, (1, 1))
    known = {each for pair in filled for entry in pair for each in (entry, *entry.parents)}
    return {each for each in cache.rglob("*") if each not in known and each.name != "locks"}


@pytest.mark.parametrize(
    "command", [["prune", "--max-files", "0", "--max-age", "1s", "--orphans"], ["verify", "--fix"]]
)
def test_what_others_keep_in_a_cache_stays(
    command: list[str], filled: list[tuple[Path, Path]], strangers: set[Path], cache: Path
) -> None:
    """Empty directories, sourceless modules, `__pycache__` and a nested cache always stay."""
    filled[0][0].unlink()
    filled[1][1].write_bytes(b"damaged")
    main([*command, "--cache-dir", str(cache)])
    assert not filled[1][1].exists()
    assert not filled[0][1].exists()
    assert {each for each in strangers if not os.path.lexists(each)} == set()
    assert (cache / ".pycachehook" / "format").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root: mounts")
@pytest.mark.parametrize("command", [["prune", "--max-files", "0", "--orphans"], ["verify", "--fix"]])
def test_what_is_mounted_in_a_cache_stays(
    command: list[str],
    filled: list[tuple[Path, Path]],
    *,
    cache: Path,
    tmp_path: Path,
    private_mounts: PrivateMounts,
    python: Python,
) -> None:
    """Directories and files that are mounted inside the cache are not examined."""
    outside, tag = tmp_path / "out side", sys.implementation.cache_tag
    (outside / "empty").mkdir(parents=True)
    for name in (f"m.{tag}.pyc", f"file.{tag}.pyc", "empty/other.cpython-27.pyc"):
        (outside / name).write_bytes(b"data")
        os.utime(outside / name, (1, 1))
    (cache / "bind mount").mkdir()
    (cache / "tmpfs").mkdir()
    target = cache / f"target.{tag}.pyc"
    target.write_bytes(b"data")
    program = f"""if True:
        import os, subprocess, sys
        from pycachehook.cli.main import main
        mount = lambda *words: subprocess.run(["mount", *words], check=True)
        mount("--bind", {str(outside)!r}, {str(cache / "bind mount")!r})
        mount("--bind", {str(outside / f"file.{tag}.pyc")!r}, {str(target)!r})
        mount("-t", "tmpfs", "tmpfs", {str(cache / "tmpfs")!r})
        entry = {str(cache / "tmpfs" / f"m.{tag}.pyc")!r}
        open(entry, "wb").close()
        main([*{command!r}, "--cache-dir", {str(cache)!r}])
        assert os.path.exists(entry)
    """
    filled[0][0].unlink()
    before = sorted(outside.rglob("*"))
    assert private_mounts(python, "-c", program).stderr == ""
    assert not filled[0][1].exists()
    assert sorted(outside.rglob("*")) == before
    assert (cache / "bind mount").is_dir()


@pytest.mark.parametrize("command", [["prune", "--max-files", "0", "--orphans"], ["prune"], ["verify", "--fix"]])
@pytest.mark.parametrize("mark", [None, "link", "folder link", "other", "fifo"])
def test_a_directory_without_our_mark_is_refused(
    command: list[str], mark: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing is removed from a directory that is no cache; one sentence says so."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for name in (".git/refs/heads", "package/__pycache__"):
        (project / name).mkdir(parents=True)
    for name in (
        f"package/m.{sys.implementation.cache_tag}.pyc",
        "package/__pycache__/m.cpython-311.pyc",
        "package/m.py",
    ):
        (project / name).write_bytes(b"data")
        os.utime(project / name, (1, 1))
    (elsewhere / ".pycachehook").mkdir(parents=True)
    (elsewhere / ".pycachehook" / "format").write_text("1\n", encoding="utf-8")
    if mark is not None:
        (project / "CACHEDIR.TAG").write_text("Signature: 8a477f597d28d172789f06886806bc55\n", encoding="utf-8")
    if mark == "folder link":
        (project / ".pycachehook").symlink_to(elsewhere / ".pycachehook")
    elif mark is not None:
        (project / ".pycachehook").mkdir()
        format_file = project / ".pycachehook" / "format"
        if mark == "link":
            format_file.symlink_to(elsewhere / ".pycachehook" / "format")
        elif mark == "fifo":
            os.mkfifo(format_file)
        else:
            format_file.write_text("99\n", encoding="utf-8")
    before = sorted(project.rglob("*"))
    assert main([*command, "--cache-dir", str(project)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert f"{project} is no cache of this version" in said.err
    assert sorted(project.rglob("*")) == before


def test_a_fresh_directory(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Pruning a cache without entries succeeds, so a first CI job passes."""
    cache.mkdir()
    assert main(["prune", "--cache-dir", str(cache), "--max-size", "500M", "--max-age", "30d", "--orphans"]) == 0
    assert capsys.readouterr().out.startswith("nothing to prune: ")
    other_tool = cache / "home" / "test_module.cpython-311-pytest-9.0.pyc"
    other_tool.parent.mkdir()
    other_tool.write_bytes(b"data")
    os.utime(other_tool, (1, 1))
    assert main(["prune", "--cache-dir", str(cache), "--max-files", "0", "--max-age", "1s"]) == 0
    assert capsys.readouterr().out.startswith("nothing to prune: ")
    assert other_tool.exists()


def test_directories_that_become_empty_go(
    filled: list[tuple[Path, Path]], prune: Callable[..., dict[str, Any]], cache: Path
) -> None:
    """Directories that become empty are removed, except the cache itself."""
    prune("--max-files", "0")
    assert {each.name for each in cache.iterdir() if each.is_dir()} == {".pycachehook"}
    assert (cache / "CACHEDIR.TAG").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--max-size", "much"], "'much' is not a size, such as 500M"),
        (["--max-age", "30 years"], "'30 years' is not a time, such as 30d"),
        (["--max-files", "-1"], "'-1' is not a number of files"),
    ],
    ids=lambda each: each[0] if isinstance(each, list) else "",
)
def test_wrong_limits(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid limit is reported in one sentence with exit code 2."""
    with pytest.raises(SystemExit) as caught:
        main(["prune", *arguments])
    assert caught.value.code == 2
    assert sentence in capsys.readouterr().err.splitlines()[-1]


IMPORT = """
import importlib, json, sys
import pycachehook
import pycachehook.on_miss.compiling  # imported before there is a hook, like filelock
hook = pycachehook.install(sys.argv[1], in_tree="ignore")
wrong = 0
for round in range(15):
    for number in range(40):
        name = f"module_{number}"
        sys.modules.pop(name, None)
        wrong += importlib.import_module(name).VALUE != number
print(json.dumps({"wrong": wrong, "errors": hook.stats.errors}))
"""


def test_beside_running_imports(
    python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """While eight processes import, prune keeps the limits, and no import fails or runs wrong code."""
    root = tree({f"module_{number}.py": f"VALUE = {number}\n" for number in range(40)})
    processes = [python.start("-c", IMPORT, cache, PYTHONPATH=str(root)) for _ in range(8)]
    pruned = 0
    while any(process.poll() is None for process in processes):
        if (cache / ".pycachehook" / "format").exists() and (cache / "CACHEDIR.TAG").exists():
            assert main(["prune", "--json", "--cache-dir", str(cache), "--max-files", "10"]) == 0
            said = json.loads(capsys.readouterr().out)
            pruned += len(said["removed"])
            assert said["files"] <= 10
    for process in processes:
        output, errors = process.communicate()
        assert (process.returncode, errors, json.loads(output)["wrong"]) == (0, "", 0)
    assert pruned > 0


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="needs root: mounts")
def test_entries_of_several_layers(
    filled: list[tuple[Path, Path]], cache: Path, tmp_path: Path, private_mounts: PrivateMounts, python: Python
) -> None:
    """An image's entries have another device number than a container's; `verify` and `prune` see both."""
    upper = tmp_path / "upper"
    upper.mkdir()
    program = f"""if True:
        import os, subprocess
        from pycachehook.cli.main import main
        mount = lambda *words: subprocess.run(["mount", "-t", *words], check=True)
        mount("tmpfs", "tmpfs", {str(upper)!r})
        for name in ("data", "work"):
            os.mkdir({str(upper)!r} + "/" + name)
        layers = "lowerdir={cache},upperdir={upper}/data,workdir={upper}/work"
        mount("overlay", "-o", layers, "overlay", {str(cache)!r})
        main(["verify", "--cache-dir", {str(cache)!r}])
        main(["prune", "--max-files", "0", "--cache-dir", {str(cache)!r}])
    """
    said = private_mounts(python, "-c", program).stdout.splitlines()
    assert said[0] == f"{cache}: {len(filled)} sound"
    assert said[1].startswith(f"removed {len(filled)} files, ")
