"""`pycachehook verify`: reports what is wrong in a cache, and nothing else."""

from __future__ import annotations

import json
import os
import py_compile
import random
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import filelock  # noqa: F401 -- imported here because a hook would load it again for every test
import pytest

import pycachehook
import pycachehook.on_miss.compiling  # imported before there is a hook, like filelock
from pycachehook.cli.main import main
from pycachehook.hook import loader as loader_for
from pycachehook.pyc import SEAL_SIZE

from .conftest import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conftest import Python

ENTRIES, CORRUPTED, SEED = 1200, 1000, 20


@pytest.fixture
def filled(no_hook: None, cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> dict[Path, Path]:
    """Return the entries of many sources, each with its source, in a cache that the hook has filled."""
    root = tree({f"module_{number}.py": f"def function():\n    return {number}\n" for number in range(ENTRIES)})
    filled = {}
    with pycachehook.install(cache, in_tree="ignore"):
        for path in sorted(root.iterdir()):
            loader_for(path.stem, str(path)).get_code(path.stem)
            filled[cache / str(path.relative_to("/").with_suffix(f".{sys.implementation.cache_tag}.pyc"))] = path
    assert all(entry.exists() for entry in filled)
    return filled


@pytest.fixture
def verify(filled: dict[Path, Path], cache: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the command, checks its exit code, and returns its JSON output."""

    def run(*arguments: str) -> dict[str, Any]:
        code = main(["verify", "--json", "--cache-dir", str(cache), *arguments])
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert code == bool(said["bad"])
        return said

    return run


def test_finds_each_corruption_and_no_sound_entry(
    filled: dict[Path, Path], verify: Callable[..., dict[str, Any]], cache: Path
) -> None:
    """Of a thousand entries exactly the damaged ones are bad; `--fix` removes them."""
    assert verify() == {"counts": {"sound": ENTRIES}, "bad": []}
    chance = random.Random(SEED)
    corrupted = chance.sample(sorted(filled), CORRUPTED)
    for entry in corrupted:
        data = bytearray(entry.read_bytes())
        if chance.random() < 0.5:
            data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        else:
            length = chance.randrange(len(data))
            del data[
                length - (length == len(data) - SEAL_SIZE) :
            ]  # an entry without just its seal is a sound pyc, as CPython writes it
        entry.write_bytes(data)
    said = verify()
    assert {each["path"] for each in said["bad"]} == set(map(str, corrupted))
    assert set(said["counts"]) <= {"sound", "corrupt", "wrong-magic"}
    assert said["counts"]["sound"] == ENTRIES - CORRUPTED
    assert verify("--fix")["bad"] == said["bad"]
    assert set(cache.rglob("*.pyc")) == set(filled) - set(corrupted)
    assert verify() == {"counts": {"sound": ENTRIES - CORRUPTED}, "bad": []}


def test_verdicts(filled: dict[Path, Path], verify: Callable[..., dict[str, Any]], cache: Path) -> None:
    """Each defect has its own verdict; CPython's pycs are checked too, and other files are not judged."""
    entries = sorted(filled)
    os.utime(filled[entries[0]], (1, 1))  # not reported
    filled[entries[1]].write_text("changed", encoding="utf-8")
    filled[entries[2]].unlink()
    entries[3].chmod(0o666)
    bodies = {4: b"", 5: entries[5].read_bytes()[16:-SEAL_SIZE][:-20], 6: entries[6].read_bytes()[16:-SEAL_SIZE]}
    for number, body in bodies.items():
        entries[number].write_bytes(entries[number].read_bytes()[:16] + body)
    for mode in py_compile.PycInvalidationMode:
        number = 7 + list(py_compile.PycInvalidationMode).index(mode)
        py_compile.compile(str(filled[entries[number]]), str(entries[number]), invalidation_mode=mode)
    foreign = [entries[0].with_name(name) for name in ("m.cpython-27.pyc", "m.other-tool.pyc", "notes.txt")]
    for path in foreign:
        path.write_bytes(b"")
    said = verify()
    reasons = {1: "stale-source", 2: "orphaned", 3: "untrusted", 4: "corrupt", 5: "corrupt"}
    assert {each["path"]: each["verdict"] for each in said["bad"]} == {
        str(entries[number]): reason for number, reason in reasons.items()
    }
    assert said["counts"] == {"sound": ENTRIES - 5, "foreign": 3, **Counter(reasons.values())}
    verify("--fix")
    assert all(path.exists() for path in foreign)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to look at root's entries as another user")
@pytest.mark.usefixtures("filled")
def test_sources_of_somebody_else(python: Python, cache: Path) -> None:
    """An entry whose source this user cannot read is not judged, and needs no repair."""
    program = f"""if True:
        import os
        from pycachehook.commands import verify
        os.chdir({str(cache)!r})  # from here on nobody needs to come through the directories above
        os.seteuid({NOBODY})
        outcome = verify.verify_cache(".")
        print(dict(outcome.counts), outcome.bad)
    """
    assert python("-c", program).stdout == f"{{'unknown': {ENTRIES}}} []\n"


def test_program_of_another_name(
    python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The entry of a program not named `*.py` is sound as long as the program exists."""
    program = tree({"tool.sh": "print(42)\n"}) / "tool.sh"
    python("-m", "pycachehook", "run", "--cache-dir", cache, "--in-tree", "read", program)
    assert len(list(cache.rglob("tool.*.pyc"))) == 1
    assert main(["verify", "--cache-dir", str(cache)]) == 0
    program.unlink()
    capsys.readouterr()
    assert main(["verify", "--cache-dir", str(cache)]) == 1
    assert "orphaned" in capsys.readouterr().out


@pytest.mark.usefixtures("no_hook")
def test_allow_shared(
    filled: dict[Path, Path], verify: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Entries that others can write to are untrusted, unless `allow_shared` is set."""
    next(iter(filled)).chmod(0o666)
    assert verify()["counts"] == {"untrusted": 1, "sound": ENTRIES - 1}
    monkeypatch.setenv("PYCACHEHOOK_ALLOW_SHARED", "1")
    assert verify()["counts"] == {"sound": ENTRIES}


def test_no_cache(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A missing directory is reported in one sentence."""
    assert main(["verify", "--cache-dir", str(cache)]) == 1
    assert capsys.readouterr().err == f"pycachehook: error: The cache directory {cache} does not exist.\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to look at another user's cache")
@pytest.mark.usefixtures("filled")
def test_the_cache_of_another_user(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Root judges a service's cache by the service's user id, and removes what that user would not trust."""
    for path in (cache, *cache.rglob("*")):
        os.lchown(path, NOBODY, NOBODY)
    entries = sorted(cache.rglob("*.pyc"))
    os.chown(entries[0], 12345, 12345)
    os.chown(entries[1], 0, 0)
    assert main(["verify", "--fix", "--cache-dir", str(cache)]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{entries[0]}: untrusted (is owned by uid 12345), removed"
    assert said[1].startswith(f"{cache} belongs to uid {NOBODY}: ")
    assert said[2] == f"{cache}: 1 untrusted, {ENTRIES - 1} sound"
    assert sorted(cache.rglob("*.pyc")) == entries[1:]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to look at root's entries as another user")
def test_entries_that_may_not_be_read(python: Python, filled: dict[Path, Path], cache: Path) -> None:
    """An entry that this user cannot read is not judged, and never removed."""
    for entry in filled:
        entry.chmod(0o600)
    cache.chmod(0o777)
    program = f"""if True:
        import os
        from pycachehook.commands import verify
        os.chdir({str(cache)!r})  # from here on nobody needs to come through the directories above
        os.seteuid({NOBODY})
        print(dict(verify.verify_cache(".", fix=True).counts))
    """
    assert python("-c", program).stdout == f"{{'unknown': {ENTRIES}}}\n"
    assert all(entry.exists() for entry in filled)


def test_nothing_of_the_current_directory_runs(
    filled: dict[Path, Path], cache: Path, python: Python, tmp_path: Path
) -> None:
    """The process that reads entries without a seal imports nothing from the current directory."""
    for entry in list(filled)[:3]:
        py_compile.compile(
            str(filled[entry]), str(entry), invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH
        )
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("json", "pycachehook", "marshal", "struct", "re"):
        (hostile / f"{name}.py").write_text("raise SystemExit('ran')\n", encoding="utf-8")
    program = "import sys; sys.path.remove(''); from pycachehook.cli.main import main; sys.exit(main(sys.argv[1:]))"
    done = python("-c", program, "verify", "--cache-dir", cache, cwd=hostile)
    assert (done.stdout, done.stderr) == (f"{cache}: {ENTRIES} sound\n", "")
