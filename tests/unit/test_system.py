"""The operating-system functions of `system`, and the origin of exceptions."""

from __future__ import annotations

import builtins
import ctypes
import importlib
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import pytest

import pycachehook
from pycachehook import runtime
from pycachehook.cache_dir import make_one_directory
from pycachehook.system import is_foreign, system, unpatched

if TYPE_CHECKING:
    from collections.abc import Callable


def caught_in(namespace_name: str, action: Callable[[], object]) -> OSError:
    """Return the OSError that `action` raises, caught in a function of a module with this name."""
    namespace: dict[str, object] = {"__name__": namespace_name, "action": action}
    exec("def catch():\n    try:\n        action()\n    except OSError as error:\n        return error", namespace)
    error = namespace["catch"]()  # type: ignore[operator]
    assert isinstance(error, OSError)
    return error


def test_error_of_the_operating_system_is_not_foreign(tmp_path: Path) -> None:
    """An exception of a system call, also through another function of the package, belongs to the package."""
    missing = str(tmp_path / "missing")
    assert not is_foreign(caught_in("pycachehook.store", partial(system.stat, missing)))
    assert not is_foreign(caught_in("pycachehook", partial(system.stat, missing)))
    with pytest.raises(FileNotFoundError) as caught:
        make_one_directory(f"{missing}/x", 0o755)
    below = caught.value.__traceback__
    caught.value.__traceback__ = below.tb_next if below is not None else None  # without the frame of this test
    assert not is_foreign(caught.value)


@pytest.mark.parametrize("name", ["__main__", "pycachehook_plugin", "importlib._bootstrap", None])
def test_error_of_another_module_is_foreign(name: str) -> None:
    """A frame of any other module makes an exception foreign, even if its name has the same prefix."""
    error = caught_in(name, partial(system.stat, "/no/such/file"))
    assert is_foreign(error)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="there is no SIGALRM here")
def test_error_of_a_signal_handler_is_foreign() -> None:
    """A TimeoutError that a signal handler raises during a system call of the package is foreign."""

    def out_of_time(*_: object) -> None:
        raise TimeoutError("out of time")

    found = signal.signal(signal.SIGALRM, out_of_time)
    reading, writing = os.pipe()
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        error = caught_in("pycachehook.store", partial(system.read, reading, 1))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, found)
        os.close(reading)
        os.close(writing)
    assert isinstance(error, TimeoutError)
    assert is_foreign(error)


class OutOfTimeError(Exception):
    """An exception that a program raises in another of its threads."""


@pytest.mark.parametrize("kind", [TimeoutError, OutOfTimeError])
def test_asynchronous_exception_is_foreign(kind: type[Exception]) -> None:
    """An exception that another thread raises in a function of the package belongs to the program."""
    namespace: dict[str, Any] = {"__name__": "pycachehook.store"}
    loop = "try:\n        begun.set()\n        while True: pass\n    except Exception as error:\n        return error"
    exec(f"def catch(begun):\n    {loop}", namespace)
    begun, target = threading.Event(), threading.get_ident()

    def interrupt() -> None:
        begun.wait()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(target), ctypes.py_object(kind))

    other = threading.Thread(target=interrupt)
    other.start()
    error = namespace["catch"](begun)
    other.join()
    assert type(error) is kind
    assert is_foreign(error)


def test_functions_that_were_patched_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """A built-in module is used as it is, unless a function in it is another one; then a copy has the original."""
    assert unpatched("time", ("time", "sleep")) is time
    original = time.sleep
    for other in (lambda _: None, time.monotonic, len):
        monkeypatch.setattr(time, "sleep", other)
        copy = unpatched("time", ("time", "sleep"))
        assert copy is not time
        assert copy.sleep is not other
        assert (copy.sleep.__name__, type(copy.sleep)) == ("sleep", type(original))
        assert copy.sleep.__self__ is copy


def test_start_up_does_not_keep_an_exception_of_the_program(no_hook: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A signal handler's TimeoutError leaves the start-up, which can be tried again; a fault of ours does not."""

    def out_of_time(*_: object, **__: object) -> None:
        raise TimeoutError("out of time")

    values = runtime.resolve({}, "keyword").values()
    with monkeypatch.context() as patched:
        patched.setattr(runtime, "compose", out_of_time)
        with pytest.raises(TimeoutError):
            runtime.start_up(values, "0", "file")
        assert runtime.activation is None
    assert runtime.start_up({}, pycachehook.__version__, "file")  # KeyError: no such option
    assert pycachehook.active() is None
    assert runtime.activation == ({}, "file")


def test_functions_keep_the_builtins_of_the_start() -> None:
    """No function of a module that a start or a miss may load looks into `builtins` when it is called."""
    package = Path(pycachehook.__file__).parent
    paths = [*package.glob("[!_]*.py"), package / "_compat.py", *package.glob("on_miss/[!_]*.py")]
    names = [f"pycachehook.{'.'.join(path.relative_to(package).with_suffix('').parts)}" for path in paths]
    found = [
        function
        for name in names
        if name not in ("pycachehook.hook", "pycachehook.errors")
        for function in vars(importlib.import_module(name)).values()
        if isinstance(function, FunctionType) and function.__module__ == name
        if function.__name__ != "__annotate__"  # Python 3.14 compiles it first; no import calls it
    ]
    assert len(found) > 100
    assert [each.__qualname__ for each in found if getattr(each, "__builtins__", None) is vars(builtins)] == []
