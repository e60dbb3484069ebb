"""The activation files: what they hold, how they get there, and what they do at a start."""

from __future__ import annotations

import gc
import importlib.util
import json
import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pycachehook
from pycachehook import pyc
from pycachehook.commands.enable import FILES, START_UP_MODULES, STARTUP, disable, enable, files
from pycachehook.config import resolution
from pycachehook.paths import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Python
    from pycachehook.config.options import Options

TAG = sys.implementation.cache_tag
OPTIMIZED = f".opt-{sys.flags.optimize}" if sys.flags.optimize else ""
BYTECODE = {f"__pycache__/{STARTUP}.{TAG}{OPTIMIZED}.{kind}" for kind in ("pyc", "image")}


pytestmark = pytest.mark.usefixtures("no_options")


@pytest.fixture
def purelib(tmp_path: Path) -> Path:
    """Return an empty directory for packages."""
    path = tmp_path / "purelib"
    path.mkdir()
    return path


def options(**keywords: object) -> Options:
    """Return resolved options, of which these were given."""
    return resolution.resolve(keywords)


def listing(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files below `folder`."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_names_and_lines() -> None:
    """There are three files, the module first that the other two call, and each of those is one line."""
    texts = dict(files(options()))
    assert tuple(texts) == FILES == ("_pycachehook_startup.py", "pycachehook.start", "pycachehook.pth")
    assert texts["pycachehook.start"] == "_pycachehook_startup:activate\n"
    assert texts["pycachehook.pth"] == "import _pycachehook_startup; _pycachehook_startup.activate()\n"


@pytest.mark.parametrize(
    "keywords",
    [
        {},
        {"cache_dir": "/var/cache/py", "strict": True, "lock_timeout": 0.5, "in_tree": "ignore"},
        {"cache_dir": '/quote\'"""{braces}\\back\nline/ä€😀/' + "long " * 50},
        {"cache_dir": "/no-utf8-\udcff"},
        {"cache_dir": '/OPTIONS: dict = {}/VERSION = ""'},
        {"rules": [{"match": "*/it's/*", "enabled": False}, {"distribution": "filelock", "in_tree": "ignore"}]},
    ],
    ids=["defaults", "some", "odd", "surrogate", "template", "rules"],
)
def test_start_up_module_holds_the_options(keywords: dict[str, object], tmp_path: Path) -> None:
    """The start-up module holds the version and every option as literals; the directory only if somebody chose it."""
    resolved = options(**keywords)
    path = tmp_path / FILES[0]
    path.write_bytes(next(text for _, text in files(resolved)).encode())
    found = runpy.run_path(str(path))
    assert found["VERSION"] == pycachehook.__version__
    assert found["OPTIONS"] == {
        **resolved.values(),
        "cache_dir": resolved.cache_dir if "cache_dir" in keywords else None,
    }


def test_enable_writes_the_files_and_their_bytecode(purelib: Path) -> None:
    """Enabling writes the files, returns their paths in order, and adds the bytecode that a start needs."""
    resolved = options(cache_dir="/var/cache/py")
    assert enable(purelib, resolved) == [purelib / name for name in FILES]
    found = listing(purelib)
    assert set(found) == {*FILES, *BYTECODE}
    assert {name: found[name].decode() for name in FILES} == dict(files(resolved))
    data = found[f"__pycache__/{STARTUP}.{TAG}{OPTIMIZED}.pyc"]
    assert pyc.read_header(data) == (pyc.FLAGS["checked-hash"], importlib.util.source_hash(found[FILES[0]]))


def test_enable_is_idempotent(purelib: Path) -> None:
    """Enabling twice is as good as once; enabling with other options replaces the files."""
    enable(purelib, options(cache_dir="/one"))
    once = listing(purelib)
    enable(purelib, options(cache_dir="/one"))
    assert listing(purelib) == once
    enable(purelib, options(cache_dir="/two"))
    assert set(listing(purelib)) == set(once)
    assert runpy.run_path(str(purelib / FILES[0]))["OPTIONS"]["cache_dir"] == "/two"


def test_enable_replaces_by_rename(purelib: Path, tmp_path: Path) -> None:
    """A file is replaced by rename: whoever has the old one open reads it to its end."""
    enable(purelib, options(cache_dir="/one"))
    before = listing(purelib)
    for number, name in enumerate(before):
        os.link(purelib / name, tmp_path / f"old{number}")
    enable(purelib, options(cache_dir="/two"))
    assert [(tmp_path / f"old{number}").read_bytes() for number in range(len(before))] == list(before.values())
    assert listing(purelib)[FILES[0]] != before[FILES[0]]


@pytest.mark.parametrize("blocked", FILES)
def test_failed_enable_leaves_no_temporary_file(blocked: str, purelib: Path) -> None:
    """Where a file cannot be put in place, the error is an OSError, and no half-written file is left behind."""
    (purelib / blocked).mkdir()
    with pytest.raises(OSError, match="directory"):
        enable(purelib, options())
    assert set(listing(purelib)) == set(FILES[: FILES.index(blocked)])


def test_enable_where_there_is_no_such_directory(tmp_path: Path) -> None:
    """Enabling does not make an environment's directory for packages."""
    with pytest.raises(FileNotFoundError):
        enable(tmp_path / "missing", options())
    assert list(tmp_path.iterdir()) == []


def test_enable_drops_the_bytecode_of_other_interpreters(purelib: Path) -> None:
    """Bytecode of an earlier start-up module goes, whichever interpreter's it was; that of other modules stays."""
    (purelib / "__pycache__").mkdir()
    for name in (f"{STARTUP}.cpython-399.pyc", f"{STARTUP}.cpython-399.image", "other.cpython-399.pyc"):
        (purelib / "__pycache__" / name).touch()
    enable(purelib, options())
    assert set(listing(purelib)) == {*FILES, *BYTECODE, "__pycache__/other.cpython-399.pyc"}


def test_disable(purelib: Path) -> None:
    """Disabling removes what enabling wrote, and nothing else; a second time there is nothing to remove."""
    (purelib / "other.py").touch()
    enable(purelib, options())
    assert set(disable(purelib)) == {purelib / name for name in FILES}
    assert set(listing(purelib)) == {"other.py"}
    assert disable(purelib) == []


def test_disable_removes_what_is_left(purelib: Path) -> None:
    """Disabling removes those files that there are, a dangling link among them."""
    (purelib / FILES[2]).symlink_to("/no/such/file")
    assert disable(purelib) == [purelib / FILES[2]]
    assert list(purelib.iterdir()) == []


def test_start_up_modules_are_all_that_a_start_loads(python: Python) -> None:
    """The image holds just those modules of the package that start-up needs, each after those that it imports."""
    program = """
import json, sys
from pycachehook.runtime import start_up
print(json.dumps([name.partition(".")[2] for name in sys.modules if name.startswith("pycachehook.")]))
"""
    loaded = json.loads(python("-c", program).stdout)
    assert sorted(loaded) == sorted(START_UP_MODULES)
    folder = Path(pyc.__file__).parent
    for place, name in enumerate(START_UP_MODULES):
        later = START_UP_MODULES[place:]
        lines = (folder / f"{name}.py").read_text(encoding="utf-8").splitlines()
        assert not [line for line in lines if line.startswith("from .") and line.split()[1].lstrip(".") in later]


# What the tests below run as a start: the files' module, then `program`, with a plain source module `probe` at hand.
START = """
import sys
sys.path[:0] = sys.argv[1:3]
import _pycachehook_startup
_pycachehook_startup.activate()
{program}
"""


@pytest.fixture
def start(purelib: Path, cache: Path, tree: Callable[[Mapping[str, str]], Path], python: Python) -> Callable[..., str]:
    """Return a function that runs a program after the start-up module of `purelib`, and returns what it prints."""
    root = tree({"probe.py": "LOADER = type(__spec__.loader).__name__\n", "other.py": ""})
    enable(purelib, options(cache_dir=cache))

    def run(program: str, **environment: str) -> str:
        with_environment = type(python)(python.executable, **python.environment, **environment)
        process = with_environment("-c", START.format(program=program), purelib, root)
        assert process.stderr == ""
        output: str = process.stdout
        return output

    return run


@pytest.mark.alone
def test_start(start: Callable[..., str], cache: Path) -> None:
    """A start brings in the hook with the first plain source module, and has the prefix in place before."""
    program = """
assert "pycachehook" not in sys.modules
print(sys.pycache_prefix)
import probe
print(probe.LOADER, sys.modules["pycachehook"].active().status, sys.pycache_prefix)
"""
    assert start(program) == f"{cache}\nCachingLoader writable {cache}\n"


def test_modules_from_the_image_are_as_imported(start: Callable[..., str]) -> None:
    """Modules that come from the image have the attributes that importing them gives, and can be imported from."""
    program = """
import probe, importlib.util, pycachehook
for name, module in list(sys.modules.items()):
    if name.partition(".")[0] == "pycachehook":
        spec, found = module.__spec__, importlib.util.find_spec(name) if name == "pycachehook" else None
        assert (module.__name__, spec.name, spec.origin) == (name, name, module.__file__), name
        assert spec.parent == module.__package__ == "pycachehook", name
        assert spec.loader is module.__loader__ and spec.has_location, name
        assert name == "pycachehook" or getattr(pycachehook, name.partition(".")[2]) is module, name
        assert found is None or found.origin == spec.origin, name
from pycachehook.config.resolution import rules
from pycachehook.commands import status
from pycachehook.hook import Hook
assert type(pycachehook.active()) is Hook is pycachehook.Hook
print(pycachehook.install(read_only=True).status)
"""
    assert start(program) == "read-only\n"


@pytest.mark.parametrize(
    "damage", ["missing", "empty", "cut", "no marshal", "another Python's", "touched source", "directory"]
)
def test_start_without_a_usable_image(damage: str, start: Callable[..., str], purelib: Path) -> None:
    """Where the image cannot be used the modules are imported as modules are."""
    (image,) = purelib.glob("__pycache__/*.image")
    data = image.read_bytes()
    image.unlink()
    if damage == "directory":
        image.mkdir()
    elif damage == "touched source":
        size = os.path.getsize(Path(pyc.__file__).with_name("runtime.py"))
        changed = data.replace(size.to_bytes(4, "little"), (size + 1).to_bytes(4, "little"))
        assert changed != data
        image.write_bytes(changed)
    elif damage != "missing":
        version = sys.version.encode()
        contents = {
            "empty": b"",
            "cut": data[: len(data) // 2],
            "no marshal": b"\xff" * 100,
            "another Python's": data.replace(version, version[::-1]),
        }
        assert contents[damage] != data
        image.write_bytes(contents[damage])
    assert start("import probe; print(probe.LOADER)") == "CachingLoader\n"


@pytest.mark.alone
def test_activated_twice(start: Callable[..., str]) -> None:
    """A second activation does nothing: before Python 3.15 virtual environments run `.pth` files twice."""
    program = """
_pycachehook_startup.activate()
names = [type(finder).__name__ for finder in sys.meta_path]
import probe
_pycachehook_startup.activate()
print(names.count("FirstImport"), [type(finder).__name__ for finder in sys.meta_path].count("CachingFinder"))
"""
    assert start(program) == "1 1\n"


@pytest.mark.parametrize("killed", ["", "1"])
def test_kill_switch_at_a_start(killed: str, start: Callable[..., str]) -> None:
    """Under PYCACHEHOOK_DISABLE a start leaves everything as it is."""
    program = "import probe; print(probe.LOADER, sys.pycache_prefix is None)"
    expected = "SourceFileLoader True\n" if killed else "CachingLoader False\n"
    assert start(program, PYCACHEHOOK_DISABLE=killed) == expected


@pytest.mark.alone
def test_start_without_the_package(start: Callable[..., str]) -> None:
    """If this package is gone, the files do nothing, silently."""
    assert start('sys.modules["pycachehook"] = None\nimport probe; print(probe.LOADER, sys.pycache_prefix)') == (
        "SourceFileLoader None\n"
    )


def test_prefix_that_the_program_sets_before_its_first_import(start: Callable[..., str]) -> None:
    """A prefix that the program sets after the start, but before its first import, is its own, and comes back."""
    program = """
sys.pycache_prefix = "/the/program's"
import probe, pycachehook
pycachehook.uninstall()
print(sys.pycache_prefix)
"""
    assert start(program) == "/the/program's\n"


@pytest.mark.parametrize(
    ("before", "shown", "expected"),
    [
        pytest.param(
            "gc.set_threshold(100_000)",
            "gc.get_count()[0] < 500, gc.get_freeze_count()",
            "True 0",
            marks=pytest.mark.skipif(
                gc.get_freeze_count() > 0, reason="needs a Python that begins with nothing frozen"
            ),
        ),
        ("gc.freeze(); found = gc.get_freeze_count()", "gc.get_freeze_count() > found // 2 > 0", "True"),
        ("gc.enable()", "gc.isenabled()", "True"),
        ("gc.disable(); found = gc.get_freeze_count()", "gc.isenabled(), gc.get_freeze_count() - found", "False 0"),
    ],
)
def test_the_collector_after_a_start(start: Callable[..., str], before: str, shown: str, expected: str) -> None:
    """What our start-up makes does not bring the program's collections forward; what a program has frozen stays so."""
    assert start(f"import gc\n{before}\nimport colorsys\nprint({shown})") == f"{expected}\n"


def test_layout_without_bytecode(purelib: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For an interpreter without a cache tag no bytecode is written."""
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    assert Layout.current() is None
    enable(purelib, options())
    assert set(listing(purelib)) == set(FILES)
