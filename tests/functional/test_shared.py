"""`layout = "shared"`: one compilation serves all environments, checkouts and processes, each with its own paths."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import sysconfig
import time
import venv
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock  # noqa: F401 -- imported here because a hook would load it again for every test
import pytest

import pycachehook
from pycachehook import pyc
from pycachehook._compat import source_hash
from pycachehook.cli.main import main
from pycachehook.hook import loader as loader_for

from .conftest import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from conftest import Python

    from .conftest import Measure, PrivateMounts

    Tree = Callable[[Mapping[str, str]], Path]

MODULES = 40
PACK = {
    "pack/__init__.py": "",
    "pack/wrong.py": "def fail():\n    raise ValueError('as it must')\n",
    "pack/levels.py": "'Docs.'\nDEBUG = __debug__\ndef asserted():\n    assert False\n    return 'not asserted'\n",
    **{f"pack/module_{number}.py": f"VALUE = {number}\ndef f():\n    return VALUE\n" for number in range(MODULES)},
}
NAMES = ["pack", *(name[:-3].replace("/", ".") for name in PACK if not name.endswith("__init__.py"))]
OPTIONS = {"PYCACHEHOOK_LAYOUT": "shared", "PYCACHEHOOK_IN_TREE": "ignore"}


@pytest.fixture
def environments(tmp_path: Path, python: Python) -> Callable[[int], list[tuple[Python, Path]]]:
    """Return a function that makes virtual environments, each with this project and its own copy of a package."""

    def make(count: int) -> list[tuple[Python, Path]]:
        made = []
        for number in range(count):
            folder = tmp_path / f"environment_{number}"
            venv.EnvBuilder(symlinks=True).create(folder)
            (site,) = folder.glob("lib/python*/site-packages")
            line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
            site.joinpath("_tests.pth").write_text(line)
            for name, text in PACK.items():
                path = site / name
                path.parent.mkdir(exist_ok=True)
                path.write_text(text)
            made.append((type(python)(folder / "bin" / "python", **python.environment), site))
        return made

    return make


SHOW = f"""
import inspect, json, sys, traceback
for name in {NAMES}:
    __import__(name)
import pack.wrong
try:
    pack.wrong.fail()
except ValueError:
    trace = traceback.format_exc()
print(json.dumps([trace, inspect.getsourcefile(pack.wrong.fail), inspect.getsource(pack.wrong.fail), pack.wrong.__file__]))
"""


@pytest.mark.alone
def test_second_environment(
    environments: Callable[[int], list[tuple[Python, Path]]], measure: Measure, cache: Path
) -> None:
    """An environment at another path compiles nothing that the first has stored, and shows its own paths."""
    compiled = []
    for python, site in environments(2):
        python("-m", "pycachehook", "enable", "--layout", "shared", "--cache-dir", cache, "--in-tree", "ignore")
        python("-c", "import pycachehook")  # a first import that also loads the hook
        assert [path for path in cache.rglob("*.pyc") if ".pycachehook" not in path.parts] == []
        stats = measure(python, "-c", SHOW)
        compiled.append((stats["compiled"], stats["stored"]))
        trace, file, text, name = json.loads(measure.output)
        wrong = str(site / "pack" / "wrong.py")
        assert f'File "{wrong}", line 2, in fail\n    raise ValueError' in trace
        assert (file, name, text) == (wrong, wrong, PACK["pack/wrong.py"])
        assert not list(site.joinpath("pack").rglob("*.pyc"))
        said = json.loads(python("-m", "pycachehook", "inspect", "pack.wrong", "--json").stdout)
        assert (said["source"], said["source_state"]) == (wrong, "same")
    assert compiled[0][0] == compiled[0][1] > len(PACK)
    assert compiled[1] == (0, 0)
    assert stats["misses"] == {}


COLD = f"""
import fcntl, importlib, json, sys
from filelock import lock_descriptor
import pycachehook, pycachehook.on_miss.compiling, pycachehook.config.rules
hook = pycachehook.install(sys.argv[1], layout="shared", lock_timeout=100)
hook.stats.reset()
print("ready", flush=True)
with open(sys.argv[2]) as file:
    fcntl.flock(file, fcntl.LOCK_SH)
values = [getattr(importlib.import_module(name), "__file__") for name in {NAMES}]
print(json.dumps([hook.stats.as_dict(), values]))
"""


@contextmanager
def closed(gate: Path) -> Iterator[None]:
    """Keep processes waiting at the gate during a `with` block."""
    gate.touch()
    with gate.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@pytest.mark.alone
def test_cold_at_once(environments: Callable[[int], list[tuple[Python, Path]]], cache: Path, tmp_path: Path) -> None:
    """Eight processes of four environments together compile and store each file once."""
    gate = tmp_path / "gate"
    running: list[tuple[Path, subprocess.Popen[str]]] = []
    with closed(gate):
        for python, site in environments(4) * 2:
            running.append((site, python.start("-c", COLD, cache, gate)))
        for _, process in running:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n", process.communicate()
    total = {"compiled": 0, "stored": 0, "hits": 0, "errors": 0}
    for site, process in running:
        output, errors = process.communicate(timeout=120)
        assert (process.returncode, errors) == (0, "")
        counted, files = json.loads(output)
        assert {str(Path(file).parent) for file in files} == {str(site / "pack")}
        total = {name: total[name] + counted[name] for name in total}
    assert total == {"compiled": len(PACK), "stored": len(PACK), "hits": 7 * len(PACK), "errors": 0}
    assert len(list(cache.rglob("*.pyc"))) >= len(PACK)


def test_levels_side_by_side(python: Python, tree: Tree, cache: Path, measure: Measure) -> None:
    """Each optimization level has its own entries."""
    root = tree(PACK)
    program = """
import pack.levels
try:
    said = pack.levels.asserted()
except AssertionError:
    said = "asserted"
print(pack.levels.__doc__, pack.levels.DEBUG, said)
"""
    expected = {"-O": "Docs. False not asserted", "-OO": "None False not asserted", "": "Docs. True asserted"}
    options = {**OPTIONS, "PYTHONPATH": str(root)}
    for first in (True, False):
        for flag, output in expected.items():
            arguments: list[str | Path] = [
                *filter(None, [flag]),
                "-m",
                "pycachehook",
                "run",
                "--cache-dir",
                cache,
                "-c",
                program,
            ]
            stats = measure(python.within(options), *arguments)
            assert measure.output.strip() == output
            assert (stats["compiled"] > 0) is first
            assert stats["stored"] == stats["compiled"]
    for level in ("", ".opt-1", ".opt-2"):
        assert len(list(cache.rglob(f"*.{sys.implementation.cache_tag}{level}.pyc"))) >= 2


@pytest.mark.full
@pytest.mark.alone
def test_entry_of_a_private_source(private_mounts: PrivateMounts, python: Python, tmp_path: Path) -> None:
    """An entry that a user cannot read makes that user compile the same source, without an error."""
    tmp_path.chmod(0o755)
    root = tmp_path / "trees"
    for name, mode in (("private", 0o600), ("public", 0o644)):
        (root / name).mkdir(parents=True)
        for module in ("same", "own"):
            path = root / name / f"{module}.py"
            path.write_text(f"VALUE = {'same' if module == 'same' else name!r}\n")
            path.chmod(mode)
    root.chmod(0o755)
    cache = root / "cache"
    run = ("-m", "pycachehook", "run", "--cache-dir", cache, "-c", "import same, own")
    python(*run, PYTHONPATH=str(root / "private"), PYCACHEHOOK_LAYOUT="shared")
    log = {"PYCACHEHOOK_LOG": "stderr", "PYCACHEHOOK_LAYOUT": "shared", "PYTHONPATH": str(root / "public")}
    process = private_mounts(python.within(log), *run, user=NOBODY, reach=[root, Path(pycachehook.__file__).parents[2]])
    lines = [line for line in process.stderr.splitlines() if str(root / "public") in line]
    assert ["same: miss (io-error)" in lines[0], "own: miss (absent)" in lines[1], len(lines)] == [True, True, 2]


@pytest.mark.full
@pytest.mark.alone
def test_several_users(private_mounts: PrivateMounts, python: Python, tmp_path: Path) -> None:
    """Other users' entries are used only under `allow_shared`; a user who cannot write still imports."""
    tmp_path.chmod(0o755)
    root = tmp_path / "trees"
    for name in ("one", "two"):
        (root / name).mkdir(parents=True)
        (root / name / "same.py").write_text("VALUE = 'same'\n")
        (root / name / "own.py").write_text(f"VALUE = {name!r}\n")
    cache = root / "cache"
    cache.mkdir()
    os.chown(cache, NOBODY, NOBODY)
    reach = [root, Path(pycachehook.__file__).parents[2]]

    def outcomes(tree: str, user: int, **options: str) -> list[str]:
        code = "import same, own; assert own.VALUE == " + repr(tree)
        run = ("-m", "pycachehook", "run", "--layout", "shared", "--cache-dir", cache, "-c", code)
        told = {"PYCACHEHOOK_LOG": "stderr", "PYTHONPATH": str(root / tree), **options}
        process = private_mounts(python.within(told), *run, user=user, reach=reach)
        return [line.partition(": ")[2] for line in process.stderr.splitlines() if str(root / tree) in line]

    compiled = [f"miss (absent) {root}/one/{name}.py, compiled and stored" for name in ("same", "own")]
    assert outcomes("one", NOBODY) == [f"{name}: {told}" for name, told in zip(("same", "own"), compiled, strict=True)]
    refused, _ = outcomes("two", NOBODY - 1)
    assert refused == f"same: miss (absent) {root}/two/same.py, compiled"
    assert outcomes("two", NOBODY - 1, PYCACHEHOOK_ALLOW_SHARED="1") == [
        f"same: hit (store) {root}/two/same.py",
        f"own: miss (absent) {root}/two/own.py, compiled",
    ]


@pytest.fixture
def filled(no_hook: None, cache: Path, tree: Tree) -> dict[str, Path]:
    """Return the entries of a package's sources by their names, in a cache that the hook has filled."""
    root = tree(PACK)
    before: set[Path] = set()
    entries = {}
    with pycachehook.install(cache, layout="shared", in_tree="ignore"):
        loader_for("wrong", str(root / "pack" / "wrong.py")).get_code(
            "wrong"
        )  # and the modules that the first write loads
        for entry in cache.rglob("*.pyc"):
            entry.unlink()
        for name in PACK:
            loader_for("m", str(root / name)).get_code("m")
            (entries[name],) = set(cache.rglob("*.pyc")) - before
            before.add(entries[name])
    return entries


@pytest.fixture
def command(cache: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """Return a function that runs a command on the cache and returns its JSON output."""

    def run(*arguments: str) -> Any:
        assert main([*arguments, "--json", "--cache-dir", str(cache)]) in (0, 1)
        return json.loads(capsys.readouterr().out)

    return run


def test_verify(filled: dict[str, Path], command: Callable[..., Any], tree: Tree) -> None:
    """Damage and an entry under a wrong name are bad; a source that is missing or edited is no defect."""
    assert command("verify") == {"counts": {"sound": len(PACK)}, "bad": []}
    root = tree({"pack/module_1.py": "edited = True\n"})
    (root / "pack" / "module_0.py").unlink()
    assert command("verify") == {"counts": {"sound": len(PACK)}, "bad": []}
    damaged, unsealed, timestamp, misplaced = (filled[f"pack/module_{number}.py"] for number in (2, 3, 4, 5))
    for entry, change in (
        (damaged, lambda data: data[:30] + bytes([data[30] ^ 1]) + data[31:]),
        (unsealed, lambda data: data[:-16]),
        (timestamp, lambda _: pyc.encode(compile("0", "m.py", "exec"), 0, bytes(8), bytes(8))),
        (misplaced, lambda _: filled["pack/module_6.py"].read_bytes()),
    ):
        entry.write_bytes(change(entry.read_bytes()))
    said = command("verify")
    assert {each["path"]: (each["verdict"], each["detail"]) for each in said["bad"]} == {
        str(damaged): ("corrupt", "seal"),
        str(unsealed): ("corrupt", "no seal"),
        str(timestamp): ("other-mode", "a shared entry is checked-hash"),
        str(misplaced): ("corrupt", f"its name is not that of {root / 'pack' / 'module_6.py'}"),
    }
    command("verify", "--fix")
    assert command("verify") == {"counts": {"sound": len(PACK) - 4}, "bad": []}
    assert not misplaced.exists()


@pytest.mark.parametrize("flags", [(), ("-O",), ("-X", "no_debug_ranges")])
def test_verify_whatever_it_was_compiled_with(
    flags: tuple[str, ...], python: Python, tree: Tree, cache: Path, command: Callable[..., Any]
) -> None:
    """Names of entries are verified for every level, with and without columns in the code."""
    root = tree(PACK)
    options = {**OPTIONS, "PYTHONPATH": str(root)}
    python.within(options)(*flags, "-m", "pycachehook", "run", "--cache-dir", cache, "-c", "import pack.levels")
    counts = command("verify")["counts"]
    assert set(counts) == {"sound"}
    assert counts["sound"] >= 2


def test_prune(filled: dict[str, Path], command: Callable[..., Any], tree: Tree, cache: Path) -> None:
    """Age, size and number limits apply to entries, which are never orphans; temporary files are removed."""
    root = tree({})
    for number, entry in enumerate(filled.values()):
        used = time.time() - (number + 0.5) * 86400
        os.utime(entry, (used, used))
    for name in PACK:
        (root / name).unlink()
    left = filled["pack/module_7.py"].with_name(".pycachehook-1-2.tmp")
    left.touch()
    os.utime(left, (0, 0))
    assert [each["reason"] for each in command("prune", "--orphans")["removed"]] == ["temporary"]
    assert all(entry.exists() for entry in filled.values())
    said = command("prune", "--max-age", f"{len(PACK) - 10}d")
    assert (len(said["removed"]), said["files"]) == (10, len(PACK) - 10)
    assert [each["reason"] for each in command("prune", "--max-files", "5")["removed"]] == ["files"] * (len(PACK) - 15)
    said = command("prune", "--max-size", "1")
    assert (len(said["removed"]), said["files"], said["bytes"]) == (5, 0, 0)
    assert not any(cache.rglob("*.pyc"))
    assert (cache / ".pycachehook" / "format").exists()


def test_links_in_the_cache(filled: dict[str, Path], command: Callable[..., Any], cache: Path, tmp_path: Path) -> None:
    """Nothing is examined or removed through a link that leads away from the entries."""
    shared = cache / ".pycachehook" / "shared"
    shared.rename(tmp_path / "away")
    shared.symlink_to(tmp_path / "away")
    assert command("verify") == {"counts": {}, "bad": []}
    assert command("prune", "--max-files", "0")["removed"] == []
    assert len(list((tmp_path / "away").rglob("*.pyc"))) == len(PACK)


def test_status(
    filled: dict[str, Path], capsys: pytest.CaptureFixture[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`status` counts each entry once, and those of other interpreters separately."""
    entry = filled["pack/wrong.py"]
    entry.with_name(entry.name.replace(sys.implementation.cache_tag or "", "cpython-399")).write_bytes(b"other")
    monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", str(cache))
    monkeypatch.setenv("PYCACHEHOOK_LAYOUT", "shared")
    assert main(["status", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    size = sum(each.stat().st_size for each in filled.values())
    assert (said["layout"], said["entries"], said["bytes"]) == ("shared", len(PACK), size)
    assert said["distributions"] == {
        "(shared)": {"entries": len(PACK), "bytes": size},
        "(other interpreters and tools)": {"entries": 1, "bytes": 5},
    }


@pytest.mark.parametrize("jobs", ["1", "4"])
def test_precompile(jobs: str, python: Python, tree: Tree, cache: Path, measure: Measure) -> None:
    """`precompile` compiles each content once, and imports of another checkout use the entry."""
    root = tree({**{f"one/{name}": text for name, text in PACK.items()}, **{f"two/{n}": t for n, t in PACK.items()}})
    run = ("-m", "pycachehook", "precompile", "--layout", "shared", "--cache-dir", cache, "-j", jobs, "--json", root)
    said = json.loads(python(*run, PYCACHEHOOK_IN_TREE="ignore").stdout)
    assert (said["compiled"], said["valid"], said["failed"]) == (len(PACK), len(PACK), [])
    moved = cache.with_name("moved")
    moved.symlink_to(root / "two")
    options = {**OPTIONS, "PYCACHEHOOK_IN_TREE": "read", "PYTHONPATH": str(moved)}
    program = (
        f"import sys\nfor name in {NAMES}: __import__(name)\nprint(sys.modules['pack.wrong'].fail.__code__.co_filename)"
    )
    stats = measure(python, "-m", "pycachehook", "run", "--cache-dir", cache, "-c", program, **options)
    assert measure.output.strip() == str(moved / "pack" / "wrong.py")
    assert (stats["compiled"], stats["hits_by_place"]["store"]) == (0, len(PACK))


def test_precompile_says_what_is_not_shared(python: Python, tree: Tree, cache: Path) -> None:
    """A source with a codec from a package is skipped, and the command says why."""
    root = tree({"own.py": "# coding: own\nx = 1\n", "plain.py": "x = 1\n"})
    codec = """
import codecs, runpy, sys
utf_8 = codecs.lookup("utf-8")
codecs.register(lambda name: utf_8 if name == "own" else None)
runpy.run_module("pycachehook", run_name="__main__")
"""
    run = ("precompile", "--layout", "shared", "--cache-dir", cache, "-j", "1", "--json", root)
    process = python("-c", codec, *run, check=False, PYCACHEHOOK_IN_TREE="ignore")
    said = json.loads(process.stdout)
    assert (process.returncode, said["compiled"], said["failed"]) == (0, 1, [])
    assert [each["reason"] for each in said["skipped"]] == ["its encoding 'own' is not one of Python's own"]


def test_config_error(python: Python, cache: Path) -> None:
    """Options that contradict each other are reported in one sentence."""
    run = ("-m", "pycachehook", "run", "--cache-dir", cache, "--layout", "shared")
    process = python(*run, "--invalidation-mode", "timestamp", "-c", "", check=False)
    assert process.returncode == 2
    said = "layout = 'shared' (--layout) does not go with invalidation_mode = 'timestamp' (--invalidation-mode)"
    assert said in process.stderr
    assert "Traceback" not in process.stderr


def test_another_reader(python: Python, tree: Tree, cache: Path) -> None:
    """CPython can run an entry as a pyc."""
    root = tree({"m.py": "print('run')\n"})
    options = python.within({**OPTIONS, "PYTHONPATH": str(root)})
    options("-m", "pycachehook", "run", "--cache-dir", cache, "-c", "import m")
    outputs = {
        python(entry, check=False).stdout
        for entry in cache.rglob("*.pyc")
        if entry.read_bytes()[8:16] == source_hash(b"print('run')\n")
    }
    assert outputs == {"run\n"}


def test_bytes_saved(python: Python, tree: Tree, cache: Path, tmp_path: Path) -> None:
    """`status` reports the bytes that processes with statistics have loaded from shared entries."""
    root = tree({"one.py": "ONE = 1\n"})
    options = {**OPTIONS, "PYCACHEHOOK_CACHE_DIR": str(cache), "PYTHONPATH": str(root)}
    rules = {"PYCACHEHOOK_RULES": '[{match = "*/one.py", layout = "shared"}, {match = "*", enabled = false}]'}
    counted = {"PYCACHEHOOK_STATS": str(tmp_path / "stats")}
    code = "import pycachehook; pycachehook.install(); import one"
    for _ in range(3):
        python.within({**options, **rules, **counted})("-c", code)
    (entry,) = (cache / ".pycachehook" / "shared").rglob("*.pyc")
    lines = (tmp_path / "stats").read_text().splitlines()
    assert [json.loads(line).get("shared_bytes", 0) for line in lines] == [
        0,
        entry.stat().st_size,
        entry.stat().st_size,
    ]
    with (tmp_path / "stats").open("a") as file:
        file.write('{"shared_bytes": \n')
    status = python.within({**options, **counted})("-m", "pycachehook", "status", "--json")
    assert json.loads(status.stdout)["bytes_saved"] == 2 * entry.stat().st_size
    assert "bytes saved" in python.within({**options, **counted})("-m", "pycachehook", "status").stdout
    assert json.loads(python.within(options)("-m", "pycachehook", "status", "--json").stdout)["bytes_saved"] == 0
