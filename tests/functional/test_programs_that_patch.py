"""Imports in programs that mock functions, replace steps of the loader, filter warnings, or interrupt themselves.

Each program runs three times: on a standard interpreter, with a cold cache and with a warm one. Its output must be the
same.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import PROJECT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping

    from conftest import Python

    from .sides import Sides

MOCKED = """
import importlib, json, os, time, marshal, builtins
from unittest import mock
wrong = []
for number, target in enumerate({names!r}):
    with mock.patch(target, **{how!r}) as mocked:
        try:
            import_module = importlib.import_module
            calls = mocked.call_count
            module = import_module("mocked%d" % number)
            calls = mocked.call_count - calls
            outcome = module.value
        except BaseException as error:
            outcome = type(error).__name__
    if (outcome, calls) != (number, 0):
        wrong.append((target, outcome, calls))
print(wrong)
"""
NAMES = [
    *(
        f"os.{name}"
        for name in [
            "open",
            "close",
            "read",
            "write",
            "fstat",
            "stat",
            "lstat",
            "listdir",
            "scandir",
            "getcwd",
            "mkdir",
            "replace",
            "rename",
            "unlink",
            "utime",
            "access",
            "getpid",
            "geteuid",
            "fsencode",
            "fsdecode",
            "fspath",
            "readlink",
            "strerror",
        ]
    ),
    *(
        f"os.path.{name}"
        for name in ("exists", "isdir", "isfile", "join", "dirname", "realpath", "abspath", "normpath")
    ),
    *(f"time.{name}" for name in ("time", "time_ns", "monotonic", "sleep", "perf_counter_ns")),
    "marshal.loads",
    "marshal.load",
    "builtins.open",
    "builtins.print",
    "builtins.sorted",
]
WAYS: Mapping[str, dict[str, object]] = {"mock": {}, "value": {"return_value": 3}}


@pytest.mark.parametrize("options", [{}, {"layout": "shared"}], ids=["mirror", "shared"])
@pytest.mark.parametrize("way", WAYS)
def test_mocked_functions(way: str, options: dict[str, Any], sides: Sides) -> None:
    """A mock of a function that an import might use changes nothing and is not called."""
    for number in range(len(NAMES)):
        (sides.tree / f"mocked{number}.py").write_text(f"value = {number}\n")
    program = MOCKED.format(names=NAMES, how=WAYS[way])
    for _ in ("cold", "warm"):
        assert sides.run(program, **options) == "[]"


def test_a_descriptor_of_the_program_stays_open(sides: Sides) -> None:
    """A mocked `os.open` that returns one of the program's descriptors does not cause its closing."""
    program = """
import os
from unittest import mock
mine = os.open("/dev/null", os.O_RDONLY)
with mock.patch("os.open", return_value=mine):
    import lazy1
print(os.fstat(mine).st_rdev > 0)
"""
    assert set(sides.all(program).values()) == {"True"}


def test_same_modules_after_a_cold_and_a_warm_import(sides: Sides) -> None:
    """A miss loads the same modules as a hit, apart from modules of this package."""
    program = """
before = set(sys.modules)
import lazy1, lazy2, threading
found = sorted(name for name in set(sys.modules) - before if not name.startswith("pycachehook"))
print(found, threading.main_thread() is threading.current_thread())
"""
    found = sides.all(program)
    assert found["cold"] == found["warm"] == found["stock"]


@pytest.mark.parametrize(
    "name",
    [
        "secrets",
        "random",
        "logging",
        "threading",
        "fcntl",
        "errno",
        "filelock",
        "copy",
        "types",
        "hashlib",
        "_blake2",
        "mmap",
    ],
)
def test_files_beside_the_script_are_not_run(name: str, sides: Sides) -> None:
    """A file with a standard module's name runs only if the program imports it."""
    (sides.tree / f"{name}.py").write_text("raise SystemExit('ran')\n")
    program = "import lazy1, lazy2\nprint(lazy1.value)"
    for layout in ("mirror", "shared"):
        assert [sides.run(program, layout=layout) for _ in ("cold", "warm")] == ["1", "1"]


LIBRARIES = [
    "tomllib",
    "re",
    "string",
    "datetime",
    "typing",
    "glob",
    "fnmatch",
    "importlib_metadata",
    "zipp",
    "email",
    "csv",
    "__future__",
    "zlib",
]


def test_files_beside_the_script_are_not_run_for_a_configuration(sides: Sides) -> None:
    """Nor those that have the names of libraries which reading a configuration file takes."""
    for name in LIBRARIES:
        (sides.tree / f"{name}.py").write_text("raise SystemExit('ran')\n")
    (sides.tree / "config.toml").write_text(
        '[tool.pycachehook]\nrules = [{distribution = "filelock", read_only = true}]\n'
    )
    program = "import lazy1\nprint(lazy1.value, len(hook.options.rules))"
    assert sides.run(program, config=str(sides.tree / "config.toml")) == "1 1"


def test_finders_of_the_program_are_not_asked_for_our_modules(sides: Sides) -> None:
    """Whatever the options need is loaded without the import system that the program has set up."""
    program = """
class Finder:
    asked = []
    def find_spec(self, name, path=None, target=None):
        self.asked.append(name)
sys.meta_path.insert(0, Finder())
import os
os.environ["PYCACHEHOOK_RULES"] = '[{match = "*/lazy1.py", read_only = true}]'
pycachehook.install(hook.cache_dirs and [*hook.cache_dirs][0], layout="shared", gc="pause", strict=True)
import lazy1, lazy2
print([name for name in Finder.asked if name.startswith("pycachehook")])
"""
    assert sides.run(program, strict=True) == "[]"


def test_odd_objects_in_sys_modules(sides: Sides) -> None:
    """Objects in `sys.modules` get no attribute access, and lazy modules stay lazy."""
    (sides.tree / "later.py").write_text("print('ran')\n")
    program = """
import importlib.util
class Raises:
    def __getattr__(self, name):
        raise SystemExit(name)
spec = importlib.util.find_spec("later")
loader = importlib.util.LazyLoader(spec.loader)
spec.loader = loader
sys.modules["later"] = module = importlib.util.module_from_spec(spec)
loader.exec_module(module)
sys.modules["raises"] = Raises()
import lazy1, lazy2
print(lazy2.value)
"""
    assert set(sides.all(program).values()) == {"2"}


def test_a_whitelist_of_imports(sides: Sides) -> None:
    """A program that replaces `builtins.__import__` sees its own imports only."""
    program = """
import builtins
seen, before = [], builtins.__import__
def __import__(name, *more):
    seen.append(name)
    return before(name, *more)
builtins.__import__ = __import__
import lazy1, lazy2
builtins.__import__ = before
print([name for name in seen if name != '_io'])  # CPython's own file objects import it
"""
    assert set(sides.all(program).values()) == {"['lazy1', 'lazy2']"}


REPLACED = {
    "source_to_code": "L.source_to_code = lambda self, data, path, *more: compile(data.replace(b'1', b'9'), path, 'exec')",
    "get_data": """
old = L.get_data
L.get_data = lambda self, path: old(self, path).replace(b'1', b'9') if path.endswith('.py') else old(self, path)
""",
    "get_code": """
old = B.SourceLoader.get_code
B.SourceLoader.get_code = lambda self, name: compile('value = 9', self.path, 'exec')
""",
    "compile": """
import builtins
old = builtins.compile
builtins.compile = lambda data, *more, **kinds: old(data.replace(b'1', b'9') if b'value' in data else data, *more, **kinds)
""",
}


@pytest.mark.parametrize("options", [{}, {"layout": "shared"}, {"invalidation_mode": "timestamp"}], ids=str)
@pytest.mark.parametrize("step", REPLACED)
def test_replaced_steps(step: str, options: dict[str, Any], sides: Sides) -> None:
    """A process with the tool has the tool's result, one without it the normal one, in any order."""
    tool = "from importlib.machinery import SourceFileLoader as L\nimport importlib._bootstrap_external as B\n"
    show = "\nimport lazy1; print(lazy1.value)"
    with_tool, plain = tool + REPLACED[step] + show, show
    order = [with_tool, plain, with_tool, plain, with_tool]
    assert [sides.run(program, **options) for program in order] == ["9", "1", "9", "1", "9"]


CHANGED_SPECS = {
    "attribute of a loader": """
import sys
class Finder:
    @staticmethod
    def find_spec(*of, finder=sys.meta_path[-1]):
        spec = finder.find_spec(*of)
        if of[0] == "lazy1":
            execute = spec.loader.exec_module
            spec.loader.exec_module = lambda module: (execute(module), setattr(module, "value", 9))
        return spec
sys.meta_path[-1] = Finder
""",
    "spec_from_file_location": """
make = B.spec_from_file_location
def change(name, *more, **named):
    spec = make(name, *more, **named)
    if name == "lazy1":
        spec.loader.path = spec.origin = spec.origin.replace("lazy1", "nine")
    return spec
B.spec_from_file_location = change
""",
    "__getattribute__": """
def get(self, name):
    if name == "source_to_code" and self.name == "lazy1":
        return lambda data, path, *more: compile("value = 9", path, "exec")
    return object.__getattribute__(self, name)
B.FileLoader.__getattribute__ = get
""",
}


@pytest.mark.parametrize("layout", ["mirror", "shared"])
@pytest.mark.parametrize("way", CHANGED_SPECS)
def test_tools_that_change_specs_and_loaders(way: str, layout: str, sides: Sides) -> None:
    """A finder behind ours may change the loader that it returns, and a tool the functions that make specs."""
    (sides.tree / "nine.py").write_text("value = 9\n")
    plain = "import lazy1; print(lazy1.value)"
    with_tool = f"import importlib._bootstrap_external as B\n{CHANGED_SPECS[way]}\n{plain}"
    assert sides.run(with_tool, stock=True) == "9"
    order = [plain, with_tool, with_tool, plain]
    assert [sides.run(program, layout=layout) for program in order] == ["1", "9", "9", "1"]


@pytest.mark.parametrize("layout", ["mirror", "shared"])
def test_replaced_default_of_a_step(layout: str, sides: Sides) -> None:
    """A tool that changes the default optimization of `source_to_code` has its effect, and no effect on others."""
    (sides.tree / "documented.py").write_text('"""Text."""\n')
    tool = (
        "import importlib._bootstrap_external as B; B.SourceLoader.source_to_code.__kwdefaults__ = {'_optimize': 2}\n"
    )
    plain = "import documented; print(documented.__doc__)"
    order = [tool + plain, plain, tool + plain, plain]
    assert [sides.run(program, layout=layout) for program in order] == ["None", "Text.", "None", "Text."]
    assert sides.run(tool + plain, stock=True) == "None"


@pytest.mark.parametrize("layout", ["mirror", "shared"])
def test_warnings_of_a_compilation(layout: str, sides: Sides) -> None:
    """`-W error` has the same effect whatever is stored, also for warnings that default filters ignore."""
    (sides.tree / "warns.py").write_text("def f(x):\n    return x is 1\n")
    program = """
try:
    import warns
    print("fine")
except SyntaxError:
    print("SyntaxError")
"""
    said = [sides.run(program, *flags, layout=layout) for flags in ((), ("-W", "error"), (), ("-W", "error"))]
    assert said == ["fine", "SyntaxError", "fine", "SyntaxError"]
    ignored = sides.run("import warnings; warnings.simplefilter('ignore')" + program, layout=layout)
    assert ignored == "fine"


@pytest.mark.parametrize("way", ["mirror", "shared", "checked-hash", "unchecked-hash"])
def test_warnings_that_the_program_makes_errors(way: str, sides: Sides, python: Python, tmp_path: Path) -> None:
    """`filterwarnings("error")` at run time has the same effect whatever a cache or archive contains."""
    (sides.tree / "warns.py").write_text("def f(x):\n    return x is 1\n")
    options: dict[str, Any] = {"layout": way}
    if way.endswith("hash"):
        out = tmp_path / "tree.pyca"
        build = ("-m", "pycachehook", "archive", "build", "--invalidation-mode", way, "--path", sides.tree, out)
        python("-W", "ignore", *build)
        options = {"archives": [str(out)]}
    program = """
import warnings
{}
try:
    import warns
    print("fine")
except (SyntaxError, ValueError) as error:
    print(type(error).__name__)
"""
    plain = program.format("")
    assert sides.run(plain, **options) == "fine"
    strict = program.format("warnings.filterwarnings('error')")
    assert sides.all(strict, **options) == dict.fromkeys(("stock", "cold", "warm"), "SyntaxError")
    nested = program.format("caught = warnings.catch_warnings(); caught.__enter__(); warnings.simplefilter('error')")
    assert set(sides.all(nested, **options).values()) == {"SyntaxError"}
    by_default = program.format("warnings.resetwarnings(); warnings.defaultaction = 'error'")
    assert set(sides.all(by_default, **options).values()) == {"SyntaxError"}
    malformed = program.format("warnings.filters.insert(0, ('ignore', None, SyntaxWarning, None))")
    assert set(sides.all(malformed, **options).values()) == {"ValueError"}
    shown = program.format("def show(*a, **k): raise ValueError\nwarnings.showwarning = show")
    assert set(sides.all(shown, **options).values()) == {"ValueError"}
    assert sides.run(plain, **options) == "fine"


CODEC = """
import codecs
utf_8 = codecs.lookup("utf-8")
def search(name):
    if name == "shouting":
        decode = lambda data, _="": (bytes(data).decode().replace("quiet", "LOUD"), len(data))
        return codecs.CodecInfo(utf_8.encode, decode, utf_8.streamreader, utf_8.streamwriter)
codecs.register(search)
"""


@pytest.mark.parametrize("way", ["mirror", "shared", "checked-hash", "unchecked-hash"])
def test_codec_of_a_package(way: str, sides: Sides, python: Python, tmp_path: Path) -> None:
    """A source with a package's codec is compiled each time, because a process without the codec cannot compile it."""
    (sides.tree / "encoded.py").write_text("# coding: shouting\nvalue = 'quiet'\n")
    options: dict[str, Any] = {"layout": way}
    skipped = "encoded.py: skipped: its encoding 'shouting' is not one of Python's own"
    if way.endswith("hash"):
        out = tmp_path / "tree.pyca"
        build = ("-m", "pycachehook", "archive", "build", "--invalidation-mode", way, "--path", sides.tree, out)
        process = python(*build)
        options = {"archives": [str(out)]}
    else:
        process = python("-m", "pycachehook", "precompile", "--layout", way, "--cache-dir", tmp_path / "c", sides.tree)
    assert skipped in process.stdout + process.stderr
    plain = """
try:
    import encoded
    print(encoded.value)
except SyntaxError:
    print("SyntaxError")
"""
    said = [sides.run(program, **options) for program in (plain, CODEC + plain, plain, CODEC + plain)]
    assert said == ["SyntaxError", "LOUD", "SyntaxError", "LOUD"]


def test_a_program_that_writes_bytecode(sides: Sides) -> None:
    """Pip uses `compileall`: its pycs have the paths that they would have without the hook."""
    write = "import compileall as p; p.compile_file('lazy1.py', quiet=1)"
    written = "import importlib.util; print(importlib.util.cache_from_source('lazy1.py'))"
    said = sides.all(f"{write}\n{written}")
    assert said["cold"] == said["warm"] == said["stock"]
    assert said["stock"].startswith("__pycache__")
    pyc = sides.tree / said["stock"]
    pyc.unlink()
    assert sides.run(f"{write}; print(1)") == "1"
    assert pyc.exists()


TIME_LIMITS = {
    "signal handler": """
import signal
def out_of_time(*_):
    raise TimeoutError("out of time")
signal.signal(signal.SIGALRM, out_of_time)
signal.setitimer(signal.ITIMER_REAL, 1)
""",
    "another thread": """
import ctypes, threading
raising = ctypes.c_ulong(threading.get_ident()), ctypes.py_object(TimeoutError)
threading.Timer(1, ctypes.pythonapi.PyThreadState_SetAsyncExc, raising).start()
""",
}


@pytest.mark.parametrize("limit", TIME_LIMITS)
def test_an_exception_of_the_program_during_the_wait_for_a_lock(limit: str, sides: Sides) -> None:
    """A TimeoutError of a handler or another thread reaches the program, although it is an OSError."""
    assert sides.run("import ctypes, signal, threading, lazy0; print(lazy0.value)") == "0"
    holder = f"""
import fcntl, os, sys
locks = {str(sides.cache / ".pycachehook" / "locks")!r}
files = [open(f"{{locks}}/{{number:02x}}", "ab") for number in range(64)]
for file in files:
    fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", holder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=clean_environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        program = """
try:
    import lazy1
    print("imported")
except TimeoutError:
    print("out of time")
"""
        assert sides.run(TIME_LIMITS[limit] + program) == "out of time"
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("size", [1 << 40, (1 << 63) - 4096], ids=["1 TiB", "8 EiB"])
def test_an_entry_of_enormous_size(size: int, sides: Sides) -> None:
    """A file that is too large for an entry is rejected without reading it."""
    program = "import lazy1; print(lazy1.value, hook.stats.misses)"
    memory = "/dev/shm"  # tmpfs allows sparse files of any size, unlike most file systems
    with tempfile.TemporaryDirectory(dir=memory if os.path.isdir(memory) else None) as folder:
        sides.cache = Path(folder, "cache")
        assert sides.run(program) == "1 {'absent': 1}"
        (entry,) = sides.cache.rglob("lazy1.*.pyc")
        try:
            os.truncate(entry, size)
        except OSError:
            pytest.skip("needs a file system with files of that size, as tmpfs at /dev/shm is")
        assert sides.run(program) == "1 {'io-error': 1}"


def test_compiled_once_over_all_processes(sides: Sides) -> None:
    """Eight cold processes together compile and store every file exactly once, standard library included."""
    program = f"""
import sys
sys.path[:0] = [{str(sides.tree)!r}, {str(PROJECT / "src")!r}]
import pycachehook
hook = pycachehook.install({str(sides.cache)!r}, in_tree="ignore", lock_timeout=60)
import lazy0, lazy1, lazy2, json, decimal, email.message, unittest.mock, asyncio
import json
print(json.dumps(hook.stats.as_dict()))
"""
    started = [
        subprocess.Popen([sys.executable, "-c", program], env=clean_environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(8)
    ]
    stats = [json.loads(process.communicate(timeout=300)[0]) for process in started]
    entries = len(list(sides.cache.rglob("*.pyc")))
    assert sum(each["compiled"] for each in stats) == sum(each["stored"] for each in stats) == entries
