"""gevent, eventlet, freezegun and pyfakefs: an import in a program that uses them ends as on a standard interpreter."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from conftest import PROJECT, clean_environment

if TYPE_CHECKING:
    from .sides import Sides

COUNT = 12
SLOW = pytest.mark.slow  # what takes long and differs little
LAYOUTS = pytest.mark.parametrize(
    "options", [{}, pytest.param({"layout": "shared"}, marks=SLOW)], ids=["mirror", "shared"]
)
BOTH = pytest.mark.parametrize("library", ["gevent", "eventlet"])

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="uses fcntl and SIGSTOP")


@pytest.fixture(autouse=True)
def _installed(request: pytest.FixtureRequest) -> None:
    """Skip a test whose library is missing, or cannot be imported by this Python."""
    parameters = getattr(getattr(request.node, "callspec", None), "params", {})
    name = parameters.get("library") or request.function.__name__.split("_")[1]
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"needs {name}, see the dependency group `patching`")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import {name}"],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"{name} cannot be imported by this Python: {done.stderr.splitlines()[-1]}")


@pytest.fixture
def many(sides: Sides) -> Sides:
    """Return the three ways to run a program, with modules in the tree that take time to compile."""
    for number in range(COUNT):
        (sides.tree / f"many{number}.py").write_text(f"data = {[*range(3000)]}\nvalue = {number}\n")
    return sides


PATCH = {
    "gevent": "from gevent import monkey\nmonkey.patch_all()\n",
    "eventlet": "import eventlet\neventlet.monkey_patch()\n",
}
SPAWN = {
    "gevent": """
import gevent
def together(function, count):
    return [each.get() for each in gevent.joinall([gevent.spawn(function, n) for n in range(count)])]
""",
    "eventlet": """
import eventlet
def together(function, count):
    return [each.wait() for each in [eventlet.spawn(function, n) for n in range(count)]]
""",
}
REQUESTS = f"""
def request(first):
    good, bad = 0, []
    for step in range({COUNT}):
        number = (first * {{shift}} + step) % {COUNT}
        try:
            good += __import__(f"many{{{{number}}}}").value == number
        except BaseException as error:
            bad.append(repr(error))
    import email.mime.text, decimal, http.client
    return good, bad
print(together(request, 3))
"""
FINE = str([(COUNT, [])] * 3)
# The libraries themselves, which take longest to compile, are no part of what is tested.
ALL_BUT_LIBRARIES = {"rules": [{"match": "*/site-packages/*", "enabled": False}]}
ORDERS = pytest.mark.parametrize("first", ["patched", "installed"])


def programs(library: str, first: str, shift: int) -> tuple[str, str]:
    """Return a program whose greenlets import the same modules, as its parts before and after the installation."""
    text = SPAWN[library] + REQUESTS.format(shift=shift)
    return (PATCH[library], text) if first == "patched" else ("", PATCH[library] + text)


@BOTH
@ORDERS
@LAYOUTS
@pytest.mark.parametrize("shift", [pytest.param(0, marks=SLOW), 4], ids=["same order", "different orders"])
def test_greenlets_while_locks_are_held(
    library: str, first: str, shift: int, options: dict[str, Any], many: Sides
) -> None:
    """No greenlet sees a module that is not complete, cold while another process holds every lock, and warm."""
    before, program = programs(library, first, shift)
    options = {**options, **ALL_BUT_LIBRARIES}
    assert many.run(program, "-W", "ignore", stock=True, before=before) == FINE
    with many.locks_held():
        assert many.run(program, "-W", "ignore", before=before, lock_timeout=0.2, **options) == FINE
    for _ in ("cold", "warm"):
        assert many.run(program, "-W", "ignore", before=before, **options) == FINE


@BOTH
@LAYOUTS
def test_greenlets_while_another_process_compiles(library: str, options: dict[str, Any], many: Sides) -> None:
    """Nor while a process without greenlets compiles the same files, and stores what they wait for."""
    before, program = programs(library, "patched", 4)
    rival = f"""
import sys
sys.path[:0] = [{str(many.tree)!r}, {str(PROJECT / "src")!r}]
import pycachehook
pycachehook.install({{cache!r}}, in_tree="ignore", **{options!r})
for number in range({COUNT}):
    __import__(f"many{{number}}")
import email.mime.text, decimal, http.client
"""
    for number in range(2):
        many.cache = many.tree.parent / f"cache{number}"
        command = [sys.executable, "-c", rival.replace("{cache!r}", repr(str(many.cache)))]
        with subprocess.Popen(command, env=clean_environment()) as process:
            assert many.run(program, "-W", "ignore", before=before, **options) == FINE
        assert process.returncode == 0


LOADED_BEFORE = """
import lazy1
names = ("threading", "logging", "socket", "ssl", "selectors", "subprocess", "queue", "signal", "concurrent.futures.thread")
before = [name for name in names if name in sys.modules]
import warnings
caught = warnings.catch_warnings(record=True).__enter__()
warnings.simplefilter("always")
{patch}
import logging, threading, time, lazy2
log = []
def configure(number):
    with logging._lock:
        log.append(number); time.sleep(0.01); log.append(number)
{spawn}
together(configure, 3)
print(before, [str(each.message) for each in caught], type(logging._lock), threading.main_thread(), time.sleep, log)
"""


@BOTH
@LAYOUTS
def test_patched_after_an_import(library: str, options: dict[str, Any], sides: Sides) -> None:
    """Patching after a cold import finds the modules, and leaves the locks, that it does on a standard interpreter."""
    found = sides.all(LOADED_BEFORE.format(patch=PATCH[library], spawn=SPAWN[library]), "-W", "ignore", **options)
    without_addresses = {
        side: [word for word in re.sub(r"\d{6,}", "", text).split() if not word.startswith("0x")]  # nor thread ids
        for side, text in found.items()
    }
    assert "log" not in found["stock"].partition("]")[0]
    assert without_addresses["cold"] == without_addresses["warm"] == without_addresses["stock"]


FROZEN = {
    "freezegun": "import freezegun\nwith freezegun.freeze_time('2024-01-01'):\n    import {module}\n",
    "ticking": "import freezegun\nwith freezegun.freeze_time('2024-01-01', auto_tick_seconds=3600):\n    import {module}\n",
    "mock": "from unittest import mock\nwith mock.patch('time.monotonic', return_value=100.0):\n    import {module}\n",
    "not frozen": "import {module}\n",
}


@LAYOUTS
@pytest.mark.parametrize("frozen", ["freezegun", *(pytest.param(each, marks=SLOW) for each in [*FROZEN][1:])])
def test_freezegun_while_a_lock_is_held(frozen: str, options: dict[str, Any], sides: Sides) -> None:
    """The wait for a process that is stopped with the lock ends after `lock_timeout`; the module is compiled."""
    text = FROZEN[frozen].format(module="lazy1")
    said = "\nimport collections, lazy2\nprint(lazy1.value, dict(hook.stats.misses), hook.stats.stored)"
    sides.run(FROZEN[frozen].format(module="lazy3") + "import collections; print(1)", **options)  # other modules
    with sides.locks_held("os.kill(os.getpid(), signal.SIGSTOP)") as holder:
        assert os.waitpid(holder.pid, os.WUNTRACED)[1] & 0xFF == 0x7F  # it has stopped
        try:
            found = sides.run(text + said, lock_timeout=0.3, **options)
        finally:
            holder.kill()
            holder.send_signal(signal.SIGCONT)
    assert found == "1 {'lock-timeout': 2} 0"
    assert sides.run(text + said, **options) == "1 {'absent': 2} 2"
    assert sides.run(text + said, **options) == "1 {} 0"


FAKE = """
from pyfakefs.fake_filesystem_unittest import Patcher
{before}
said = []
def attempt(name):
    try:
        said.append(__import__(name).value)
    except BaseException as error:
        said.append(repr(error))
attempt("lazy0")
with Patcher({arguments}) as patcher:
    attempt("lazy1")
    patcher.fs.create_file(sys.path[0] + "/lazy2.py", contents="value = 'fake'")
    attempt("lazy2")
    patcher.fs.create_file(sys.path[0] + "/nowhere.py", contents="value = 'fake'")
    attempt("nowhere")
    open("/written", "w").close()
    import fractions, email.mime.text
    said.append(str(fractions.Fraction(1, 2)))
attempt("lazy3")
attempt("nowhere")
print(said{after})
"""


@LAYOUTS
@pytest.mark.parametrize(
    "arguments", ["", *(pytest.param(each, marks=SLOW) for each in ("allow_root_user=False", "use_cache=False"))]
)
def test_pyfakefs(arguments: str, options: dict[str, Any], sides: Sides) -> None:
    """Imports inside a fake file system have the outcome of a standard interpreter; the cache is used before and after."""
    text = FAKE.format(before="", arguments=arguments, after="")
    stock = sides.run(text, "-W", "ignore", stock=True)
    assert stock.startswith("[0, 1, 2, ")
    text = FAKE.format(before="", arguments=arguments, after=", hook.status, hook.reason, hook.stats.errors")
    for _ in ("cold", "warm"):
        assert sides.run(text, "-W", "ignore", **options) == f"{stock} writable None 0"
    assert [*sides.cache.rglob("*.pyc")]
    # Inside, steps of the loader are replaced, so nothing is stored; `lazy3` was imported outside.
    assert sides.run("import lazy1, lazy2, lazy3; print(hook.stats.hits, hook.stats.compiled)", **options) == "1 2"


@LAYOUTS
def test_pyfakefs_around_the_installation(options: dict[str, Any], sides: Sides) -> None:
    """A hook that is installed inside a fake file system uses the real cache directory."""
    text = f"""
from pyfakefs.fake_filesystem_unittest import Patcher
with Patcher() as patcher:
    hook = pycachehook.install([*hook.cache_dirs][0] + "/other", in_tree="ignore", **{options!r})
    import lazy1
import lazy2
print(lazy1.value, lazy2.value, hook.status, hook.stats.stored + hook.stats.hits > 1)
"""
    for _ in ("cold", "warm"):
        assert sides.run(text, "-W", "ignore", **options) == "1 2 writable True"
    assert [*(sides.cache / "other").rglob("*.pyc")]
