"""Commands that work on an environment other than the one that runs them."""

import argparse
import os
from collections.abc import Sequence

from pycachehook.errors import ConfigError, PycacheHookError

_OLDEST = "3.11"
_NEEDED = ("pycachehook", "filelock", "importlib_metadata", "zipp")

# Runs with that environment's copy of this package or, where there is none, with this copy last on `sys.path`.
_BOOTSTRAP = """
import json, sys
lent = json.loads(sys.argv.pop(1))
sys.path += lent
import pycachehook.commands.doctor
pycachehook.commands.doctor.for_other = True
pycachehook.commands.doctor.lent = bool(lent)
from pycachehook.__main__ import start
sys.exit(start())
"""


def interpreter_of(prefix: str) -> str:
    """Return the path of an environment's Python; raises ConfigError if there is none."""
    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    interpreter = os.path.join(prefix, folder, name)
    if not os.path.exists(interpreter):
        raise ConfigError(f"--prefix {prefix} is not a Python environment: there is no {interpreter}.")
    return interpreter


def how_to_install(interpreter: str) -> str:
    """Return a command that installs this package into another environment, by an installer that is there."""
    import subprocess

    probe = "import sys, importlib.util; sys.exit(importlib.util.find_spec('pip') is None)"
    if subprocess.run([interpreter, "-I", "-c", probe], capture_output=True, check=False).returncode:
        return f"uv pip install --python {interpreter} pycachehook"
    return f"{interpreter} -m pip install pycachehook"


def has_the_package(interpreter: str, flag: str) -> bool:
    """Return whether `import pycachehook` succeeds in an environment; `flag` is an option of its Python.

    Raises PycacheHookError if that is no Python, does not start, or is too old.
    """
    import subprocess

    probe = f"import sys; print(sys.version_info >= ({_OLDEST.replace('.', ', ')}))"
    tried = subprocess.run([interpreter, "-I", "-c", probe], capture_output=True, text=True, check=False)
    if tried.stdout == "False\n":
        raise PycacheHookError(f"{interpreter} is no Python that pycachehook supports: {_OLDEST} or later is needed.")
    if tried.stdout != "True\n":
        said = tried.stderr.strip().rpartition("\n")[2] or f"exit code {tried.returncode}"
        raise PycacheHookError(f"{interpreter} is no Python, or it does not start: {said}.")
    return not subprocess.run(
        [interpreter, flag, "-c", "import pycachehook"], capture_output=True, check=False
    ).returncode


def report_on(prefix: str, arguments: Sequence[str]) -> int:
    """Run a reporting command with the Python of the environment at `prefix`, and return its exit code.

    It uses the environment's own copy of this package, or else this copy, which is not installed there.
    """
    import json
    import subprocess

    interpreter = interpreter_of(prefix)
    lent = [] if has_the_package(interpreter, "-I") else _own_directories()
    # Not -I, which ignores the environment's options: the report is about ordinary starts.
    command = [interpreter, "-P", "-c", _BOOTSTRAP, json.dumps(lent), *without_prefix(arguments)]
    return subprocess.run(command, check=False).returncode


def without_prefix(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without `--prefix DIR`."""
    kept = list(arguments)
    index = next(position for position, argument in enumerate(kept) if argument.partition("=")[0] == "--prefix")
    del kept[index : index + (1 if "=" in kept[index] else 2)]
    return kept


def _own_directories() -> list[str]:
    from importlib.util import find_spec

    origins = [spec.origin for spec in map(find_spec, _NEEDED) if spec is not None and spec.origin is not None]
    return list(dict.fromkeys(os.path.dirname(os.path.dirname(origin)) for origin in origins))


def in_environment(parsed: argparse.Namespace) -> int:
    """Run this command with the Python of the environment at `--prefix`, which knows its own paths.

    `-P` prevents imports from the current directory; `-I` would also ignore the environment's options.
    """
    import subprocess

    interpreter = interpreter_of(parsed.prefix)
    if not has_the_package(interpreter, "-P"):
        mend = how_to_install(interpreter)
        raise PycacheHookError(f"pycachehook cannot be imported in {parsed.prefix}: install it there with `{mend}`.")
    command = [interpreter, "-P", "-m", "pycachehook", *without_prefix(parsed.arguments)]
    return subprocess.run(command, check=False).returncode
