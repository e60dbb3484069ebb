"""Programs that embed Python and set a hook for `io.open_code` (PEP 578)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import Python
from pycachehook.commands import enable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = pytest.mark.full

PROGRAM = """
#include <Python.h>
#include <stdio.h>
#include <stdlib.h>

static PyObject *
log_and_open(PyObject *path, void *unused)
{
    FILE *log = fopen(getenv("OPEN_CODE_LOG"), "a");
    fprintf(log, "%s\\n", PyUnicode_AsUTF8(path));
    fclose(log);
    PyObject *io = PyImport_ImportModule("_io");
    return io == NULL ? NULL : PyObject_CallMethod(io, "open", "Os", path, "rb");
}

int
main(int argc, char **argv)
{
    PyFile_SetOpenCodeHook(log_and_open, NULL);
    return Py_BytesMain(argc, argv);
}
"""

ASK = "from pycachehook.commands.enable import open_code_hook_is_set as ask; print(ask(), ask())"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a program that embeds Python and has a hook that logs each path and opens the file."""
    folder = tmp_path_factory.mktemp("embedding")
    source, built = folder / "embedding.c", folder / "embedding"
    source.write_text(PROGRAM)
    compiler, paths = shutil.which("gcc") or shutil.which("cc"), sysconfig.get_paths()
    if compiler is None or not Path(paths["include"], "Python.h").exists():
        pytest.skip("needs a C compiler and Python's headers")
    library = sysconfig.get_config_var("LIBDIR")
    name = f"python{sysconfig.get_config_var('LDVERSION')}"
    options = [f"-I{paths['include']}", f"-L{library}", f"-l{name}", f"-Wl,-rpath,{library}", "-rdynamic"]
    process = subprocess.run([compiler, source, "-o", built, *options], capture_output=True, text=True, check=False)
    if process.returncode:
        pytest.skip(f"needs a library to embed Python: {process.stderr[-200:]}")
    return built


@pytest.fixture
def embedding(program: Path, tmp_path: Path) -> Python:
    """Return that program as an interpreter that finds this project and the start-up file."""
    path = [
        str(tmp_path),
        str(Path(enable.__file__).parents[2]),
        *(each for each in sys.path if "site-packages" in each),
    ]
    return Python(
        program,
        HOME=str(tmp_path),
        PYTHONHOME=sys.base_prefix,
        PYTHONPATH=os.pathsep.join(path),
        OPEN_CODE_LOG=str(tmp_path / "log"),
    )


def test_hook_is_found(embedding: Python, python: Python) -> None:
    """An existing hook is detected at every query, and none is reported without one."""
    assert embedding("-c", ASK).stdout == "True True\n"
    assert python("-c", ASK).stdout == "False False\n"


def test_no_hook_is_set_by_asking(python: Python) -> None:
    """The query leaves `io.open_code` unchanged."""
    assert python("-c", f"{ASK}\nimport io; print(io.open_code({__file__!r}).read(3))").stdout.endswith('b\'"""\'\n')


def test_audit_hook_that_objects_counts_as_a_hook(python: Python) -> None:
    """An exception from the query counts as a hook, because reading by `io.open_code` is always right."""
    program = """
import sys
def refuse(event, args):
    if event == "setopencodehook":
        raise PermissionError("no")
sys.addaudithook(refuse)
"""
    assert python("-c", program + ASK).stdout == "True True\n"


@pytest.mark.alone
def test_archive_passes_the_hook(
    embedding: Python, tree: Callable[[Mapping[str, str]], Path], tmp_path: Path, cache: Path
) -> None:
    """An archive is read through `io.open_code` too, and so are the sources that it is compared with."""
    root = tree({"probe.py": "value = 7\n"})
    archive, log = tmp_path / "tree.pyca", tmp_path / "log"
    embedding("-m", "pycachehook", "archive", "build", "--path", root, archive)
    program = f"""
import sys
import pycachehook
hook = pycachehook.install({str(cache)!r}, archives=[{str(archive)!r}], open_code="always")
sys.path.insert(0, {str(root)!r})
import probe
print(probe.value, hook.stats.hits_by_place["archive"])
"""
    log.unlink(missing_ok=True)
    assert embedding("-c", program).stdout == "7 1\n"
    read = log.read_text().splitlines()
    assert (read.count(str(archive)), read.count(str(root / "probe.py"))) == (1, 1)


@pytest.mark.parametrize("option", ["auto", "never"])
@pytest.mark.alone
def test_what_is_read_passes_the_hook(
    option: str, embedding: Python, tree: Callable[[Mapping[str, str]], Path], tmp_path: Path, cache: Path
) -> None:
    """With a hook, the image, the sources and the entries are read by `io.open_code`."""
    root = tree({"probe.py": "LOADER = type(__spec__.loader).__name__\n"})
    program = f"""
from pathlib import Path
from pycachehook.commands.enable import enable
from pycachehook.config.resolution import resolve
enable(Path({str(tmp_path)!r}), resolve({{"cache_dir": {str(cache)!r}, "open_code": {option!r}}}))
"""
    embedding("-c", program)
    log = tmp_path / "log"
    start = f"""
import sys
import _pycachehook_startup
_pycachehook_startup.activate()
sys.path.insert(0, {str(root)!r})
import probe
print(probe.LOADER, probe.__spec__.cached)
"""
    embedding("-c", start)
    log.unlink()
    loader, entry = embedding("-c", start).stdout.split()
    read = set(log.read_text().splitlines())
    (image,) = tmp_path.glob("__pycache__/*.image")
    wanted = {str(image), str(root / "probe.py"), entry}
    assert loader == "CachingLoader"
    assert wanted & read == (wanted if option == "auto" else set())
