"""Imports near a limit: of recursion, open files or memory; and under a storm of signals, or with forks in between."""

from __future__ import annotations

import ast
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Python

    from .sides import Sides

LAYOUTS = pytest.mark.parametrize("options", [{}, {"layout": "shared"}], ids=["mirror", "shared"])
COUNT = 100

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs signals, fork and limits of POSIX")


@pytest.fixture
def many(sides: Sides) -> Sides:
    """Return the three ways to run a program, with a hundred modules in the tree."""
    for number in range(COUNT):
        (sides.tree / f"many{number}.py").write_text(f"value = {number}\ndata = {[*range(3 * number)]}\n")
    return sides


NEAR_THE_LIMIT = """
def deep(levels, name):
    return deep(levels - 1, name) if levels else __import__(name)
sys.setrecursionlimit(400)
failed = []
for number in range(60):
    try:
        deep(390 - number, f"many{number}")
    except RecursionError:
        failed.append(number)
sys.setrecursionlimit(1000)
import many70, many71
print((failed, 0 if sys.dont_write_bytecode else hook.stats.stored + sum(hook.stats.hits_by_place.values())))
"""


@LAYOUTS
def test_near_the_recursion_limit(options: dict[str, Any], many: Sides) -> None:
    """No import fails that succeeds on a standard interpreter, and storing works again afterwards."""
    expected, _ = ast.literal_eval(many.run(NEAR_THE_LIMIT, stock=True))
    for _ in ("cold", "warm"):
        failed, stored = ast.literal_eval(many.run(NEAR_THE_LIMIT, **options))
        assert set(failed) <= set(expected)
        assert stored > 30


FEW_FILES = """
import os, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
held, outcomes = [], []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for number in range(8):
    try:
        outcomes.append(__import__(f"many{number}").value)
    except OSError as error:
        outcomes.append(error.strerror)
    if number % 2:
        os.close(held.pop())
for each in held:
    os.close(each)
import many9
print((outcomes, 0 if sys.dont_write_bytecode else hook.stats.stored + sum(hook.stats.hits_by_place.values())))
"""


@LAYOUTS
def test_without_file_descriptors(options: dict[str, Any], many: Sides) -> None:
    """The first import of a process may find none, or one, to open files with; later ones are stored as usual."""
    expected, _ = ast.literal_eval(many.run(FEW_FILES, stock=True))
    assert expected[:2] == ["Too many open files"] * 2
    for _ in ("cold", "warm"):
        outcomes, stored = ast.literal_eval(many.run(FEW_FILES, **options))
        assert outcomes == expected
        assert stored >= 3


LITTLE_MEMORY = """
import resource, many1
def used():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()
base, outcomes = used(), set()
for megabytes in (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024):
    resource.setrlimit(resource.RLIMIT_AS, (base + (megabytes << 20), -1))
    try:
        import large
        break
    except MemoryError:
        outcomes.add("MemoryError")
    except SystemError:  # CPython's compiler
        outcomes.add("MemoryError")
resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
import many2, many3
print(outcomes, large.function_1(), many3.value, *() if sys.dont_write_bytecode else (hook.stats.errors,))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc/self/statm")
@LAYOUTS
def test_with_little_memory(options: dict[str, Any], many: Sides) -> None:
    """An import for which the memory is too small raises MemoryError, and can be repeated."""
    text = "".join(f"def function_{number}(a={number}):\n    return (a, 'text {number}')\n" for number in range(8000))
    (many.tree / "large.py").write_text(text)
    said = many.all(LITTLE_MEMORY, **options)
    assert said["stock"] == "{'MemoryError'} (1, 'text 1') 3"
    assert said["cold"] == f"{said['stock']} 0"
    assert said["warm"] in (f"{said['stock']} 0", f"{said['stock']} 0".replace("{'MemoryError'}", "set()"))


STORM = """
import os, signal, time, warnings
class OutOfTime(Exception):
    pass
class OutOfTimeToo(OSError):
    pass
signals = [0]
def handler(*_):
    signals[0] += 1
    if {raises}:
        raise OutOfTime if signals[0] % 2 else OutOfTimeToo
signal.signal(signal.SIGALRM, handler)
sys.unraisablehook = lambda _: None  # for a signal in the callback of a weak reference
filters, number, others = list(warnings.filters), 0, []
delay, reached = 0.001, 0
while number < 100:
    delay = 0.001 if number > reached else 1.5 * delay  # an import that takes longer, on a busy machine, ends, too
    reached = number
    try:
        signal.setitimer(signal.ITIMER_REAL, delay, delay)
        try:
            while number < 100:
                assert __import__(f"many{{number}}").value == number
                number += 1
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    except (OutOfTime, OutOfTimeToo):
        pass
    except ImportError as error:
        others.append(str(error))
signal.setitimer(signal.ITIMER_REAL, 0)
for number in range(100):
    assert __import__(f"many{{number}}").value == number
print(signals[0] > 0, others, warnings.filters == filters, *() if sys.dont_write_bytecode else (hook.stats.errors,))
"""


@LAYOUTS
@pytest.mark.parametrize("raises", [False, True], ids=["handled", "raising"])
def test_a_storm_of_signals(raises: bool, options: dict[str, Any], many: Sides) -> None:
    """With a signal about each millisecond every import ends, by the handler's exception or with the module.

    Nothing is left in the warning filters, and no exception is taken for a fault of the cache.
    """
    text = STORM.format(raises=raises)
    assert many.run(text, stock=True) == "True [] True"
    for _ in ("cold", "warm"):
        assert many.run(text, **options) == "True [] True 0"


def test_interrupted_while_the_first_miss_loads_its_modules(many: Sides) -> None:
    """A handler's exception at any point of the first miss leaves a process that stores entries."""
    text = """
import signal, threading
class OutOfTime(Exception):
    pass
def handler(*_):
    raise OutOfTime
signal.signal(signal.SIGALRM, handler)
import json
try:
    signal.setitimer(signal.ITIMER_REAL, {delay})
    while True:
        import many1
except OutOfTime:
    pass
def imports():
    import many2
thread = threading.Thread(target=imports, daemon=True)
thread.start()
thread.join(60)
print(thread.is_alive(), hook.stats.stored > 0)
"""
    for step in range(30):
        many.cache = many.tree.parent / f"cache{step}"
        assert many.run(text.format(delay=0.0002 + 0.0002 * step)) == "False True"


FORKS = """
import os, threading, warnings
filters, first, failed = list(warnings.filters), threading.Event(), []
def importer():
    try:
        for number in range(50):
            __import__(f"many{number}")
            first.set()
    except BaseException as error:
        failed.append(error)
thread = threading.Thread(target=importer)
thread.start()
first.wait()
children = []
for _ in range(10):
    child = os.fork()
    if not child:
        code = 1
        try:
            right = all(__import__(f"many{number}").value == number for number in range(50, 100))
            code = 0 if right else 2
        finally:
            os._exit(code)
    children.append(child)
codes = {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children}
thread.join()
right = all(__import__(f"many{number}").value == number for number in range(100))
print(codes, failed, right, *() if sys.dont_write_bytecode else (hook.stats.errors,))
"""


@pytest.mark.filterwarnings("default")
@LAYOUTS
def test_forks_while_another_thread_imports(options: dict[str, Any], many: Sides) -> None:
    """Parent and children go on importing after a fork in the middle of another thread's import."""
    expected = many.run(FORKS, "-W", "ignore", stock=True)
    assert expected == "{0} [] True"
    for _ in ("cold", "warm"):
        assert many.run(FORKS, "-W", "ignore", **options) == f"{expected} 0"


def test_shared_layout_without_descriptors(python: Python, cache: Path) -> None:
    """`install` raises nothing if no file descriptor is left to load the module of the digest."""
    program = f"""
import os, resource, sys
import pycachehook, pycachehook.content_store, pycachehook.hook
pycachehook.install({str(cache)!r}, in_tree="ignore")
import colorsys  # the cache has its mark now
resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) - 1, 100))
hook = pycachehook.install({str(cache)!r}, layout="shared")
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
import sched
print(hook.status, hook.reason)
"""
    assert python("-c", program).stdout.startswith("disabled The layout shared cannot be used: ")
