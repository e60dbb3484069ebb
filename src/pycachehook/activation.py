"""The activation files: what `pycachehook enable` writes into an environment, and `disable` removes.

Python runs `.pth` files at every start unless told not to (`-S`, `-I` does not stop it, see the README); from 3.15 on
`.start` files (PEP 829), and from 3.18 on those alone.
"""

import os
import pprint
import py_compile
import subprocess
import sysconfig
from collections.abc import Iterator

from . import __version__
from .options import Options
from .errors import PycacheHookError
from .paths import Layout

STARTUP = "_pycachehook_startup"

_STARTUP_TEXT = '''"""Turns pycachehook on in every process of this environment.

Written by `pycachehook enable`, removed by `pycachehook disable`. These are the options as they were resolved then;
`cache_dir` None means the default of whoever starts Python.
"""

VERSION = {version!r}
OPTIONS = {options}


def activate():
    try:
        from pycachehook.hook import start_up
    except Exception:  # pycachehook was uninstalled, or is being so
        return
    start_up(OPTIONS, VERSION, __file__)
'''


def files(options: Options) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each activation file; the one that the others need comes first."""
    values = {**options.values(), **options.chosen()}
    if "cache_dir" not in options.chosen():
        values["cache_dir"] = None
    literals = pprint.pformat(values, width=100, sort_dicts=False)
    yield f"{STARTUP}.py", _STARTUP_TEXT.format(version=__version__, options=literals)
    yield "pycachehook.start", f"{STARTUP}:activate\n"
    yield "pycachehook.pth", f"import {STARTUP}; {STARTUP}.activate()\n"


def enable(purelib: str, options: Options) -> list[str]:
    """Write the activation files into the directory `purelib`, each by rename, and return their paths.

    Our own start-up modules get bytecode beside them, as pip would give them, where an installer has not done so:
    they are loaded before there is a hook. Raises OSError.
    """
    written = []
    for name, text in files(options):
        path = os.path.join(purelib, name)
        temporary = f"{path}.{os.getpid()}.tmp"
        try:
            with open(temporary, "x", encoding="utf-8") as file:
                file.write(text)
            os.replace(temporary, path)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        written.append(path)
    _compile_start_up(purelib)
    return written


def disable(purelib: str) -> list[str]:
    """Remove the activation files, and their bytecode, from the directory `purelib`; return the paths. Raises OSError."""
    names = ["pycachehook.pth", "pycachehook.start", f"{STARTUP}.py"]
    removed = []
    for name in names:
        path = os.path.join(purelib, name)
        if os.path.lexists(path):
            os.unlink(path)
            removed.append(path)
    cache = os.path.join(purelib, "__pycache__")
    if os.path.isdir(cache):
        for name in os.listdir(cache):
            if name.startswith(f"{STARTUP}."):
                os.unlink(os.path.join(cache, name))
    return removed


def purelib_of(prefix: str | None = None) -> str:
    """Return the directory for activation files: the running environment's, or that of the one at `prefix`.

    Raises PycacheHookError when there is no environment, or one without this package.
    """
    if prefix is None:
        return sysconfig.get_path("purelib")
    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    interpreter = os.path.join(prefix, folder, name)
    if not os.path.exists(interpreter):
        raise PycacheHookError(f"{prefix} is not a Python environment: there is no {interpreter}.")
    ask = "import sysconfig, importlib.util as u; print(sysconfig.get_path('purelib')); print(u.find_spec('pycachehook'))"
    answer = subprocess.run([interpreter, "-I", "-c", ask], capture_output=True, text=True, check=False)
    lines = answer.stdout.splitlines()
    if answer.returncode or len(lines) < 2:
        raise PycacheHookError(f"{interpreter} does not run: {answer.stderr.strip() or answer.returncode}.")
    if lines[1] == "None":
        raise PycacheHookError(f"pycachehook is not installed in {prefix}: `{interpreter} -m pip install pycachehook`.")
    return lines[0]


def _compile_start_up(purelib: str) -> None:
    """Put checked-hash pycs beside our start-up modules where there are none; an editable source tree is left alone."""
    layout = Layout.current()
    package = os.path.dirname(os.path.abspath(__file__))
    sources = [os.path.join(purelib, f"{STARTUP}.py")]
    if os.path.dirname(package) == os.path.abspath(purelib):
        sources += [os.path.join(package, name) for name in sorted(os.listdir(package)) if name.endswith(".py")]
    if layout is None:
        return
    for source in sources:
        target = layout.in_tree(source)
        if source == sources[0] or not os.path.exists(target):
            mode = py_compile.PycInvalidationMode.CHECKED_HASH
            py_compile.compile(source, cfile=target, doraise=True, invalidation_mode=mode, quiet=1)
