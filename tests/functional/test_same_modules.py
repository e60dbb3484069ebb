"""A cold and a warm start leave the same modules in `sys.modules`, on every Python at hand, and in subinterpreters."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import clean_environment

if TYPE_CHECKING:
    from .sides import Sides

VERSIONS = [
    version if version == "{}.{}".format(*sys.version_info) else pytest.param(version, marks=pytest.mark.slow)
    for version in ("3.11", "3.12", "3.13", "3.14", "3.15")
]
OPTIONS: dict[str, dict[str, Any]] = {
    "mirror": {},
    "shared": {"layout": "shared"},
    "timestamp": {"invalidation_mode": "timestamp"},
    "gc": {"gc": "freeze"},
}


def interpreter(version: str) -> str:
    """Return an interpreter of this version: this one, pyenv's, or one on the PATH; skip the test if there is none."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    installed = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    candidates = [*map(str, sorted(installed.glob(f"{version}.*/bin/python"))), f"python{version}"]
    for candidate in candidates:
        try:
            subprocess.run(
                [candidate, "-c", ""], env=clean_environment(), check=True, capture_output=True, cwd="/", timeout=60
            )
        except (OSError, subprocess.CalledProcessError):
            continue
        return candidate
    pytest.skip(f"there is no Python {version} here")


@pytest.fixture(params=VERSIONS)
def on_version(request: pytest.FixtureRequest, sides: Sides) -> Sides:
    """Return the three ways to run a program with one Python."""
    sides.executable = interpreter(request.param)
    (sides.tree / "package").mkdir()
    names = [f"part{number}" for number in range(30)]
    (sides.tree / "package/__init__.py").write_text("".join(f"from . import {name}\n" for name in names))
    for name in names:
        (sides.tree / f"package/{name}.py").write_text(f"value = {name!r}\n")
    return sides


IMPORTS = ["lazy1, lazy2", "asyncio", "email.mime.text", "package", "package, asyncio, email.mime.text, decimal"]
PROGRAM = """
import sys
import {names}
own = ("pycachehook", "zzz")
found = sorted(name for name in sys.modules if name.partition(".")[0] not in own)
import atexit, threading
print((found, atexit._ncallbacks(), threading.main_thread() is threading.current_thread()))
"""


@pytest.mark.parametrize(
    "options",
    [
        value if name in ("mirror", "shared") else pytest.param(value, marks=pytest.mark.slow)
        for name, value in OPTIONS.items()
    ],
    ids=OPTIONS,
)
def test_modules_of_a_start(options: dict[str, Any], on_version: Sides) -> None:
    """Whatever is imported first, cold and warm starts have the same modules and as many `atexit` callbacks."""
    for number, names in enumerate(IMPORTS):
        on_version.cache = on_version.tree.parent / f"cache{number}"
        text = PROGRAM.format(names=names)
        stock, cold, warm = (ast.literal_eval(said) for said in on_version.all(text, **options).values())
        assert cold == warm
        assert cold[1] == stock[1] + (options.get("gc") == "freeze")  # which registers one
        assert cold[2] is stock[2] is True
        assert not set(stock[0]) - set(cold[0])
        assert list(on_version.cache.rglob("*.pyc"))


@pytest.mark.alone
@pytest.mark.parametrize("mode", ["checked-hash", "unchecked-hash"])
def test_modules_of_a_start_from_an_archive(mode: str, sides: Sides, tmp_path: Path) -> None:
    """With an archive of some of the modules, too."""
    out = tmp_path / "tree.pyca"
    build = ["archive", "build", "--invalidation-mode", mode, "--path", str(sides.tree), str(out)]
    subprocess.run([sys.executable, "-m", "pycachehook", *build], env=clean_environment(), check=True)
    text = PROGRAM.format(names="lazy1, lazy2, asyncio, email.mime.text")
    found = sides.all(text, archives=[str(out)])
    assert found["cold"] == found["warm"]


MAIN_THREAD = """
import _thread
before = "threading" in sys.modules
done = _thread.allocate_lock()
done.acquire()
def work():
    import lazy1, lazy2
    done.release()
_thread.start_new_thread(work, ())
done.acquire()
loaded = "threading" in sys.modules
import threading
print(before, loaded, threading.main_thread() is threading.current_thread(), threading.main_thread().name)
"""


def test_the_first_import_in_another_thread(on_version: Sides) -> None:
    """`threading` takes the thread that imports it for the main thread until 3.12, so no import here may load it."""
    found = on_version.all(MAIN_THREAD)
    assert found["cold"] == found["warm"] == found["stock"]


VERSION_PATCHED = """
from unittest import mock
with mock.patch("sys.version_info", (3, 8)):
    import lazy1
with mock.patch("sys.version_info", mock.MagicMock()), mock.patch("sys.platform", "win32"):
    import lazy2
print(lazy1.value, lazy2.value)
"""


def test_another_version_is_pretended(on_version: Sides) -> None:
    """A program that patches `sys.version_info` and `sys.platform` imports as usual."""
    assert set(on_version.all(VERSION_PATCHED).values()) == {"1 2"}


CREATE = """
import lazy0
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
def run(text):
    own = interpreters.create()
    failed = interpreters.run_string(own, text)
    interpreters.destroy(own)
    return failed
"""
IN_SUBINTERPRETERS = (
    CREATE
    + """
import hashlib  # CPython 3.12.1 alone aborts without it, and with `datetime` in a subinterpreter
code = "import sys; sys.path[:] = %r; import lazy1, hashlib, random; assert lazy1.value == 1; hashlib.md5(b'')"
print([run(code % sys.path) for _ in range(3)])
import lazy2, hashlib
print([run(code % sys.path) for _ in range(3)], lazy2.value)
"""
)
HOOK_INSIDE = """
text = '''
import sys
sys.path[:] = {path!r}
sys.path.insert(1, {source!r})
import pycachehook
hook = pycachehook.install({cache!r}, in_tree="ignore")
import lazy1, lazy2, hashlib
assert hook.stats.stored + hook.stats.hits > 1, hook.reason
assert lazy1.value == 1
'''
print([run(text.format(path=sys.path, source={project!r}, cache={inner!r})) for _ in range(3)])
"""


@pytest.mark.filterwarnings("default")
def test_subinterpreters(on_version: Sides, tmp_path: Path) -> None:
    """A subinterpreter may be used after a cold import, and may itself have the hook."""
    found = on_version.all(IN_SUBINTERPRETERS, "-W", "ignore")
    assert set(found.values()) == {"[None, None, None] 2"}
    inside = HOOK_INSIDE.replace("{project!r}", repr(str(Path(__file__).parents[2] / "src")))
    inside = inside.replace("{inner!r}", repr(str(tmp_path / "inner")))
    on_version.cache = tmp_path / "another"
    for _ in ("cold", "warm"):
        assert on_version.run(CREATE + inside, "-W", "ignore") == "[None, None, None]"
    assert list((tmp_path / "inner").rglob("lazy1.*.pyc"))


SHARED_INSIDE = """
import sys
text = '''
import sys
sys.path[:] = %r
import pycachehook
hook = pycachehook.install(%r, in_tree="ignore", layout="shared")
import lazy1
assert hook.stats.stored + hook.stats.hits or "gh-119213" in hook.reason, hook.reason
'''
cache, *path = sys.argv[1:]
print([run(text % (path + sys.path, cache)) for _ in range(3)])
"""


@pytest.mark.filterwarnings("default")
def test_shared_layout_in_subinterpreters_alone(on_version: Sides, tmp_path: Path) -> None:
    """A process ends well whose subinterpreters alone have the hook, with the layout `shared`."""
    arguments = (tmp_path / "inner", on_version.tree, Path(__file__).parents[2] / "src")
    command = [on_version.executable, "-W", "ignore", "-c", CREATE + SHARED_INSIDE, *map(str, arguments)]
    for _ in ("cold", "warm"):
        done = subprocess.run(
            command, env=clean_environment(), cwd=on_version.tree, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout) == (0, "[None, None, None]\n"), done.stderr


POOL = """
from concurrent.futures import InterpreterPoolExecutor
import lazy0
with InterpreterPoolExecutor(3, initializer=exec, initargs=(%r,)) as pool:
    values = list(pool.map(eval, ["__import__('lazy%%d').value" %% (number %% 4) for number in range(12)]))
print(values)
"""


@pytest.mark.parametrize("inside", [False, True], ids=["outside", "inside"])
def test_interpreter_pool(inside: bool, sides: Sides, tmp_path: Path) -> None:
    """The interpreters of a pool import together, with the hook in the main interpreter or in each."""
    sides.executable = interpreter("3.14") if sys.version_info < (3, 14) else sys.executable
    start = f"import sys; sys.path[:0] = [{str(sides.tree)!r}, {str(Path(__file__).parents[2] / 'src')!r}]"
    if inside:
        start += f"\nimport pycachehook; pycachehook.install({str(tmp_path / 'inner')!r}, in_tree='ignore')"
    for _ in ("cold", "warm"):
        assert sides.run(POOL % start) == "[0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]"
