"""The start-up module: what it does at a start, and what it does not let happen."""

from __future__ import annotations

import gc
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import Python, clean_environment
from pycachehook import pyc
from pycachehook.commands.enable import STARTUP, enable
from pycachehook.config import resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.usefixtures("no_options")

PACKAGE = Path(pyc.__file__).parent


@pytest.fixture
def purelib(tmp_path: Path) -> Path:
    """Return an empty directory for packages."""
    path = tmp_path / "purelib"
    path.mkdir()
    return path


# What the tests below run as a start: the files' module, then `program`, with a plain source module `probe` at hand.
START = """
import sys
sys.path[:0] = sys.argv[1:3]
{before}
import _pycachehook_startup
_pycachehook_startup.activate()
{program}
"""


@pytest.fixture
def start(purelib: Path, cache: Path, tree: Callable[[Mapping[str, str]], Path], python: Python) -> Callable[..., str]:
    """Return a function that runs a program after the start-up module of `purelib`, and returns what it prints."""
    probe = "LOADER = type(__spec__.loader).__name__\n"
    root = tree({"probe.py": probe, "other.py": probe})
    enable(purelib, resolution.resolve({"cache_dir": cache}))

    def run(program: str, *flags: str, before: str = "", **environment: str) -> str:
        with_environment = type(python)(python.executable, **python.environment, **environment)
        process = with_environment(
            *flags, "-c", START.replace("{before}", before).replace("{program}", program), purelib, root
        )
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
        package = name if hasattr(module, "__path__") else name.rpartition(".")[0]
        assert spec.parent == module.__package__ == package, name
        assert spec.loader is module.__loader__ and spec.has_location, name
        parent = sys.modules[name.rpartition(".")[0] or name]
        assert name == "pycachehook" or getattr(parent, name.rpartition(".")[2]) is module, name
        assert found is None or found.origin == spec.origin, name
from pycachehook.config import rules
from pycachehook.commands import status
from pycachehook.hook import Hook
assert type(pycachehook.active()) is Hook is pycachehook.Hook
print(pycachehook.install(read_only=True).status)
"""
    assert start(program) == "read-only\n"


@pytest.mark.parametrize(
    "damage",
    ["missing", "empty", "cut", "no seal", "another Python's", "others may write", "FIFO", "huge", "directory"],
)
def test_start_without_a_usable_image(damage: str, start: Callable[..., str], purelib: Path) -> None:
    """Where the image cannot be used the modules come from their sources and the bytecode beside them."""
    (image,) = purelib.glob("__pycache__/*.image")
    data = image.read_bytes()
    image.unlink()
    if damage == "directory":
        image.mkdir()
    elif damage == "FIFO":
        os.mkfifo(image)
    elif damage != "missing":
        contents = {"empty": b"", "cut": data[: len(data) // 2], "no seal": data[:8] + bytes(8) + data[16:]}
        image.write_bytes(contents.get(damage, data))
        image.chmod(0o666 if damage == "others may write" else 0o644)
        if damage == "huge":
            os.truncate(image, 1 << 40)
    other = f"sys.version = {sys.version[::-1]!r}" if damage == "another Python's" else ""
    program = """
names = set()
sys.setprofile(lambda frame, event, _: names.add(frame.f_code.co_name))
import probe
sys.setprofile(None)
print(probe.LOADER, "unpacked" in names)
"""
    assert start(program, before=other) == "CachingLoader False\n"


def test_start_with_an_edited_source(start: Callable[..., str], purelib: Path, tmp_path: Path) -> None:
    """An image of other sources is not used, whichever of them is another: one that a miss needs counts, too."""
    package = tmp_path / "package" / "pycachehook"
    shutil.copytree(PACKAGE, package)
    module = purelib / f"{STARTUP}.py"
    module.write_text(module.read_text().replace(str(PACKAGE.resolve()), str(package)))
    program = "import probe; from pycachehook.on_miss import writer; print(probe.LOADER, hasattr(writer, 'EDITED'))"
    assert start(program) == "CachingLoader False\n"
    for name in ("runtime.py", "on_miss/writer.py"):
        with (package / name).open("a") as file:
            file.write("EDITED = True\n")
        expected = "CachingLoader True\n" if "writer" in name else "CachingLoader False\n"
        assert start(program) == expected
    shown = start("import probe; from pycachehook import runtime; print(runtime.EDITED)")
    assert shown == "True\n"


FLIPS = """
import os, sys
image, bits = sys.argv[1], [int(each) for each in sys.argv[4:]]
sys.path[:0] = sys.argv[2:4]
import _pycachehook_startup
data = open(image, "rb").read()
for bit in bits:
    if bit < 0:
        damaged = data[:bit]
    else:
        place = bit * (len(data) * 8 - 1) // 1000
        damaged = bytearray(data)
        damaged[place // 8] ^= 1 << place % 8
    with open(image, "wb") as file:
        file.write(damaged)
    child = os.fork()
    if not child:
        _pycachehook_startup.activate()
        import probe
        os._exit(probe.LOADER != "CachingLoader")
    status = os.waitpid(child, 0)[1]
    if status:
        print(bit, status)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_damaged_image(start: Callable[..., str], purelib: Path) -> None:
    """No flipped bit and no truncation of the image crashes a start, or keeps the hook from it."""
    (image,) = purelib.glob("__pycache__/*.image")
    bits = [*range(0, 1001, 3), *range(1, 60), -1, -2, -100, -10_000]
    command = [sys.executable, "-c", FLIPS, image, purelib, purelib.parent / "tree", *map(str, bits)]
    process = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


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


@pytest.mark.parametrize("more", ["PYCACHEHOOK_LAYOUT=nonsense", "PYCACHEHOOK_NONE=1", "PYCACHEHOOK_STATS=/tmp", ""])
@pytest.mark.parametrize("flags", [(), ("-E",), ("-I",)])
def test_kill_switch_is_asked_before_anything_is_loaded(
    more: str, flags: tuple[str, ...], start: Callable[..., str]
) -> None:
    """Under the kill switch nothing of the package is loaded and no finder put anywhere, whatever else is set."""
    program = """
import probe
print([name for name in sys.modules if name.startswith("pycachehook")], probe.LOADER, len(sys.meta_path))
"""
    variables = {"PYCACHEHOOK_DISABLE": "1", **dict([more.split("=")] if more else [])}
    finders = subprocess.run(
        [sys.executable, "-c", "import sys; print(len(sys.meta_path))"], capture_output=True, text=True, check=True
    )
    assert start(program, *flags, **variables) == f"[] SourceFileLoader {finders.stdout}"


@pytest.mark.alone
@pytest.mark.parametrize("flag", ["-E", "-I"])
def test_environment_is_ignored_where_python_ignores_its_own(flag: str, start: Callable[..., str]) -> None:
    """Under `-E` and `-I` options in the environment do not bring in the hook before the first import."""
    program = "print('pycachehook.runtime' in sys.modules)"
    assert start(program, PYCACHEHOOK_LAYOUT="shared") == "True\n"
    assert start(program, flag, PYCACHEHOOK_LAYOUT="shared") == "False\n"


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
