"""The start-up module: what it does at a start, and what it prevents."""

from __future__ import annotations

import gc
import importlib
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    """Return an empty package directory."""
    path = tmp_path / "purelib"
    path.mkdir()
    return path


# A start as the tests below run it: the start-up module, then `program`, which can import the source module `probe`.
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
    """Return a function that runs a program after the start-up module in `purelib`, and returns its output."""
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
    """A start sets the prefix first, and installs the hook at the first import of a plain source module."""
    program = """
assert "pycachehook" not in sys.modules
print(sys.pycache_prefix)
import probe
print(probe.LOADER, sys.modules["pycachehook"].active().status, sys.pycache_prefix)
"""
    assert start(program) == f"{cache}\nCachingLoader writable {cache}\n"


def test_modules_from_the_image_are_as_imported(start: Callable[..., str]) -> None:
    """Modules from the image have the same attributes as imported ones, and can be imported from."""
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
    """Without a usable image the modules come from their sources and the bytecode beside them."""
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
import probe; probe
sys.setprofile(None)
print(probe.LOADER, "unpacked" in names)
"""
    assert start(program, before=other) == "CachingLoader False\n"


def test_start_with_an_edited_source(start: Callable[..., str], purelib: Path, tmp_path: Path) -> None:
    """An image is not used if any of its sources has changed, including those that only a miss needs."""
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


def test_edited_source_with_its_old_time_and_size(start: Callable[..., str], purelib: Path, tmp_path: Path) -> None:
    """A source that was changed in place is noticed, although its modification time and its size are the old ones."""
    package = tmp_path / "package" / "pycachehook"
    shutil.copytree(PACKAGE, package)
    module = purelib / f"{STARTUP}.py"
    module.write_text(module.read_text().replace(str(PACKAGE.resolve()), str(package)))
    runtime = package / "runtime.py"
    runtime.write_bytes(runtime.read_bytes() + b"EDITED = 1\n")
    program = f"""
import sys
sys.path.insert(0, {str(package.parent)!r})
from pathlib import Path
from pycachehook.commands.startup_image import build_image
from pycachehook.config import resolution
import time
while time.time() < Path({str(runtime)!r}).stat().st_ctime + 0.1: time.sleep(0.01)
Path({str(next(purelib.glob("__pycache__/*.image")))!r}).write_bytes(build_image(resolution.resolve({{}}).values()))
"""
    subprocess.run([sys.executable, "-c", program], env=clean_environment(), check=True)
    shown = "import probe; from pycachehook import runtime; print(runtime.EDITED)"
    assert start(shown) == "1\n"
    status = runtime.stat()
    runtime.write_bytes(runtime.read_bytes().replace(b"EDITED = 1", b"EDITED = 2"))
    os.utime(runtime, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert runtime.stat().st_size == status.st_size
    assert start(shown) == "2\n"


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
    """No flipped bit and no truncation of the image crashes a start or prevents the hook."""
    (image,) = purelib.glob("__pycache__/*.image")
    bits = [*range(0, 1001, 7), *range(1, 60), -1, -2, -100, -10_000]
    command: list[str | Path] = [sys.executable, "-c", FLIPS, image, purelib, purelib.parent / "tree", *map(str, bits)]
    process = subprocess.run(command, env=clean_environment(), capture_output=True, text=True, check=False)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


@pytest.mark.alone
def test_activated_twice(start: Callable[..., str]) -> None:
    """A second activation does nothing: before Python 3.15 virtual environments run `.pth` files twice."""
    program = """
_pycachehook_startup.activate()
names = [type(finder).__name__ for finder in sys.meta_path]
import probe; probe
_pycachehook_startup.activate()
print(names.count("FirstImport"), [type(finder).__name__ for finder in sys.meta_path].count("CachingFinder"))
"""
    assert start(program) == "1 1\n"


@pytest.mark.alone
def test_len_that_fails(start: Callable[..., str]) -> None:
    """The truth value of the environment, which calls `len`, is not asked for: a mocked `len` recurses endlessly."""
    program = """
import builtins, os
real = builtins.len
def failing(what):
    if what is os.environ._data:
        raise RecursionError
    return real(what)
builtins.len = failing
import probe
builtins.len = real
print(probe.LOADER)
"""
    assert start(program) == "CachingLoader\n"


@pytest.mark.skipif(
    "list" in importlib._bootstrap._find_spec.__code__.co_names,  # type: ignore[attr-defined]
    reason="CPython 3.15 calls `list` itself",
)
@pytest.mark.alone
def test_list_that_fails(start: Callable[..., str]) -> None:
    """The first import does not iterate over `os.environ`, which calls `builtins.list`."""
    program = """
import builtins
def failing(*arguments):
    raise TypeError
real, builtins.list = builtins.list, failing
import probe
builtins.list = real
print(probe.LOADER)
"""
    assert start(program).split() == ["CachingLoader"]


@pytest.mark.alone
def test_damage_of_what_only_an_import_needs(start: Callable[..., str]) -> None:
    """Damaged bytecode is not run: the modules are imported as without the hook."""
    program = """
LATER = _pycachehook_startup.LATER
for place in range(0, len(LATER), len(LATER) // 200):
    _pycachehook_startup.LATER = LATER[:place] + bytes([LATER[place] ^ 16]) + LATER[place + 1:]
    assert _pycachehook_startup.define_later() is False
import probe
print(probe.LOADER, "pycachehook" in sys.modules, sys.pycache_prefix)
"""
    assert start(program).split() == ["SourceFileLoader", "False", "None"]


@pytest.mark.alone
def test_modules_removed_before_the_first_import(start: Callable[..., str]) -> None:
    """A program that empties `sys.modules` imports as without the hook."""
    program = "names = list(sys.modules)\nsys.modules.clear()\nimport probe\nprint(probe.LOADER)"
    assert start(program).split() == ["SourceFileLoader"]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGALRM")
@pytest.mark.alone
def test_signal_as_soon_as_the_lock_is_taken(start: Callable[..., str]) -> None:
    """A signal handler that raises right after the lock was acquired does not leave it locked."""
    program = """
import signal
def handler(*arguments):
    raise TimeoutError
signal.signal(signal.SIGALRM, handler)
class Lock:
    def __init__(self, real):
        self.real, self.release = real, real.release
    def acquire(self, **keywords):
        self.acquire = self.real.acquire
        self.real.acquire(**keywords)
        signal.raise_signal(signal.SIGALRM)
first = _pycachehook_startup.first_import
first.lock = Lock(first.lock)
try:
    import probe
except TimeoutError:
    import _thread, probe
    held = []
    _thread.start_new_thread(lambda: held.append(first.lock.real.acquire(timeout=10)), ())
    while not held:
        pass
    print(probe.LOADER, held[0], first.thread)
"""
    assert start(program).split() == ["CachingLoader", "True", "None"]


@pytest.mark.alone
def test_no_memory_for_what_only_an_import_needs(start: Callable[..., str]) -> None:
    """A module is imported without the hook if there is too little memory to unmarshal it; the next import tries again."""
    pytest.importorskip("_testcapi")
    program = """
import _testcapi
LATER = _pycachehook_startup.LATER
def refuse(event, arguments):
    if event == "marshal.loads" and arguments[0] == LATER[8:]:
        _testcapi.set_nomemory(5, 6)
sys.addaudithook(refuse)
try:
    import probe
finally:
    _testcapi.remove_mem_hooks()
LATER = b""
import other
print(probe.LOADER, other.LOADER)
"""
    assert start(program).split() == ["SourceFileLoader", "CachingLoader"]


@pytest.mark.alone
@pytest.mark.parametrize("before", ["", "import other"])
def test_odd_finders(before: str, start: Callable[..., str]) -> None:
    """A finder whose `__eq__` raises, or that has only `find_module` (before Python 3.12), is called as by CPython."""
    program = f"""
import importlib.machinery, warnings
warnings.simplefilter("ignore")
{before}
class Odd:
    def __eq__(self, other):
        raise ValueError
    def find_spec(self, *_):
        return None
class Legacy:
    def find_module(self, name, path=None):
        return self if name == "probe" else None
    def load_module(self, name):
        sys.modules[name] = module = type(sys)(name)
        module.LOADER = "legacy"
        return module
sys.meta_path.insert(0, Odd())
sys.meta_path.insert(sys.meta_path.index(importlib.machinery.PathFinder, 1), Legacy())
import probe
print(probe.LOADER)
"""
    assert start(program) == ("legacy\n" if sys.version_info < (3, 12) else "CachingLoader\n")


@pytest.mark.alone
@pytest.mark.parametrize("which", ["FirstImport", ""])
def test_wrapped_finders(which: str, start: Callable[..., str]) -> None:
    """The hook is installed at the first import even if a tool has wrapped the finder that does so, or all finders."""
    program = f"""
class Wrapper:
    def __init__(self, finder):
        self.find_spec = finder.find_spec
sys.meta_path[:] = [
    Wrapper(finder) if type(finder).__name__.endswith("{which}") else finder for finder in sys.meta_path
]
before = sys.pycache_prefix
import probe, other
print(probe.LOADER, other.LOADER, sys.modules["pycachehook"].active().stats.compiled, sys.pycache_prefix == before)
try:
    import no_such_module
except ModuleNotFoundError as error:
    print(error)
"""
    assert start(program) == "CachingLoader CachingLoader 2 True\nNo module named 'no_such_module'\n"


@pytest.mark.parametrize("killed", ["", "1"])
def test_kill_switch_at_a_start(killed: str, start: Callable[..., str]) -> None:
    """Under PYCACHEHOOK_DISABLE a start changes nothing."""
    program = "import probe; print(probe.LOADER, sys.pycache_prefix is None)"
    expected = "SourceFileLoader True\n" if killed else "CachingLoader False\n"
    assert start(program, PYCACHEHOOK_DISABLE=killed) == expected


@pytest.mark.parametrize("more", ["PYCACHEHOOK_LAYOUT=nonsense", "PYCACHEHOOK_NONE=1", "PYCACHEHOOK_STATS=/tmp", ""])
@pytest.mark.parametrize("flags", [(), ("-E",), ("-I",)])
def test_kill_switch_is_asked_before_anything_is_loaded(
    more: str, flags: tuple[str, ...], start: Callable[..., str]
) -> None:
    """Under the kill switch no module of the package is loaded and no finder is added, whatever else is set."""
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
    """Under `-E` and `-I` options in the environment do not load the hook before the first import."""
    program = "print('pycachehook.runtime' in sys.modules)"
    assert start(program, PYCACHEHOOK_LAYOUT="shared") == "True\n"
    assert start(program, flag, PYCACHEHOOK_LAYOUT="shared") == "False\n"


@pytest.mark.alone
def test_start_without_the_package(start: Callable[..., str]) -> None:
    """If this package has been removed, the files silently do nothing."""
    assert start('sys.modules["pycachehook"] = None\nimport probe; print(probe.LOADER, sys.pycache_prefix)') == (
        "SourceFileLoader None\n"
    )


@pytest.mark.parametrize("when", ["before the first import", "after it"])
@pytest.mark.parametrize("kind", ["read_only", "other data", "missing home"])
def test_other_loaders_write_only_into_a_cache(
    kind: str, when: str, start: Callable[..., str], purelib: Path, tmp_path: Path
) -> None:
    """A standard loader that another finder returns writes bytecode into no directory where the hook would write none."""
    directory = tmp_path / "directory"
    home, missing = tmp_path / "home", directory / "missing" / "cache"
    chosen = missing if kind == "missing home" else directory
    enable(purelib, resolution.resolve({"cache_dir": chosen, "read_only": kind == "read_only"}))
    directory.mkdir()
    if kind == "other data":
        (directory / "data.txt").write_text("data")
    elif kind == "missing home":
        home = missing.parent
    before = sorted(directory.rglob("*"))
    program = f"""
from importlib.util import spec_from_file_location as spec
class Front:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return spec(name, {str(tmp_path / "front.py")!r}) if name == "front" else None
sys.meta_path.insert(0, Front)
if {when == "after it"}: import probe
"""
    (tmp_path / "front.py").write_text("VALUE = type(__spec__.loader).__name__\n")
    before_start = f"import os; os.environ['HOME'] = {str(home)!r}"
    assert start(f"{program}\nimport front; print(front.VALUE)", before=before_start) == "SourceFileLoader\n"
    assert sorted(directory.rglob("*")) == before


def test_cache_dir_that_cannot_be_examined(start: Callable[..., str], purelib: Path, tmp_path: Path) -> None:
    """The hook is active, and says why it is disabled, even if the start cannot look at its cache directory."""
    enable(purelib, resolution.resolve({"cache_dir": tmp_path / ("n" * 300)}))
    program = "import probe, pycachehook; hook = pycachehook.active(); print(hook.status, hook.reason)"
    assert start(program).startswith(f"disabled The cache directory {tmp_path}/nnn")


def test_prefix_that_the_program_sets_before_its_first_import(start: Callable[..., str]) -> None:
    """A prefix that the program sets after the start and before its first import is kept, and restored later."""
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
    """The objects of a start do not bring forward the program's collections; what a program has frozen stays frozen."""
    assert start(f"import gc\n{before}\nimport colorsys\nprint({shown})") == f"{expected}\n"


HOSTILE = "import os\nos.write(1, b'taken: ' + __name__.encode() + b'\\n')\n"


@pytest.mark.parametrize("image", [True, False])
@pytest.mark.parametrize("names", [("pycachehook.py",), ("pycachehook/__init__.py", "pycachehook/runtime.py")])
def test_modules_beside_the_script_are_not_taken(
    names: tuple[str, ...], image: bool, start: Callable[..., str], purelib: Path
) -> None:
    """The hook comes from where `enable` found it, even if the program's path has modules of the same name."""
    for name in names:
        path = purelib.parent / "tree" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(HOSTILE)
    if not image:
        next(purelib.glob("__pycache__/*.image")).unlink()
    program = "sys.path.reverse(); import probe; print(probe.LOADER, sys.modules['pycachehook.runtime'].__file__)"
    assert start(program) == f"CachingLoader {PACKAGE / 'runtime.py'}\n"


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"layout": "shared"},
        {"gc": "pause"},
        {"rules": [{"match": "/nowhere/*", "layout": "shared"}]},
    ],
)
@pytest.mark.parametrize("image", [True, False])
@pytest.mark.alone
def test_no_finder_is_asked_for_the_package(
    image: bool, options: dict[str, Any], start: Callable[..., str], purelib: Path, cache: Path
) -> None:
    """Neither a cold nor a warm start asks finders or `builtins.__import__` for modules of the package."""
    enable(purelib, resolution.resolve({"cache_dir": str(cache), **options}))
    if not image:
        next(purelib.glob("__pycache__/*.image")).unlink()
    program = """
import builtins
asked, imported = [], []
class Finder:
    def find_spec(self, name, path=None, target=None):
        asked.append(name)
sys.meta_path.insert(0, Finder())
stock = builtins.__import__
builtins.__import__ = lambda name, *args, **kwargs: imported.append(name) or stock(name, *args, **kwargs)
import probe; probe
print([name for name in asked if name not in (*sys.builtin_module_names, '_blake2')], imported, probe.LOADER)
"""
    for _ in range(2):
        assert start(program) == f"['probe'] ['probe'] {'PausingLoader' if 'gc' in options else 'CachingLoader'}\n"


def test_moved_environment(purelib: Path, tmp_path: Path, python: Python) -> None:
    """A package below the start-up file's directory is found after the environment has been moved, with the image."""
    shutil.copytree(PACKAGE, purelib / "pycachehook")
    (purelib / "probe.py").write_text("LOADER = type(__spec__.loader).__name__\n")
    program = f"import sys; sys.path.insert(0, {str(purelib)!r}); from pathlib import Path\n"
    program += "from pycachehook.commands.enable import enable; from pycachehook.config.resolution import resolve\n"
    python("-c", f"{program}enable(Path({str(purelib)!r}), resolve({{}}))")
    moved = tmp_path / "moved"
    purelib.rename(moved)
    shown = """
import sys
sys.path.insert(0, sys.argv[1])
import _pycachehook_startup
_pycachehook_startup.activate()
names = set()
sys.setprofile(lambda frame, event, _: names.add(frame.f_code.co_name))
import probe; probe
sys.setprofile(None)
runtime = sys.modules["pycachehook.runtime"]
print(probe.LOADER, "unpacked" in names, runtime.__file__, runtime.start_up.__code__.co_filename)
"""
    here = moved / "pycachehook" / "runtime.py"
    assert python("-c", shown, moved).stdout == f"CachingLoader True {here} {here}\n"


def test_what_only_an_import_needs_is_not_unmarshalled(start: Callable[..., str], purelib: Path) -> None:
    """Most of the start-up module's bytecode stays bytes until a source module is imported."""
    program = """
import _pycachehook_startup as startup
before = len(startup.LATER), startup.load_hook
import probe
probe.LOADER  # so that it is loaded if imports are lazy
print(before[0] > 10_000, before[1], len(startup.LATER), startup.load_hook.__code__.co_filename == startup.FILE)
"""
    assert start(program) == "True None 0 True\n"
    text = (purelib / f"{STARTUP}.py").read_text().splitlines()
    line = text.index("def load_hook():") + 1
    program = (
        "import probe, _pycachehook_startup as startup\nprobe.LOADER\nprint(startup.load_hook.__code__.co_firstlineno)"
    )
    assert start(program) == f"{line}\n"


@pytest.mark.alone
def test_start_without_the_package_on_disk(purelib: Path, start: Callable[..., str]) -> None:
    """If the package's directory is missing, a start silently changes nothing."""
    module = purelib / f"{STARTUP}.py"
    module.write_text(module.read_text().replace(str(PACKAGE.resolve()), "/no/such/directory/pycachehook"))
    program = """
print(sys.pycache_prefix, [type(finder).__name__ for finder in sys.meta_path].count("FirstImport"))
import probe
print(probe.LOADER)
"""
    assert start(program) == "None 0\nSourceFileLoader\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root: other users' directories")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("own", True),
        ("missing", True),
        ("missing below a directory that everybody may write to", False),
        ("everybody may write", False),
        ("a group may write", False),
        ("above, everybody may write", False),
        ("above, everybody may write, sticky", True),
        ("link", False),
        ("below a link", False),
        ("another user's", False),
        ("below another user's", False),
        ("file", False),
    ],
)
@pytest.mark.alone
def test_prefix_is_set_for_private_directories_only(
    kind: str, expected: bool, start: Callable[..., str], cache: Path, purelib: Path
) -> None:
    """`sys.pycache_prefix` is set before the hook is installed only if nobody else can write to the directory."""
    chosen = cache
    above = cache.parent / "above"
    place = above if "above" in kind else cache
    if kind == "file":
        cache.touch()
    elif not kind.startswith("missing"):
        (above / "cache").mkdir(parents=True)
        (cache / "deeper").mkdir(parents=True)
        (cache / ".pycachehook").mkdir()
        (cache / ".pycachehook" / "format").write_text("1\n")
    if kind.startswith("missing below"):
        above.mkdir()
        above.chmod(0o1777)
        chosen = above / "cache"
    elif "link" in kind:
        (above / "link").symlink_to(cache)
        chosen = above / "link" / "deeper" if kind.startswith("below") else above / "link"
    elif "everybody" in kind:
        place.chmod(0o1777 if "sticky" in kind else 0o777)
        chosen = above / "cache" if place is above else cache
    elif "group" in kind:
        os.chown(cache, -1, 4321)
        cache.chmod(0o770)
    elif "another" in kind:
        os.chown(cache, 4321, -1)
        chosen = cache / "deeper" if kind.startswith("below") else cache
    enable(purelib, resolution.resolve({"cache_dir": str(chosen)}))
    assert start("print(sys.pycache_prefix)") == f"{chosen if expected else None}\n"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root: another user's cache")
@pytest.mark.alone
def test_stock_loader_in_front_reads_no_untrusted_entry(
    start: Callable[..., str], cache: Path, purelib: Path, tmp_path: Path
) -> None:
    """A finder before the hook, as for editable installs, loads nothing from a cache that others may write to."""
    module = tmp_path / "editable.py"
    module.write_text("print('source')\n")
    entry = cache / str(module)[1:]
    entry = entry.with_name(f"editable.{sys.implementation.cache_tag}.pyc")
    entry.parent.mkdir(parents=True)
    hostile = compile("print('attacker')", str(module), "exec")
    entry.write_bytes(pyc.encode(hostile, pyc.FLAGS["unchecked-hash"], bytes(8), bytes(8)))
    cache.chmod(0o777)
    before = f"""
class Editable:
    def find_spec(self, name, path=None, target=None):
        if name == "editable":
            loader = sys.modules["_frozen_importlib_external"].SourceFileLoader(name, {str(module)!r})
            return sys.modules["_frozen_importlib_external"].spec_from_file_location(name, loader.path, loader=loader)
sys.meta_path.insert(0, Editable())
"""
    assert start("import editable; editable", before=before) == "source\n"


DEEP = """
sys.setrecursionlimit(300)
def deep(number):
    if number:
        return deep(number - 1)
    import probe
    return probe.LOADER
for number in range(299, 0, -1):
    sys.modules.pop("probe", None)
    try:
        print(deep(number))
    except RecursionError:
        continue
    break
import other
print(other.LOADER, sys.getrecursionlimit())
"""


@pytest.mark.alone
def test_first_import_near_the_recursion_limit(start: Callable[..., str], purelib: Path) -> None:
    """An import that just fits into the recursion limit installs the hook, and writes nothing into the source tree."""
    assert start(DEEP) == "CachingLoader\nCachingLoader 300\n"
    assert not list((purelib.parent / "tree").rglob("*.pyc"))


PATCHED = """
import os, time, builtins, marshal, _io, gc
def fail(*args, **kwargs):
    raise RuntimeError("a mocked function was called")
for module, names in (
    (os, "open read close stat fstat lstat fsencode mkdir replace getpid geteuid listdir getcwd access"),
    (os.path, "isabs isdir isfile exists join dirname basename abspath realpath normpath expanduser"),
    (time, "monotonic time time_ns sleep perf_counter_ns"),
    (builtins, "open"),
    (marshal, "loads dumps"),
    (gc, "enable disable isenabled freeze unfreeze get_freeze_count"),
):
    for name in names.split():
        if hasattr(module, name):
            setattr(module, name, fail)
"""


@pytest.mark.parametrize("image", [True, False])
def test_functions_that_are_mocked_at_the_first_import(image: bool, start: Callable[..., str], purelib: Path) -> None:
    """The start-up module calls no function that a program has replaced before its first import."""
    if not image:
        next(purelib.glob("__pycache__/*.image")).unlink()
    patched = PATCHED if image else PATCHED.replace("loads dumps", "")  # importlib calls it, too
    program = f"""
{patched}
names = []
def record(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "fail":
        names.append(frame.f_back.f_globals["__name__"])
sys.setprofile(record)
try:
    _pycachehook_startup.define_later() and _pycachehook_startup.load()
finally:
    sys.setprofile(None)
print("pycachehook.runtime" in sys.modules, names)
"""
    assert start(program) == "True []\n"


def test_exception_of_the_program_during_the_first_import(start: Callable[..., str]) -> None:
    """An exception of a signal handler or trace function is raised, and the next import installs the hook."""
    program = """
def raise_once(frame, event, argument):
    if event == "call" and frame.f_code.co_name == "new_module":
        sys.setprofile(None)
        raise TimeoutError("the program's")
sys.setprofile(raise_once)
try:
    import probe
except TimeoutError as error:
    print(error, [name for name in sys.modules if name.startswith("pycachehook")])
import probe
print(probe.LOADER)
"""
    assert start(program) == "the program's []\nCachingLoader\n"


def test_first_imports_in_threads(start: Callable[..., str], purelib: Path) -> None:
    """Threads that import at the same time all have the hook or wait for it, and none fails."""
    tree = purelib.parent / "tree"
    for number in range(8):
        (tree / f"many{number}.py").write_text("LOADER = type(__spec__.loader).__name__\n")
    program = """
import _thread
sys.setswitchinterval(1e-6)
found, go, *done = [], *(_thread.allocate_lock() for _ in range(9))
for lock in (go, *done):
    lock.acquire()
def first(number):
    with go:
        pass
    try:
        found.append(__import__(f"many{number}").LOADER)
    except BaseException as error:
        found.append(repr(error))
    done[number].release()
for number in range(8):
    _thread.start_new_thread(first, (number,))
go.release()
for lock in done:
    lock.acquire()
print(set(found))
"""
    for _ in range(5):
        assert start(program) == "{'CachingLoader'}\n"
        assert not list(tree.rglob("*.pyc"))


@pytest.mark.skipif(sys.version_info < (3, 15), reason="needs PEP 810")
@pytest.mark.parametrize("image", [True, False])
def test_lazy_imports(image: bool, start: Callable[..., str], purelib: Path) -> None:
    """With lazy imports enabled everywhere, no module of a start contains a lazy import after it has been loaded."""
    if not image:
        next(purelib.glob("__pycache__/*.image")).unlink()
    program = """
import probe
print(probe.LOADER)
for name, module in list(sys.modules.items()):
    if name.startswith(("pycachehook", "_pycachehook")):
        print(*[(name, each) for each, value in vars(module).items() if type(value).__name__ == "lazy_import"], end="")
"""
    assert start(program, "-X", "lazy_imports=all") == "CachingLoader\n"


@pytest.mark.parametrize("number", [0o000, 0o022, 0o077])
def test_modes_under_a_umask(number: int, purelib: Path) -> None:
    """The files of `enable` are never writable for others, and respect the umask."""
    found = os.umask(number)
    try:
        enable(purelib, resolution.resolve({}))
    finally:
        os.umask(found)
    for path in purelib.rglob("*"):
        mode = 0o755 if path.is_dir() else 0o644
        assert stat.S_IMODE(path.stat().st_mode) == mode & ~number, path


# `library` is a directory that these tests declare to be the standard library's, with bytecode that is valid at first.
# In the programs `import first; first` imports the module there, also where imports are lazy.
LIBRARY = """
import importlib, os, pickle, py_compile
startup = sys.modules["_pycachehook_startup"]
library = sys.argv[1] + "/library/"
os.makedirs(library, exist_ok=True)
startup.LIBRARY = library
sys.path.insert(0, library)
def module(name, text="value = 1; LOADER = type(__spec__.loader).__name__"):
    with open(f"{library}{name}.py", "w") as file:
        file.write(text)
    os.utime(f"{library}{name}.py", (1e9, 1e9))
    pyc = f"{library}__pycache__/{name}.{sys.implementation.cache_tag}.pyc"
    mode = py_compile.PycInvalidationMode.TIMESTAMP
    py_compile.compile(f"{library}{name}.py", pyc, doraise=True, invalidation_mode=mode)
    importlib.invalidate_caches()
    return pyc
def is_loaded():
    return "pycachehook" in sys.modules
"""
# Imported before the start, with all that they import lazily (PEP 810) and with `importlib.metadata`, which the call
# imports, because these would load the hook.
STOCK_TOOLS = """
import importlib, importlib.machinery, importlib.util, inspect, marshal, os, pickle, py_compile
importlib.invalidate_caches()
resolved = set()
while hasattr(sys, "set_lazy_imports") and resolved != set(sys.modules):
    for name in set(sys.modules) - resolved:
        resolved.add(name)
        for attribute in list(vars(sys.modules[name])):
            getattr(sys.modules[name], attribute)
"""


def test_start_that_imports_the_library_alone(start: Callable[..., str]) -> None:
    """A module of the standard library with valid bytecode does not load the hook; the next other module does."""
    program = """
module("first")
import first; first
loader = first.__spec__.loader
print(first.LOADER, is_loaded(), loader == importlib.machinery.SourceFileLoader("first", loader.path))
print(type(pickle.loads(pickle.dumps(loader))).__name__, len({loader, pickle.loads(pickle.dumps(loader))}))
print(first.__spec__.cached.startswith(sys.pycache_prefix), inspect.getsource(first).strip() == loader.get_source("first"))
print(importlib.reload(first).LOADER, is_loaded())
import probe; probe
print(probe.LOADER, is_loaded(), importlib.reload(first).LOADER, [type(finder).__name__ for finder in sys.meta_path].count("FirstImport"))
print(loader.get_code("first") is not None)
try:
    loader.get_code("second")
except ImportError as error:
    print(error)
"""
    assert start(LIBRARY + program, before=STOCK_TOOLS) == (
        "LibraryLoader False True\nSourceFileLoader 1\nTrue True\nLibraryLoader False\n"
        "CachingLoader True CachingLoader 0\nTrue\nloader for first cannot handle second\n"
    )


def test_library_without_valid_bytecode(start: Callable[..., str]) -> None:
    """If a module's bytecode is not exactly what CPython would take, the hook is loaded, and loads the module."""
    program = """
damages = [
    "os.unlink(pyc)",
    "os.truncate(pyc, 40)",
    "os.truncate(pyc, 0)",
    "os.utime(path, (2e9, 2e9))",
    "open(path, 'a').write(' ' * 5); os.utime(path, (1e9, 1e9))",
    "os.utime(path, (1e9 + 0.5, 1e9 + 0.5)); os.utime(pyc, (1e9, 1e9))",
    "open(pyc, 'r+b').write(b'????')",
    "py_compile.compile(path, pyc, invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH)",
    "open(pyc, 'r+b').write(open(pyc, 'rb').read()[:16] + marshal.dumps('text'))",
    "os.unlink(pyc); os.mkfifo(pyc)",
    "os.unlink(pyc); os.mkdir(pyc)",
]
module("whole")
import whole; whole
for number, damage in enumerate(damages):
    pyc, path = module(f"m{number}", f"value = {number}"), f"{library}m{number}.py"
    assert startup.library_code(path) is not None
    exec(damage)
    assert startup.library_code(path) is None, damage
print(whole.LOADER, is_loaded())
import m0, probe
print(m0.value, is_loaded(), probe.LOADER, *(__import__(f"m{number}").value for number in range(len(damages))))
"""
    values = " ".join(map(str, range(11)))
    assert start(LIBRARY + program, before=STOCK_TOOLS) == (f"LibraryLoader False\n0 True CachingLoader {values}\n")


def test_library_where_a_tool_has_replaced_a_step(start: Callable[..., str]) -> None:
    """Bytecode is not used where any step that the hook watches has been replaced, in the class or in one loader."""
    program = """
pyc = module("first")
import first; first
from pycachehook import _compat
code, taken = startup.library_code, []
original = sys.modules["_frozen_importlib_external"]
def replaced(owner, name, value):
    kept = getattr(owner, name)
    setattr(owner, name, value)
    taken.append((name, code(library + "first.py")))
    if name in vars(object):
        delattr(owner, name)
    else:
        setattr(owner, name, kept)
    assert code(library + "first.py") is not None, name
def anything(*args, **keywords):
    raise AssertionError
for name in (*_compat.METHODS, "__getattribute__"):
    replaced(original.SourceFileLoader, name, anything)
for name, step in _compat.FUNCTIONS.items():
    replaced(original, name, anything)
    if hasattr(step, "__code__"):
        replaced(step, "__code__", anything.__code__)
replaced(original._bootstrap, "_call_with_frames_removed", anything)
import builtins, _io
replaced(builtins, "compile", anything)
replaced(_io, "open_code", anything)
original.compile = anything
print(code(library + "first.py"), len(taken), {found for _, found in taken})
"""
    output = start(LIBRARY + program, before=STOCK_TOOLS)
    assert output.startswith("None ")
    assert output.endswith(" {None}\n")
    assert int(output.split()[1]) > 25


def test_function_of_posix_that_is_patched_when_the_hook_is_loaded(start: Callable[..., str]) -> None:
    """The hook uses the interpreter's own functions, even if a program patches them in `posix` or `nt` for a time."""
    program = """
module("first")
import first; first
system = sys.modules[os.name]
original = system.stat, system.listdir
calls = []
def record(function):
    return lambda *args, **keywords: calls.append(args) or function(*args, **keywords)
system.stat, system.listdir = map(record, original)
import probe; probe
system.stat, system.listdir = original
del calls[:]
module("second")
import second; second
print(first.LOADER, second.LOADER, calls)
"""
    assert start(LIBRARY + program, before=STOCK_TOOLS) == "LibraryLoader CachingLoader []\n"


REPLACED_BEFORE_THE_HOOK = [
    *(f"sys.modules[{name!r}] = Odd()" for name in ("os", "time", "_imp", "_thread", "_warnings", "builtins")),
    "sys.modules['_pycachehook_startup'] = Odd()",
    "os.environ = Odd()",
    "os.getenv = posix.getresuid = refuse",
    "sys.platform = 'darwin'",
    "posix.getxattr = refuse",
    "sys.getfilesystemencoding = sys.getfilesystemencodeerrors = refuse",
    "_imp.source_hash = _imp.extension_suffixes = refuse",
    "_imp.create_builtin = _imp.exec_builtin = refuse",
    "sys.meta_path = Fixed(sys.meta_path)",
    "sys.meta_path = tuple(sys.meta_path)",
]


@pytest.mark.parametrize("image", [True, False])
def test_what_a_program_replaces_before_its_first_import(image: bool, start: Callable[..., str], purelib: Path) -> None:
    """The hook is loaded with the interpreter's own modules and functions, as CPython's import system has them."""
    if not image:
        next(purelib.glob("__pycache__/*.image")).unlink()
    program = f"""
import os, posix, time, _imp
class Odd:
    def __getattr__(self, name):
        raise RuntimeError(name)
class Fixed(list):
    def insert(self, *arguments):
        raise RuntimeError
    __delitem__ = insert
def refuse(*arguments):
    raise RuntimeError
write, leave = posix.write, posix._exit
for replacement in {REPLACED_BEFORE_THE_HOOK!r}:
    child = posix.fork()
    if not child:
        try:
            exec(replacement)
            import probe
            outcome = probe.LOADER
        except BaseException as error:
            outcome = repr(error)
        write(1, f"{{outcome}}: {{replacement}}\\n".encode())
        leave(0)
    posix.waitpid(child, 0)
"""
    assert start(program).splitlines() == [f"CachingLoader: {each}" for each in REPLACED_BEFORE_THE_HOOK]


def test_package_that_a_program_replaces_before_its_first_import(start: Callable[..., str]) -> None:
    """Any object called pycachehook in `sys.modules` gets no attribute access, and the import succeeds."""
    program = """
class Odd:
    def __getattr__(self, name):
        raise RuntimeError(name)
sys.modules["pycachehook"] = Odd()
import probe
print(probe.LOADER)
"""
    assert start(program) == "SourceFileLoader\n"


def test_traceback_of_a_finder_that_raises_at_the_first_import(start: Callable[..., str]) -> None:
    """It has no frame of the start-up module."""
    program = """
import traceback
class Finder:
    def find_spec(self, *arguments):
        raise ImportError("refused")
sys.path_importer_cache.clear()
sys.meta_path.append(Finder())
try:
    import missing
except ImportError:
    print(traceback.format_exc())
"""
    output = start(program)
    assert "refused" in output
    assert "_pycachehook_startup" not in output


@pytest.mark.parametrize("image", [True, False])
def test_step_that_is_replaced_between_library_and_hook(image: bool, start: Callable[..., str], purelib: Path) -> None:
    """The hook knows the steps from before the first import, so that it notices when one is replaced, and put back."""
    if not image:
        for path in purelib.rglob("*.image"):
            path.unlink()
    program = """
module("first")
import first; first
kind = importlib.machinery.SourceFileLoader
original, defaults, called = kind.get_data, kind.source_to_code.__kwdefaults__, []
kind.get_data = lambda self, path: called.append("get_data") or original(self, path)
import probe; probe
from pycachehook._compat import replaced_step
loader = probe.__spec__.loader
print(first.LOADER, called, replaced_step(loader))
kind.get_data, get_code = original, kind.get_code
print(replaced_step(loader), loader == startup.LibraryLoader("probe", loader.path) == loader)
kind.get_code = lambda self, name: called.append("get_code") or get_code(self, name)
print(replaced_step(loader), loader.get_code("probe") is not None, called)
kind.get_code = get_code
defaults["_optimize"] += 1
print(replaced_step(loader))
"""
    assert start(LIBRARY + program, before=STOCK_TOOLS) == (
        "LibraryLoader ['get_data'] get_data\nNone True\nget_code True ['get_data', 'get_code']\nsource_to_code\n"
    )


def test_library_module_with_one_changed_loader(start: Callable[..., str]) -> None:
    """A step that a tool has replaced in the loader of one module is executed."""
    program = """
module("first")
import importlib.util
spec = importlib.util.find_spec("first")
before = is_loaded()
spec.loader.source_to_code = lambda data, path, *rest: compile("value = 'replaced'", path, "exec")
first = importlib.util.module_from_spec(spec)
spec.loader.exec_module(first)
print(before, first.value)
"""
    assert start(LIBRARY + program, before=STOCK_TOOLS) == "False replaced\n"


def test_tool_that_had_replaced_a_step_before_the_start(start: Callable[..., str]) -> None:
    """Where another `.pth` file has replaced a step before, modules of the library go through the hook."""
    before = f"""{STOCK_TOOLS}
original = importlib.machinery.SourceFileLoader.source_to_code
importlib.machinery.SourceFileLoader.source_to_code = lambda *args, **keywords: original(*args, **keywords)
"""
    program = 'module("first")\nimport first; first\nprint(first.LOADER, is_loaded())'
    assert start(LIBRARY + program, before=before) == "CachingLoader True\n"


def test_options_with_which_the_library_goes_through_the_hook(
    start: Callable[..., str], purelib: Path, cache: Path
) -> None:
    """The hook is loaded at the first import if the options give it something to do for the standard library."""
    program = """
startup.define_later()
def leaves(**options):
    kept = {**startup.OPTIONS}
    startup.OPTIONS.update(options)
    leaves = startup.leaves_library()
    startup.OPTIONS.clear()
    startup.OPTIONS.update(kept)
    return leaves
print(leaves(), leaves(in_tree="all"), leaves(layout="shared", invalidation_mode="unchecked-hash", read_only=True))
for name, value in [("gc", "freeze"), ("gc", "pause"), ("in_tree", "ignore"), ("in_tree", "hashed"),
        ("in_tree", "read"), ("compile_ahead", 2), ("open_code", "always"), ("archives", ("a",)), ("rules", ({},))]:
    assert name in startup.OPTIONS, name
    assert not leaves(**{name: value}), (name, value)
"""
    assert start(LIBRARY + program, before=STOCK_TOOLS) == "True True True\n"
    enable(purelib, resolution.resolve({"cache_dir": cache, "gc": "freeze"}))
    program = 'module("first")\nimport first; first\nprint(is_loaded())'
    assert start(LIBRARY + program, before=STOCK_TOOLS) == "True\n"


def test_modules_that_write_bytecode_load_the_hook(start: Callable[..., str]) -> None:
    """The hook decides where a program that compiles sources writes the bytecode."""
    for name in ("compileall", "py_compile"):
        assert start(f"import {name}; {name}; print('pycachehook' in sys.modules)") == "True\n"


def test_library_with_the_default_cache_directory(purelib: Path, tmp_path: Path, python: Python) -> None:
    """Without a chosen directory, the prefix before the first import is the default that the hook would choose."""
    enable(purelib, resolution.resolve({}))
    home = tmp_path / "a home"
    home.mkdir()
    program = """
import sys
sys.path.insert(0, sys.argv[1])
import _pycachehook_startup
_pycachehook_startup.activate()
before = sys.pycache_prefix
import pycachehook
print(before, sys.pycache_prefix, pycachehook.active().status)
"""
    environment = {"HOME": str(home), "XDG_CACHE_HOME": ""}
    expected = home / ".cache" / "pycachehook"
    process = type(python)(python.executable, **{**python.environment, **environment})("-c", program, purelib)
    assert process.stdout == f"{expected} {expected} writable\n"
    for unusual in ({"HOME": str(home / "absent")}, {"HOME": "relative"}, {"XDG_CACHE_HOME": str(tmp_path / "xdg")}):
        changed = {**python.environment, **environment, **unusual}
        process = type(python)(python.executable, **changed)("-c", program, purelib)
        assert process.stdout.startswith("None "), unusual
