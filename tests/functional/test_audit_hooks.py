"""Audit hooks (PEP 578) that refuse operations: an import ends as it does on a standard interpreter.

A hook may refuse what only this package does, or what CPython can do without. The module is then compiled from source.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Python

    from .sides import Sides

LAYOUTS = pytest.mark.parametrize("options", [{}, {"layout": "shared"}], ids=["mirror", "shared"])
IMPORT = """
try:
    import lazy1, lazy2
    print(lazy1.value + lazy2.value)
except BaseException as error:
    print(repr(error))
"""
REFUSALS = {
    "bytecode": "event == 'open' and not str(details[0]).endswith('.py')",
    "the cache": "str(details[:1]).find('/cache/') > 0",
    "locks": "event == 'fcntl.flock' or (event == 'open' and 'locks' in str(details[0]))",
    "all but an import's": "event not in ('import', 'open', 'compile', 'exec', 'marshal.loads', 'os.listdir')",
    "extension modules": "event == 'import' and details[0] not in ('lazy1', 'lazy2')",
    "waiting and changes": "event in ('time.sleep', 'os.utime', 'os.mkdir', 'os.rename', 'os.chown', 'os.chmod')",
    "bytecode in memory": "event in ('marshal.loads', 'marshal.dumps')",
    "compilation": "event == 'compile' and 'lazy' in str(details[1])",
    "sources": "event == 'open' and 'lazy1.py' in str(details[0])",
}
FORMS = {
    "function": "def hook(event, details):\n    if {condition}:\n        raise {kind}('refused')\n",
    "any arguments": """
def hook(*arguments):
    event, details = arguments
    if {condition}:
        raise {kind}('refused')
""",
    "method": """
class Hook:
    def __call__(self, event, details):
        if {condition}:
            self.refuse()
    def refuse(self):
        raise {kind}('refused')
hook = Hook()
""",
}


def program(form: str, kind: str, refused: str) -> str:
    """Return a program that imports modules under this hook."""
    return FORMS[form].format(condition=REFUSALS[refused], kind=kind) + "sys.addaudithook(hook)\n" + IMPORT


@LAYOUTS
@pytest.mark.parametrize("kind", ["PermissionError", "RuntimeError"])
@pytest.mark.parametrize("refused", REFUSALS)
def test_refused_operations(refused: str, kind: str, options: dict[str, Any], sides: Sides) -> None:
    """Whatever a hook raises, and whichever operation it refuses, with a cold and with a full cache."""
    text = program("function", kind, refused)
    expected = sides.run(text, stock=True)
    if refused in ("compilation", "sources"):
        assert expected == f"{kind}('refused')"
    assert sides.run(text, **options) == expected
    assert sides.run(IMPORT, **options) == "3"  # fills the cache
    warm = {"compilation": "3", "bytecode in memory": expected}
    assert sides.run(text, **options) == warm.get(refused, expected)


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_hooks(form: str, sides: Sides) -> None:
    """A hook may be any callable, and raise in a function that it calls."""
    for kind in ("ImportError", "SystemExit"):
        found = sides.all(program(form, kind, "the cache"))
        assert set(found.values()) == {"3"}


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["PermissionError", "RuntimeError"])
def test_a_refused_cache_directory(kind: str, sides: Sides) -> None:
    """`install()` raises nothing if a hook refuses to create the cache directory, and gives the reason."""
    text = f"""
def hook(event, details):
    if event == "os.mkdir":
        raise {kind}("refused by policy")
sys.addaudithook(hook)
hook = pycachehook.install([*pycachehook.active().cache_dirs][0] + "/other")
import lazy1
print(lazy1.value, hook.status, "refused by policy" in hook.reason)
"""
    assert sides.run(text) == "1 disabled True"


@pytest.mark.alone
@pytest.mark.parametrize("kind", ["PermissionError", "RuntimeError"])
@pytest.mark.parametrize("event", ["open", "os.listdir"])
def test_a_refused_archive(event: str, kind: str, sides: Sides) -> None:
    """Nor if it refuses to open an archive, or to list a directory that the archive covers."""
    text = f"""
import importlib, os, subprocess
out = "{sides.cache}.pyca"
environment = {{**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(pycachehook.__file__))}}
build = ["archive", "build", "--invalidation-mode", "unchecked-hash", "--path", sys.path[0], out]
subprocess.run([sys.executable, "-m", "pycachehook", *build], env=environment, check=True, stdout=subprocess.DEVNULL)
refusing = True
def refuse(event, details):
    if refusing and event == {event!r} and str(details[0]) in (out, sys.path[0]):
        raise {kind}("refused by policy")
sys.addaudithook(refuse)
hook = pycachehook.install([*hook.cache_dirs][0], archives=[out])
refusing = False
import lazy1
print(lazy1.value, hook.status, "refused by policy" in hook.reason)
"""
    assert sides.run(text) == "1 writable True"


def test_an_exception_of_a_signal_handler_is_no_refusal(sides: Sides) -> None:
    """With an audit hook installed, an OSError of a signal handler still reaches the program."""
    text = """
import os, signal
def out_of_time(*_):
    raise TimeoutError("out of time")
signal.signal(signal.SIGALRM, out_of_time)
def hook(event, details):
    if event == "open" and str(details[0]).endswith("lazy1.py"):
        signal.raise_signal(signal.SIGALRM)
sys.addaudithook(hook)
try:
    import lazy1
    print("imported")
except TimeoutError as error:
    print(error)
"""
    assert sides.run(text, stock=True) == "out of time"
    assert sides.run(text) == "out of time"


@LAYOUTS
@pytest.mark.parametrize(
    ("number", "raised"), [("SIGALRM", "TimeoutError('out of time')"), ("SIGINT", "KeyboardInterrupt()")]
)
def test_signal_in_an_audit_hook(number: str, raised: str, options: dict[str, Any], sides: Sides) -> None:
    """An exception of a signal handler is the program's, also if the signal arrives while an audit hook runs."""
    text = f"""
import signal
def out_of_time(*_):
    raise TimeoutError("out of time")
signal.signal(signal.SIGALRM, out_of_time)
pending = True
def hook(event, details):
    global pending
    if pending and event == "open" and "cache" in str(details[0]):
        pending = False
        signal.raise_signal(signal.{number})
sys.addaudithook(hook)
{IMPORT}"""
    for _ in ("cold", "warm"):
        assert sides.run(text, **options) == raised
        assert sides.run(IMPORT, **options) == "3"


@pytest.mark.full
def test_refused_operations_at_a_start(
    environment: Python, tree: Callable[..., Path], cache: Path, purelib: Callable[[Python], Path]
) -> None:
    """In an environment where pycachehook is enabled, a hook that the program adds may refuse what loading it needs."""
    root = tree({"lazy1.py": "value = 1", "lazy2.py": "value = 2"})
    every = {**REFUSALS, "files": "event == 'open'", "the image": "'.image' in str(details[:1])"}
    every["the package"] = f"{str(purelib(environment))!r} in str(details[:1])"
    texts = [
        FORMS["function"].format(condition=condition, kind=kind) + "import sys\nsys.addaudithook(hook)\n" + IMPORT
        for condition in every.values()
        for kind in ("PermissionError", "RuntimeError")
    ]
    texts += [text.replace("import lazy1,", "import colorsys, lazy1,") for text in texts[::3]]

    def outputs() -> list[str]:
        return [environment("-B", "-c", text, cwd=root, check=False).stdout for text in texts]

    expected = outputs()
    environment("-m", "pycachehook", "enable", "--cache-dir", cache)
    try:
        assert outputs() == expected
    finally:
        environment("-m", "pycachehook", "disable")
