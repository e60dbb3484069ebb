"""The operating-system functions of `system`, and the origin of exceptions."""

from __future__ import annotations

import os
import signal
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest

from pycachehook.cache_dir import make_one_directory
from pycachehook.system import is_foreign, system, unpatched

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


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
