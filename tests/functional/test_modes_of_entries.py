"""Permissions of entries, and stores that cannot be written to: on real disks, with real users."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import NOBODY

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterable, Mapping

    from conftest import Python

    from .conftest import Counters, PrivateMounts

SOURCE_MODES = [0o600, 0o640, 0o644, 0o664, 0o666, 0o755, 0o777, 0o444, 0o400, 0o700, 0o604]
NAMES = [f"mode_{mode:03o}" for mode in SOURCE_MODES]

IMPORT_ALL = "".join(f"import {name}\n" for name in NAMES)

# The modules that the first write needs are loaded before, because their entries would be counted.
PRELOAD = "from filelock import lock_descriptor\n"

# Imports a first and a second module, and prints the state after each.
TWO_STEPS = """
import json, os, pycachehook, sys
hook = pycachehook.install({cache!r})
states = [[hook.status, hook.reason]]
import first
states.append([hook.status, hook.reason])
import second
states.append([hook.status, hook.reason])
print(json.dumps({{"states": states, "stats": hook.stats.as_dict(), "user": os.getuid(),
                  "values": [first.VALUE, second.VALUE]}}))
"""
TWO = {"first.py": "VALUE = 1\n", "second.py": "VALUE = 2\n"}


@pytest.fixture
def modules(tree: Callable[[Mapping[str, str]], Path]) -> Path:
    """Return a directory with a module for each source mode."""
    root = tree({f"{name}.py": f"MODE = {name!r}\n" for name in NAMES})
    for name, mode in zip(NAMES, SOURCE_MODES, strict=True):
        (root / f"{name}.py").chmod(mode)
    return root


def modes(folder: Path) -> dict[str, int]:
    """Return the mode of the entry of each module."""
    return {path.name.partition(".")[0]: stat.S_IMODE(path.stat().st_mode) for path in folder.glob("mode_*.pyc")}


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o027, 0o077], ids=oct)
def test_mode_is_the_source_s(umask: int, python: Python, modules: Path, cache: Path) -> None:
    """An entry has its source's mode, as in CPython, less write permission for others and the umask."""
    install = f"import os, sys, pycachehook; os.umask({umask}); pycachehook.install({str(cache)!r})\n"
    python("-c", install + IMPORT_ALL, PYTHONPATH=str(modules))
    ours = modes(cache / str(modules)[1:])
    python("-c", f"import os; os.umask({umask})\n" + IMPORT_ALL, PYTHONPATH=str(modules))
    stock = modes(modules / "__pycache__")
    derived = {name: (mode | 0o200) & 0o666 & ~umask for name, mode in zip(NAMES, SOURCE_MODES, strict=True)}
    assert stock == derived
    assert ours == {name: mode & 0o644 for name, mode in derived.items()}


@pytest.mark.parametrize("umask", [0o000, 0o002, 0o022, 0o077], ids=oct)
def test_nothing_in_the_cache_is_writable_for_others(umask: int, python: Python, modules: Path, cache: Path) -> None:
    """Group and others cannot write to any file or directory of a cache, whatever the umask."""
    install = f"import os, pycachehook; os.umask({umask}); pycachehook.install({str(cache)!r})\n"
    python("-c", install + IMPORT_ALL, PYTHONPATH=str(modules))
    everything = [cache, *cache.rglob("*")]
    assert len(everything) > len(NAMES)
    assert [str(path) for path in everything if path.stat().st_mode & 0o022] == []


def test_default_cache_is_private(python: Python, modules: Path, tmp_path: Path) -> None:
    """Only its owner has access to the default cache directory."""
    python("-c", f"import pycachehook; pycachehook.install()\n{IMPORT_ALL}", PYTHONPATH=str(modules))
    (cache,) = (tmp_path / "home").rglob("pycachehook")
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert len(list(cache.rglob("mode_*.pyc"))) == len(NAMES)


@pytest.mark.full
def test_private_source_stays_private(
    environment: Python, private_mounts: PrivateMounts, modules: Path, cache: Path
) -> None:
    """A user who cannot read a source cannot read its entry, and can read the other entries."""
    environment("-c", f"import pycachehook; pycachehook.install({str(cache)!r})\n{IMPORT_ALL}", PYTHONPATH=str(modules))
    look = (
        "import json, os, pathlib, sys\n"
        "readable = lambda folder, end: sorted(path.name.partition('.')[0] for path in pathlib.Path(folder).glob("
        "'mode_*' + end) if os.access(path, os.R_OK))\n"
        f"print(json.dumps([readable({str(modules)!r}, '.py'), readable({str(cache / str(modules)[1:])!r}, '.pyc')]))\n"
    )
    output = private_mounts(environment, "-c", look, reach=[modules, cache], user=NOBODY).stdout
    sources, entries = json.loads(output)
    assert sources == entries == sorted(n for n, mode in zip(NAMES, SOURCE_MODES, strict=True) if mode & 0o004)


def finish(process: subprocess.CompletedProcess[str]) -> tuple[list[list[str]], Counters, int]:
    """Return the states, the counters and the user of a run of `TWO_STEPS`, which must run the right code silently."""
    assert process.stderr == ""
    report = json.loads(process.stdout)
    assert report["values"] == [1, 2]
    return report["states"], report["stats"], report["user"]


def left_behind(files: Iterable[Path]) -> list[Path]:
    """Return the files that are neither entries nor marker files, such as temporary files."""
    return [
        path
        for path in files
        if path.suffix not in (".pyc", ".TAG")
        and path.name != ".gitignore"
        and path.parts[-2:-1] != ("locks",)
        and path.parts[-2:] not in ((".pycachehook", "format"), (".pycachehook", "at-work"))
    ]


@pytest.mark.full
@pytest.mark.parametrize("situation", ["read-only mount", "another user's cache"])
def test_cache_that_cannot_be_written_from_the_start(
    situation: str,
    environment: Python,
    private_mounts: PrivateMounts,
    tree: Callable[[Mapping[str, str]], Path],
    cache: Path,
) -> None:
    """A cache on a read-only mount, or one of root for another user, is read-only with a reason."""
    root = tree(TWO)
    fill = f"import pycachehook; pycachehook.install({str(cache)!r})\nimport first"
    environment("-c", fill, PYTHONPATH=str(root))
    before = sorted(cache.rglob("*"))
    program = TWO_STEPS.format(cache=str(cache))
    if situation == "read-only mount":
        process = private_mounts(environment, "-c", program, read_only=[cache], PYTHONPATH=str(root))
    else:
        process = private_mounts(environment, "-c", program, reach=[root, cache], user=NOBODY, PYTHONPATH=str(root))
    states, stats, user = finish(process)
    assert user == (0 if situation == "read-only mount" else NOBODY)
    assert [status for status, _ in states] == ["read-only"] * 3
    assert str(cache) in states[0][1]
    assert (stats["compiled"], stats["stored"], stats["errors"]) == (1, 0, 0)
    assert stats["hits_by_place"] == {"archive": 0, "store": 1, "in_tree": stats["hits"] - 1}
    assert sorted(cache.rglob("*")) == before


@pytest.mark.full
@pytest.mark.alone
def test_part_of_the_cache_that_cannot_be_written(
    environment: Python, private_mounts: PrivateMounts, tree: Callable[[Mapping[str, str]], Path], cache: Path
) -> None:
    """After the first write without permission the store is read-only, and the reason names the entry."""
    root = tree(TWO)
    folder = cache / str(root)[1:]
    environment("-c", f"import pycachehook; pycachehook.install({str(cache)!r})\nimport first", PYTHONPATH=str(root))
    (entry,) = folder.glob("first.*.pyc")
    entry.unlink()
    for path in (cache, *(each for each in cache.rglob("*") if ".pycachehook" in each.parts)):
        os.chown(path, NOBODY, NOBODY)
    program = TWO_STEPS.format(cache=str(cache))
    states, stats, user = finish(
        private_mounts(environment, "-c", program, reach=[root, cache], user=NOBODY, PYTHONPATH=str(root))
    )
    assert user == NOBODY
    assert states[0] == ["writable", None]
    assert [status for status, _ in states[1:]] == ["read-only"] * 2
    assert states[1][1] == states[2][1] == f"Could not write {entry}: Permission denied."
    assert (stats["stored"], stats["errors"]) == (0, 1)
    assert stats["misses"] == {"absent": stats["compiled"]}
    assert left_behind(path for path in cache.rglob("*") if path.is_file()) == []


@pytest.mark.full
@pytest.mark.alone
def test_full_disk(
    environment: Python, private_mounts: PrivateMounts, tree: Callable[[Mapping[str, str]], Path], cache: Path
) -> None:
    """On a full disk the store becomes read-only with a reason, no partial entry stays, and the program runs."""
    big = "VALUE = 1\n" + "".join(f"TEXT_{number} = {str(number) * 500!r}\n" for number in range(400))
    root = tree({"first.py": big, "second.py": "VALUE = 2\n"})
    cache.mkdir()
    look = (
        "import pathlib\n"
        f"files = [path for path in pathlib.Path({str(cache)!r}).rglob('*') if path.is_file()]\n"
        "print(json.dumps([[str(path), path.stat().st_size] for path in files]))\n"
    )
    program = PRELOAD + TWO_STEPS.format(cache=str(cache)) + look
    process = private_mounts(environment, "-c", program, small={cache: 128 * 1024}, PYTHONPATH=str(root))
    first, second = process.stdout.splitlines()
    states, stats, _ = finish(type(process)(process.args, 0, first, process.stderr))
    files = {Path(path): size for path, size in json.loads(second)}
    assert states[0] == ["writable", None]
    assert [status for status, _ in states[1:]] == ["read-only"] * 2
    assert "No space left on device" in states[1][1]
    assert "first" in states[1][1]
    assert stats["errors"] == 1
    assert stats["stored"] == len([path for path in files if path.suffix == ".pyc"])
    assert left_behind(files) == []
    assert not [path for path in files if path.name.startswith("first.")]


@pytest.mark.full
def test_disk_without_room_for_anything(
    environment: Python, private_mounts: PrivateMounts, tree: Callable[[Mapping[str, str]], Path], cache: Path
) -> None:
    """A cache on a disk without room for one file is read-only after the first attempt."""
    root = tree(TWO)
    cache.mkdir()
    fill = (
        f"import os\ntry:\n    with open({str(cache / '.pycachehook-0-0.tmp')!r}, 'wb', buffering=0) as file:\n"
        "        while True:\n            file.write(bytes(4096))\nexcept OSError: pass\n"
    )
    program = PRELOAD + fill + TWO_STEPS.format(cache=str(cache))
    process = private_mounts(environment, "-c", program, small={cache: 64 * 1024}, PYTHONPATH=str(root))
    states, stats, _ = finish(process)
    assert [status for status, _ in states[1:]] == ["read-only"] * 2
    assert "No space left on device" in states[2][1]
    assert (stats["stored"], stats["errors"]) == (0, 1)


@pytest.mark.full
def test_directory_of_another_user_is_refused(
    environment: Python, private_mounts: PrivateMounts, tree: Callable[[Mapping[str, str]], Path], cache: Path
) -> None:
    """For root, a cache that another user can write to is disabled with a reason and left unchanged."""
    root = tree(TWO)
    for path in (cache, root):
        path.mkdir(exist_ok=True)
        os.chown(path, NOBODY, NOBODY)
    program = TWO_STEPS.format(cache=str(cache))
    private_mounts(environment, "-c", program, reach=[root, cache], user=NOBODY, PYTHONPATH=str(root))
    before = sorted(cache.rglob("*"))
    states, stats, user = finish(environment("-c", program, PYTHONPATH=str(root)))
    assert user == 0
    assert [status for status, _ in states] == ["disabled"] * 3
    assert f"{cache} is owned by uid {NOBODY}" in states[0][1]
    assert (stats["hits_by_place"]["store"], stats["stored"], stats["compiled"]) == (0, 0, 2)
    assert sorted(cache.rglob("*")) == before
    assert list(cache.rglob("first.*.pyc"))
    assert not list(root.rglob("*.pyc"))


@pytest.mark.full
def test_cache_directory_that_cannot_be_made(
    environment: Python, private_mounts: PrivateMounts, tree: Callable[[Mapping[str, str]], Path], tmp_path: Path
) -> None:
    """If a user cannot create the cache directory, the hook is disabled with a reason, and the program runs."""
    root = tree(TWO)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    program = TWO_STEPS.format(cache=str(theirs / "cache"))
    states, stats, _ = finish(
        private_mounts(environment, "-c", program, reach=[root, theirs], user=NOBODY, PYTHONPATH=str(root))
    )
    assert [status for status, _ in states] == ["disabled"] * 3
    assert "Permission denied" in states[0][1]
    assert (stats["stored"], stats["compiled"]) == (0, 2)
