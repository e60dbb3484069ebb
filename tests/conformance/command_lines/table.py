"""The command lines, and the programs that they run.

Most programs print the state of the interpreter with `probe.report()`. They use what they import, so that a lazy import
(PEP 810) is carried out, too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import dataclass

PROBE = '''"""Print what a program can see of its interpreter, apart from the hook's own modules and types."""
import sys

def state():
    modules = sorted(name for name in sys.modules if name.partition(".")[0] not in OWN)
    finders = [getattr(each, "__name__", type(each).__name__) for each in sys.meta_path]
    import threading
    found = {
        "modules": modules,
        "meta_path": [name for name in finders if name != "CachingFinder"],
        "path_hooks": [getattr(each, "__qualname__", repr(each)) for each in sys.path_hooks],
        "path": sys.path, "argv": sys.argv, "orig_argv": sys.orig_argv[1:],
        "flags": repr(sys.flags), "warnoptions": sys.warnoptions, "xoptions": sys._xoptions,
        "prefix": sys.pycache_prefix, "silent": sys.dont_write_bytecode,
        "main thread": [threading.main_thread() is threading.current_thread(), threading.main_thread().name],
        "threads": threading.active_count(),
        "limits": [sys.getrecursionlimit(), sys.getswitchinterval()],
        "hooks": [sys.excepthook.__name__, sys.unraisablehook.__name__, sys.displayhook.__name__],
        "tracers": [sys.gettrace() is not None, sys.getprofile() is not None],
        "main": sorted(vars(sys.modules["__main__"])),
        "importers": sorted(set(map(type, sys.path_importer_cache.values())), key=repr),
    }
    import gc, signal, warnings
    found["gc"] = [gc.isenabled(), gc.get_threshold(), gc.get_debug()]
    found["signals"] = [str(signal.getsignal(each)) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    found["filters"] = [str(each) for each in warnings.filters]
    return found

def report(label="state"):
    for name, value in state().items():
        print(label, name, value)

OWN = ("pycachehook", "_pycachehook_startup")
'''

FILES = {
    "probe.py": PROBE,
    "part.py": "VALUE = 1\n\ndef double(value):\n    '''Double it.\n\n    >>> double(2)\n    4\n    '''\n    return 2 * value\n",
    "pack/__init__.py": "'''A package.'''\nfrom . import one, two\nimport probe\n",
    "pack/one.py": "from .two import NAME\nassert NAME, 'never'\n",
    "pack/two.py": "NAME = __name__\nclass Kind:\n    '''A class.'''\n    def method(self):\n        return 1\n",
    "pack/__main__.py": "from . import one\nimport probe\nprint(__name__, __package__, one.NAME)\nprobe.report()\n",
    "pack/tool.py": "from .two import Kind\nimport probe\nif __name__ == '__main__':\n    print(Kind().method())\n    probe.report()\n",
    "space/inner.py": "VALUE = __name__\n",
    "folder/__main__.py": "import beside\nimport sys\nsys.path.append('.')\nimport probe\nprobe.report(beside.VALUE)\n",
    "folder/beside.py": "VALUE = 'beside'\n",
    "nothing/other.py": "",
    "app.py": "import pack, part\nimport space.inner\nimport json, decimal\nimport probe\nprint(pack.one.NAME, part.double(2))\nprobe.report()\n",
    "skipped.py": "this line is not Python\nimport pack, probe\nprobe.report()\n",
    "raises.py": "x = 1\n\ndef fail():\n    return x / 0\n\nfail()\n",
    "between.py": "def load():\n    import raises\n\nload()\n",
    "invalid.py": "x = 1\ndef (\n",
    "doubtful.py": "def f(x):\n    return x is 1\n",
    "warned.py": "import warnings\nwarnings.warn('from the body', DeprecationWarning)\nwarnings.warn('of the importer', DeprecationWarning, 2)\n",
    "exits.py": "import sys\nsys.exit('told in a module')\n",
    "stopped.py": "raise KeyboardInterrupt\n",
    "round_one.py": "import round_two\nfrom round_two import VALUE\n",
    "round_two.py": "from round_one import VALUE\n",
    "deep.py": "import importlib, sys\ndepth = 0\ndef down():\n    down()\ntry:\n    down()\nexcept RecursionError as error:\n    print(type(error), error)\nimport part, probe\nprobe.report()\n",
    "test_part.py": "import unittest, part, probe\nclass Case(unittest.TestCase):\n    def test(self):\n        self.assertEqual(part.double(2), 4)\n        probe.report()\n",
    "data.json": '{"a": [1, 2]}',
    "worker.py": "import probe\ndef work(number):\n    import part\n    return number, part.double(number), probe.state()\n",
}  # fmt: skip

PROCESSES = """
import multiprocessing, re
import worker

if __name__ == "__main__":
    context = multiprocessing.get_context({method!r})
    with context.Pool(2) as pool:
        answers = pool.map(worker.work, range(4), 1)
    for number, value, state in answers:
        print(number, value)
    for name, value in answers[0][2].items():
        print("child", name, re.sub("=[0-9]+", "=N", str(value)))
    worker.probe.report()
"""

EXECUTOR = """
import concurrent.futures, multiprocessing
import worker

if __name__ == "__main__":
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        print([answer[:2] for answer in pool.map(worker.work, range(4))])
    worker.probe.report()
"""

THREADS = """
import concurrent.futures, threading
def load(name):
    return __import__(name).__name__
names = ["pack", "part", "worker", "space.inner", "pack.tool", "email.message", "decimal", "fractions"] * 4
with concurrent.futures.ThreadPoolExecutor(8) as pool:
    print(list(pool.map(load, names)))
import probe
probe.report()
"""

NEW_THREAD = """
import _thread
lock = _thread.allocate_lock()
lock.acquire()
def work():
    import pack, part
    lock.release()
_thread.start_new_thread(work, ())
lock.acquire()
import probe
probe.report()
"""

SUBINTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
for _ in range(2):
    own = interpreters.create()
    print(interpreters.run_string(own, "import sys; sys.path[:0] = ['.']; import part, pack; print(part.double(4))"))
    interpreters.destroy(own)
import part, probe
probe.report()
"""

INTERPRETER_POOL = """
from concurrent.futures import InterpreterPoolExecutor
import worker
if __name__ == "__main__":
    with InterpreterPoolExecutor(2) as pool:
        print([answer[:2] for answer in pool.map(worker.work, range(4))])
    worker.probe.report()
"""

SANDBOX = """
import builtins, sys
real, allowed, asked = builtins.__import__, {"pack", "part", "json", "one", "two", "probe", ""}, []
def guarded(name, globals=None, locals=None, fromlist=(), level=0):
    asked.append(name)
    if (globals or {}).get("__name__") in ("__main__", "pack", "part") and name not in allowed:
        raise ImportError(f"{name} is not allowed")
    return real(name, globals, locals, fromlist, level)
builtins.__import__ = guarded
import part, pack, json
try:
    import decimal
except ImportError as error:
    print(error)
builtins.__import__ = real
print([name for name in asked if name != "_io"])  # which CPython's own way to open bytecode asks for
import probe
probe.report()
"""

LAZY = """
import importlib.util, sys
def lazy(name):
    spec = importlib.util.find_spec(name)
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
modules = [lazy(name) for name in ("part", "raises", "decimal")]
import pack, worker
print([object.__getattribute__(each, "__class__").__name__ for each in modules])
print(modules[0].double(3))
try:
    modules[1].x
except ZeroDivisionError as error:
    print(error)
import probe
probe.report()
"""

HOSTILE = """
import sys
class Raising:
    def __getattr__(self, name):
        raise RuntimeError(f"asked for {name}")
class Silent:
    def __getattr__(self, name):
        raise AttributeError(name)
    def __eq__(self, other):
        raise TypeError("compared")
    __hash__ = None
sys.modules["raising"], sys.modules["silent"], sys.modules["nothing"] = Raising(), Silent(), None
import part, pack, space.inner
try:
    import nothing
except ImportError as error:
    print(error)
try:
    from raising import value
except Exception as error:
    print(repr(error))
import probe
probe.report()
"""

AUDIT = """
import sys
seen = []
sys.addaudithook(lambda event, arguments: seen.append(arguments[0]) if event == "import" else None)
import pack, part, space.inner
pack, part, space.inner
try:
    import not_there
except ImportError:
    pass
import probe
own = ("fcntl", "_blake2")  # the hook loads them for a lock and a digest, without `sys.modules`
print([name for name in seen if name not in own], [name in sys.modules for name in own])
"""

TRACE = """
import os, sys
seen = []
def note(frame, event, argument):
    name = os.path.basename(frame.f_code.co_filename)
    if name in ("part.py", "one.py", "two.py"):
        seen.append((name, event, frame.f_lineno))
        return note
sys.{function}(note)
import part, pack
part.double(2)
sys.{function}(None)
print(seen)
import probe
probe.report()
"""

SIGNAL = """
import signal, sys
class Interrupted(Exception):
    pass
def raised(number, frame):
    raise Interrupted("in a handler")
signal.signal(signal.SIGUSR1, raised)
try:
    import signals
except Interrupted as error:
    print(error, "signals" in sys.modules)
import part, probe
probe.report()
"""

FORK = """
import os, sys
import pack
sys.stdout.flush()
if (child := os.fork()) == 0:
    import part, probe
    probe.report("child")
    sys.stdout.flush()
    os._exit(0)
print(os.waitpid(child, 0)[1])
import part, probe
probe.report()
"""

AGAIN = """
import importlib, sys
import part, pack
first = part
print(importlib.reload(part) is first)
del sys.modules["part"]
import part
print(part is first, part.__spec__.cached == first.__spec__.cached, part.__cached__ == first.__cached__)
importlib.invalidate_caches()
sys.path_importer_cache.clear()
del sys.modules["pack"], sys.modules["pack.one"], sys.modules["pack.two"]
import pack.tool
import probe
probe.report()
"""

LEAVING = """
import atexit, sys, weakref
import pack, part
class Last:
    def __del__(self):
        print("collected", "part" in sys.modules if sys.modules else None)
kept = Last()
part.kept = Last()
atexit.register(print, "at exit")
def late():
    import worker
    print(worker.__name__)
atexit.register(late)
"""

RESOURCES = """
import importlib.resources, importlib.util, inspect, linecache, pkgutil, pickle, part, pack.two
print(inspect.getsource(part.double), inspect.getsourcefile(part))
print(pkgutil.get_data("pack", "two.py"), [each.name for each in pkgutil.iter_modules(["."])])
print(importlib.resources.files("pack").joinpath("one.py").read_text())
print(pickle.loads(pickle.dumps(part.__spec__)) == part.__spec__)
print(importlib.util.find_spec("worker"))
print(part.__loader__.get_source("part") == open("part.py").read(), part.__loader__.is_package("part"))
print(part.__loader__.get_code("part").co_consts)
print(sorted(name for name in vars(part) if name.startswith("__")))
"""

TRACEBACK = """
import faulthandler, traceback
for name in ("raises", "between", "invalid", "stopped", "round_one", "missing.one", "part.two", "pack.three"):
    try:
        __import__(name)
    except BaseException:
        print(traceback.format_exc())
try:
    from part import absent
except ImportError as error:
    print(error)
import probe
probe.report()
"""

PROGRAMS = {
    "processes_spawn.py": PROCESSES.format(method="spawn"),
    "processes_fork.py": PROCESSES.format(method="fork"),
    "processes_forkserver.py": PROCESSES.format(method="forkserver"),
    "executor.py": EXECUTOR,
    "threads.py": THREADS,
    "new_thread.py": NEW_THREAD,
    "subinterpreter.py": SUBINTERPRETER,
    "interpreter_pool.py": INTERPRETER_POOL,
    "sandbox.py": SANDBOX,
    "lazy.py": LAZY,
    "hostile.py": HOSTILE,
    "audit.py": AUDIT,
    "traced.py": TRACE.replace("{function}", "settrace"),
    "profiled.py": TRACE.replace("{function}", "setprofile"),
    "signals.py": "import os, signal\nos.kill(os.getpid(), signal.SIGUSR1)\n",
    "signalled.py": SIGNAL,
    "forks.py": FORK,
    "again.py": AGAIN,
    "leaving.py": LEAVING,
    "resources.py": RESOURCES,
    "tracebacks.py": TRACEBACK,
    "run_path.py": "import runpy\nprint(sorted(runpy.run_path('part.py')))\nrunpy.run_module('pack.tool', run_name='__main__')\n",
}  # fmt: skip
FILES |= PROGRAMS

Normalise = Callable[[str], str]


def imported(text: str) -> str:
    """Return the names that `-v` says were imported, in order, without the hook's own; and all else that is not its."""
    names = re.findall(r"^import '?([\w.]+)'? #", text, re.MULTILINE)
    return "\n".join(name for name in names if not OWN.match(name))


def timed(text: str) -> str:
    """Return the names in the table of `-X importtime`, without the hook's own, with their depth."""
    names = re.findall(r"^import time: +\d+ \| +\d+ \|( +[\w.]+)$", text, re.MULTILINE)
    return "\n".join(name for name in names if not OWN.match(name.strip()))


def without_times(text: str) -> str:
    """Return the text without numbers."""
    return re.sub(r"\d+(\.\d+)?", "N", text)


def of_the_tree(text: str) -> str:
    """Return the lines of `-m trace --trace` about the tree's sources."""
    kept = re.findall(r"^(?:part|one|two|app|inner)\.py\(\d+\):.*$", text, re.MULTILINE)
    return "\n".join(kept)


OWN = re.compile(r"_?pycachehook\b|_pycachehook")


@dataclass(frozen=True)
class Command:
    """One command line: what follows `python`.

    `stdin` is its input. `cached`: it imports modules of the tree from the cache, so that the cache gets entries in the
    first run. `stdout` and `stderr` say what is compared of them, if not everything. `since`: the first Python that has
    what it uses.
    """

    arguments: tuple[str, ...]
    stdin: str = ""
    cached: bool = True
    stdout: Normalise = str
    stderr: Normalise = str
    since: tuple[int, int] = (3, 11)
    slow: bool = False


def line(text: str, stdin: str = "", **keywords: object) -> Command:
    """Return the command of a line without quotes."""
    return Command(tuple(text.split()), stdin, **keywords)  # type: ignore[arg-type]


COMMANDS = {
    # options of the interpreter
    "plain": line("app.py"),
    "isolated": line("-I app.py", cached=False),
    "isolated code": Command(("-I", "-c", "import sys; sys.path.insert(0, '.'); import pack, probe; probe.report()")),
    "no environment": line("-E app.py"),
    "safe path": Command(("-P", "-c", "import sys; sys.path.insert(0, '.'); import pack, probe; probe.report()")),
    "no user site": line("-s app.py"),
    "no site": line("-S app.py", cached=False),
    "optimized": line("-O app.py"),
    "optimized twice": line("-OO app.py"),
    "bytes warnings": line("-b app.py"),
    "bytes errors": line("-bb app.py"),
    "warnings as errors": line("-W error app.py"),
    "development mode": line("-X dev app.py"),
    "development mode and errors": line("-X dev -W error -bb app.py"),
    "no frozen modules": line("-X frozen_modules=off app.py"),
    "no bytecode": line("-B app.py", cached=False),
    "unbuffered": line("-u app.py"),
    "no column numbers": line("-X no_debug_ranges app.py"),
    "encoding warnings": line("-X warn_default_encoding app.py"),
    "fault handler": line("-X faulthandler app.py"),
    "traced memory": line("-X tracemalloc app.py"),
    "import times": line("-X importtime app.py", stderr=timed),
    "verbose": line("-v app.py", stderr=imported),
    "more verbose": line("-vv app.py", stderr=imported),
    "always check": line("--check-hash-based-pycs always app.py"),
    "never check": line("--check-hash-based-pycs never app.py"),
    "interactive": line("-q -i app.py", "import worker\nprint(worker.__name__)\n"),
    "first line skipped": line("-x skipped.py"),
    # what is run
    "code": Command(("-c", "import pack, part, probe; probe.report()", "--flag", "-c")),
    "input": line("-", "import pack, part, probe; probe.report()"),
    "input that fails": line("", "import part; part\nimport between; between\n"),
    "package": line("-m pack"),
    "module": line("-m pack.tool --flag"),
    "directory": line("folder", cached=True),
    "zip file": line("folder.pyz"),
    "no main module": line("nothing", cached=False),
    "no file": line("absent.py", cached=False),
    "no module": line("-m absent", cached=False),
    "no module in a package": line("-m pack.absent"),
    "path that is run": line("run_path.py"),
    # failures and endings
    "exception": Command(("-c", "import between; between")),
    "syntax error": Command(("-c", "import part, invalid; part, invalid")),
    "interrupted": Command(("-c", "import part, stopped; part, stopped")),
    "exit in a module": Command(("-c", "import part, exits; part, exits")),
    "circle": Command(("-c", "import round_one; round_one")),
    "tracebacks": line("tracebacks.py"),
    "deep recursion": line("deep.py"),
    "deprecated": Command(("-c", "import warned; warned")),
    "deprecated, shown": Command(("-W", "always", "-c", "import warned; warned")),
    "deprecated, error": Command(("-W", "error", "-c", "import part, warned; part, warned")),
    "doubtful, error": Command(("-W", "error::SyntaxWarning", "-c", "import part, doubtful; part, doubtful")),
    "leaving": line("leaving.py"),
    # tools that run or examine programs
    "trace, count": line("-m trace --count --missing --coverdir TMP app.py"),
    "trace, lines": line("-m trace --trace app.py", stdout=of_the_tree),
    "trace, list": line("-m trace --listfuncs --ignore-dir=LIB app.py", stdout=of_the_tree, cached=True),
    "profile": line("-m cProfile -o TMP/profile app.py"),
    "debugger": line("-m pdb -c continue app.py", "q\n"),
    "debugger with a stop": Command(("-m", "pdb", "app.py"), "b part.py:3\nc\np __name__\nn\nc\nq\n"),
    "doctest": line("-m doctest -v part.py"),
    "unittest": line("-m unittest -v test_part", stderr=without_times),
    "inspect": line("-m inspect --details pack.tool"),
    "pydoc": line("-m pydoc pack.two"),
    "disassembly": line("-m dis part.py", cached=False),
    "module finder": line("-m modulefinder -q app.py", cached=False, slow=True),
    "class browser": line("-m pyclbr pack.two", cached=False),
    "compileall": line("-m compileall -q pack", cached=False),
    "tool of the library": line("-m json.tool data.json", cached=False),
    # processes, threads and interpreters
    "spawn": line("processes_spawn.py"),
    "fork": line("processes_fork.py"),
    "fork server": line("processes_forkserver.py"),
    "executor": line("executor.py"),
    "threads": line("threads.py"),
    "first import in a thread": line("new_thread.py"),
    "subinterpreter": line("subinterpreter.py"),
    "pool of interpreters": line("interpreter_pool.py", since=(3, 14)),
    "fork by hand": line("forks.py"),
    "signal handler": line("signalled.py"),
    # programs that take part in imports
    "sandbox": line("sandbox.py"),
    "lazy loader": line("lazy.py"),
    "hostile modules": line("hostile.py"),
    "audit hook": line("audit.py"),
    "tracing function": line("traced.py"),
    "profiling function": line("profiled.py"),
    "loaded again": line("again.py"),
    "resources": line("resources.py"),
}
COMMANDS = {name: each for name, each in COMMANDS.items() if sys.version_info >= each.since}
