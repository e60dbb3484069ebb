"""What a start costs, in counts that are the same on every machine: system calls, modules, bytes and code objects.

The ceilings are a little above today's figures. Raise one only with a reason: every start in every environment pays.
"""

from __future__ import annotations

import marshal
import shutil
import subprocess
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING

import pytest

from conftest import Python, clean_environment
from pycachehook import pyc
from pycachehook.commands.enable import STARTUP
from pycachehook.commands.startup_image import build_image
from pycachehook.config import resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.usefixtures("no_options")

IMAGE_BYTES = 177_000  # of the modules that a start executes
CODE_OBJECTS = 320
CALLS_OF_ACTIVATION = 12  # beside those for each component of the cache directory's path
CALLS_OF_THE_HOOK = 30  # beside those, and beside one for each module of the image

PROGRAM = """
import os, sys
sys.path[:0] = sys.argv[1:3]
import {startup}
sys.dont_write_bytecode = True
os.access("/begin", 0)
{startup}.activate()
os.access("/activated", 0)
import probe
os.access("/imported", 0)
"""


def code_objects(code: CodeType) -> int:
    """Return the number of code objects in `code`, itself included."""
    return 1 + sum(code_objects(constant) for constant in code.co_consts if isinstance(constant, CodeType))


@pytest.fixture
def image(cache: Path) -> bytes:
    """Return an image for the default options."""
    return build_image(resolution.resolve({"cache_dir": cache}).values())


def test_size_of_the_image(image: bytes) -> None:
    """The modules that a start executes have a bounded number of bytes and code objects; a miss's modules stay bytes."""
    _, modules, parts = marshal.loads(image[16:])
    assert sum(len(marshal.dumps(code)) for _, _, code in modules) <= IMAGE_BYTES
    assert sum(code_objects(code) for _, _, code in modules) <= CODE_OBJECTS
    assert {name for name, _, _ in parts} >= {"on_miss.compiling", "on_miss.writer"}
    assert all(type(data) is bytes for _, _, data in parts)


@pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace here")
def test_system_calls_of_a_start(
    tmp_path: Path, cache: Path, tree: Callable[[Mapping[str, str]], Path], python: Python
) -> None:
    """Activation and the loading of the hook make few system calls, and no source of the package is read for them."""
    purelib, trace = tmp_path / "purelib", tmp_path / "trace"
    purelib.mkdir()
    root = tree({"probe.py": "x = 1\n"})
    package = tmp_path / "package" / "pycachehook"
    shutil.copytree(Path(pyc.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\nfrom pathlib import Path\n"
        "from pycachehook.commands.enable import enable\nfrom pycachehook.config import resolution\n"
        "import os, time\nnewest = max(each.stat().st_ctime for each in Path(sys.argv[1]).rglob('*.py'))\n"
        "while time.time() < newest + 0.1: time.sleep(0.01)  # see `_stamp`\n"
        "enable(Path(sys.argv[2]), resolution.resolve({'cache_dir': sys.argv[3]}))"
    )
    python("-c", program, package.parent, purelib, cache)
    command: list[str | Path] = [python.executable, "-S", "-c", PROGRAM.format(startup=STARTUP), purelib, root]
    subprocess.run(["strace", "-o", str(trace), *map(str, command)], env=clean_environment(), check=True)
    lines = trace.read_text().splitlines()
    marks = [
        next(i for i, line in enumerate(lines) if f'"/{mark}"' in line) for mark in ("begin", "activated", "imported")
    ]
    activation, hook = lines[marks[0] + 1 : marks[1]], lines[marks[1] + 1 : marks[2]]
    components = len(cache.parts) + 1
    assert len(activation) <= CALLS_OF_ACTIVATION + components, activation
    assert not [line for line in hook if "openat" in line and f'"{package}' in line]
    modules = len([line for line in hook if f'"{package}' in line])
    first_store = next((i for i, line in enumerate(hook) if "probe." in line), len(hook))
    assert first_store - modules <= CALLS_OF_THE_HOOK + 2 * components, hook[:first_store]
