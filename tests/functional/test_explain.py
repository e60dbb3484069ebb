"""`pycachehook explain`: predicts what an import of a module does."""

from __future__ import annotations

import importlib
import json
import os
import py_compile
import sys
import zipfile
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

import filelock  # noqa: F401 -- imported here because a hook would load it again for every test
import pytest

import pycachehook
import pycachehook.commands.explain  # imported before the hook is installed, because its counters are compared
import pycachehook.on_miss.compiling
from pycachehook.cli.main import main
from pycachehook.hook import loader as loader_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from conftest import Python

pytestmark = pytest.mark.alone

OTHER = bytes([importlib.util.MAGIC_NUMBER[0] ^ 1])  # the first byte of another interpreter's magic number


@pytest.fixture
def explain(no_hook: None, capsys: pytest.CaptureFixture[str]) -> Callable[[str], dict[str, Any]]:
    """Return a function that runs the command."""

    def run(name: str) -> dict[str, Any]:
        assert main(["explain", "--json", name]) == 0
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        return said

    return run


@pytest.fixture
def root(
    explain: Callable[[str], dict[str, Any]], tree: Callable[[Mapping[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Return a directory on the path with a module and a package."""
    root = tree({"module.py": "VALUE = 1\n", "pack/__init__.py": "raise SystemError\n", "pack/part.py": "VALUE = 2\n"})
    monkeypatch.syspath_prepend(str(root))
    return root


@pytest.fixture
def hook(root: Path, cache: Path) -> Iterator[pycachehook.Hook]:
    """Return an installed hook."""
    with pycachehook.install(cache) as hook:
        yield hook


def stored(hook: pycachehook.Hook, source: Path) -> Path:
    """Import a module so that the hook stores its entry, and return the entry's path."""
    loader_for(source.stem, str(source)).get_code(source.stem)
    (directory,) = hook.cache_dirs
    return Path(directory) / str(source.relative_to("/").with_suffix(f".{sys.implementation.cache_tag}.pyc"))


def damage(entry: Path) -> None:
    """Flip a bit of the entry's code."""
    data = bytearray(entry.read_bytes())
    data[30] ^= 1
    entry.write_bytes(data)


def replace_by_directory(entry: Path, _: Path) -> None:
    """Replace the entry by a directory."""
    entry.unlink()
    entry.mkdir()


DEFECTS: dict[str, Callable[[Path, Path], object]] = {
    "absent": lambda entry, _: entry.unlink(),
    "stale-source": lambda _, source: source.write_text("VALUE = 3\n", encoding="utf-8"),
    "other-mode": lambda entry, source: py_compile.compile(str(source), str(entry)),
    "wrong-magic": lambda entry, _: entry.write_bytes(OTHER + entry.read_bytes()[1:-16]),
    "corrupt": lambda entry, _: damage(entry),
    "untrusted": lambda entry, _: entry.chmod(0o666),
    "io-error": replace_by_directory,
}


@pytest.mark.parametrize("reason", DEFECTS)
def test_reasons(
    reason: str,
    explain: Callable[[str], dict[str, Any]],
    hook: pycachehook.Hook,
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`explain` predicts the reason and the file of each kind of miss, and the import confirms it."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    entry = stored(hook, root / "module.py")
    DEFECTS[reason](entry, root / "module.py")
    hook.stats.reset()
    said = explain("module")
    assert "module" not in sys.modules
    assert (said["source"], said["ours"], said["active"], said["why"]) == (str(root / "module.py"), True, True, None)
    assert (said["places"][0]["place"], said["places"][0]["path"], said["places"][0]["verdict"]) == (
        "store",
        str(entry),
        reason,
    )
    importlib.import_module("module")
    assert (hook.stats.misses, hook.stats.compiled) == ({reason: 1}, 1)
    assert said["outcome"] == "compiled and stored"
    assert hook.stats.stored == (reason != "io-error")  # a directory has the entry's name, which only a write reveals


HOLDER = """
import signal, sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    signal.pause()
"""


def test_lock_timeout(explain: Callable[[str], dict[str, Any]], root: Path, cache: Path, python: Python) -> None:
    """`explain` predicts a lock timeout while another process compiles, and the import confirms it."""
    with pycachehook.install(cache, lock_timeout=0.2, force_write=True) as hook:
        entry = stored(hook, root / "module.py")
        (lock,) = (cache / ".pycachehook" / "locks").iterdir()
        entry.unlink()
        hook.stats.reset()
        with python.start("-c", HOLDER, lock) as holder:
            try:
                assert holder.stdout is not None
                assert holder.stdout.readline() == "held\n"
                waits = "loaded from store if the process that is compiling it ends within 0.2 s; else lock-timeout"
                assert explain("module")["outcome"] == waits
                importlib.import_module("module")
                assert (hook.stats.misses, hook.stats.stored) == ({"lock-timeout": 1}, 0)
            finally:
                holder.kill()
        assert explain("module")["outcome"] == "compiled and stored"


def test_hits(explain: Callable[[str], dict[str, Any]], hook: pycachehook.Hook, root: Path) -> None:
    """`explain` names the file of a hit, and examines none of lower priority."""
    source = root / "module.py"
    in_tree = root / "__pycache__" / f"module.{sys.implementation.cache_tag}.pyc"
    mode = py_compile.PycInvalidationMode.CHECKED_HASH
    shipped = py_compile.compile(str(source), str(in_tree), invalidation_mode=mode)
    said = explain("module")
    assert [(each["place"], each["verdict"]) for each in said["places"]] == [("store", "absent"), ("in_tree", "hit")]
    assert (said["places"][1]["path"], said["outcome"]) == (shipped, "loaded from in_tree")
    assert shipped is not None
    Path(shipped).unlink()
    stored(hook, source)
    hook.stats.reset()
    said = explain("module")
    assert [(each["place"], each["verdict"]) for each in said["places"]] == [("store", "hit")]
    assert said["outcome"] == "loaded from store"
    importlib.import_module("module")
    assert hook.stats.hits_by_place["store"] == 1


def test_nothing_is_imported_or_made(
    explain: Callable[[str], dict[str, Any]], root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`explain` imports no parent package and creates no file; without a hook it predicts what a hook would do."""
    monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", str(cache))
    said = explain("pack.part")
    assert (said["source"], said["ours"], said["active"]) == (str(root / "pack" / "part.py"), True, False)
    assert "not active" in said["why"]
    assert [each["verdict"] for each in said["places"]] == ["absent", "absent"]
    assert said["outcome"] == "compiled and stored"
    assert said["options"]["cache_dir"] == {"value": str(cache), "origin": "PYCACHEHOOK_CACHE_DIR"}
    assert (cache.exists(), "pack" in sys.modules, pycachehook.active()) == (False, False, None)


def test_rules(explain: Callable[[str], dict[str, Any]], hook: pycachehook.Hook, root: Path, tmp_path: Path) -> None:
    """`explain` shows the rule that applies, and uses its options."""
    other = str(tmp_path / "other")
    rules: list[dict[str, object]] = [
        {"match": "*/pack/*", "cache_dir": other},
        {"match": "*/module.py", "enabled": False},
    ]
    pycachehook.install(next(iter(hook.cache_dirs)), rules=rules)
    said = explain("pack.part")
    assert said["rule"]["cache_dir"] == other
    assert said["options"]["cache_dir"] == {"value": other, "origin": "rule 1"}
    assert said["places"][0]["path"].startswith(other)
    said = explain("module")
    assert (said["ours"], said["why"], said["places"], said["outcome"]) == (
        False,
        "rule 2 excludes it",
        [],
        "left to CPython",
    )


class Finder:
    """A finder of another tool, with its own loader."""

    class Loader(SourceFileLoader):
        """The loader of that finder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """Find one module."""
        if name != "theirs":
            return None
        spec = ModuleSpec(name, self.Loader(name, self.path), origin=self.path)
        spec.has_location = True
        return spec


def test_what_is_not_ours(
    explain: Callable[[str], dict[str, Any]], hook: pycachehook.Hook, root: Path, tmp_path: Path
) -> None:
    """`explain` gives a reason for every kind of module that the hook ignores."""
    (root / "space").mkdir()
    with zipfile.ZipFile(tmp_path / "modules.zip", "w") as archive:
        archive.writestr("zipped.py", "")
    sys.path.append(str(tmp_path / "modules.zip"))
    sys.meta_path.insert(0, Finder(root / "module.py"))
    (root / "distlib").mkdir()
    (root / "distlib" / "__init__.py").touch()
    extension = next(
        name
        for name in ("_json", "_ctypes", "_lsprof")
        if "site-packages" not in str(PathFinder.find_spec(name)) and PathFinder.find_spec(name)
    )
    expected = {
        "sys": "it is built into the interpreter",
        "zipimport": "it is frozen",
        "space": "it is a namespace package",
        extension: "it is an extension module",
        "zipped": "its loader is zipimport.zipimporter",
        "theirs": f"its loader is {__name__}.Finder.Loader",
        "distlib": "it compares the exact type",
    }
    for name, why in expected.items():
        said = explain(name)
        assert said["why"].startswith(why), name
        assert (said["ours"], said["outcome"]) == (False, "left to CPython")


def test_kill_switch(explain: Callable[[str], dict[str, Any]], root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the kill switch set, the hook handles no module."""
    monkeypatch.setenv("PYCACHEHOOK_DISABLE", "1")
    assert explain("module")["why"] == "PYCACHEHOOK_DISABLE is set"


def test_refused_directory(explain: Callable[[str], dict[str, Any]], root: Path, cache: Path) -> None:
    """`explain` gives the reason why a cache directory is refused."""
    cache.mkdir()
    cache.chmod(0o777)
    with pycachehook.install(cache) as hook:
        said = explain("module")
        assert said["places"][0]["verdict"] == "untrusted"
        assert said["places"][0]["detail"] == hook.reason
        assert said["outcome"] == "compiled, not stored: there is no cache that may be used"


def test_read_only(explain: Callable[[str], dict[str, Any]], hook: pycachehook.Hook, root: Path) -> None:
    """`explain` gives the reason why nothing is written."""
    (directory,) = hook.cache_dirs
    pycachehook.install(directory, read_only=True)
    assert explain("module")["outcome"] == "compiled, not stored: read_only is set."


@pytest.mark.parametrize("name", ["no_such_module", "pack.no_such_module", "module.no_such_module"])
def test_no_such_module(name: str, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The message names a module that does not exist."""
    assert main(["explain", name]) == 1
    assert (
        capsys.readouterr().err
        == f"pycachehook: error: There is no module {name} on sys.path, to which PYTHONPATH adds.\n"
    )


def test_for_people(hook: pycachehook.Hook, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the same facts are printed as lines."""
    entry = stored(hook, root / "module.py")
    os.utime(entry, (0, 0))
    capsys.readouterr()
    assert main(["explain", "module"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"module: {root / 'module.py'}"
    assert lines[-2].startswith(f"  store: hit: {entry} (written or used ")
    assert lines[-1] == "  outcome: loaded from store"


def test_the_current_directory_is_searched(python: Python, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """Modules are searched as by `python -m`, with --script as by that script.

    With -P the current directory is not searched.
    """
    root = tree({"here.py": "", "below/there.py": "", "below/main.py": "import there"})
    commands = Path(python.executable).parent / "pycachehook"
    for command in ([python.executable, "-m", "pycachehook"], [str(commands)]):
        run = type(python)(command[0], **python.environment)
        explained = run(*command[1:], "explain", "--json", "here", cwd=root)
        assert json.loads(explained.stdout)["source"] == str(root / "here.py")
        assert "There is no module there" in run(*command[1:], "explain", "there", cwd=root, check=False).stderr
        explained = run(*command[1:], "explain", "--json", "--script", "below/main.py", "there", cwd=root)
        assert json.loads(explained.stdout)["source"] == str(root / "below" / "there.py")
        beside = run(*command[1:], "explain", "--script", "below/main.py", "here", cwd=root, check=False)
        assert (beside.returncode, beside.stderr.count("\n")) == (1, 1)
    safe = python("-P", "-m", "pycachehook", "explain", "here", cwd=root, check=False)
    assert "There is no module here" in safe.stderr


def test_replaced_step(python: Python, tree: Callable[[Mapping[str, str]], Path], cache: Path) -> None:
    """If a tool replaces a step of the loader, `explain` names the step and predicts that nothing is stored."""
    root = tree({
        "module.py": "",
        "sitecustomize.py": "from importlib.machinery import SourceFileLoader as L\nplain = L.get_data\n"
        "L.get_data = lambda self, path: plain(self, path)\n",
    })  # fmt: skip
    options = {"PYTHONPATH": str(root), "PYCACHEHOOK_CACHE_DIR": str(cache)}
    said = json.loads(python.within(options)("-m", "pycachehook", "explain", "--json", "module").stdout)
    assert (
        said["outcome"]
        == "compiled, and neither read nor stored: a tool has replaced 'get_data' of the loader in this process"
    )


@pytest.mark.parametrize("home", ["/nonexistent", None])
def test_no_cache_directory(home: str | None, python: Python, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """`explain` reports that no cache directory can be determined."""
    root = tree({"module.py": ""})
    environment = {"HOME": home} if home else {"PYCACHEHOOK_CACHE_DIR": "/dev/null/cache"}
    said = json.loads(python.within(environment)("-m", "pycachehook", "explain", "--json", "module", cwd=root).stdout)
    assert said["outcome"].startswith("compiled, not stored: ")
    assert (home or "/dev/null") in said["outcome"]
