"""The activation files: what `pycachehook enable` writes into an environment, and `disable` removes.

Python runs `.pth` files at every start, unless `-S` tells it not to; from 3.15 on also `.start` files (PEP 829), and
from 3.18 on those alone.
"""

import base64
import hashlib
import importlib.util
import marshal
import os
import pprint
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import importlib_metadata

from pycachehook import __version__, pyc
from pycachehook.config.options import Options
from pycachehook.config.resolution import OPTIONS
from pycachehook.paths import Layout

from . import startup_template

STARTUP = "_pycachehook_startup"
FILES = (f"{STARTUP}.py", "pycachehook.start", "pycachehook.pth")  # the one that the others need comes first

# What a start loads, in an order in which no module needs a later one.
START_UP_MODULES = (
    "system",
    "_compat",
    "events",
    "pyc",
    "paths",
    "trust",
    "cache_dir",
    "store",
    "own_modules",
    "path_search",
    "loader",
    "finder",
    "runtime",
)
# Those that an option, which comes behind each, has loaded too.
OPTIONAL_MODULES = {"archive_format": "archives", "archive": "archives", "gc_control": "gc", "patterns": "rules"}

_PACKAGE = Path(pyc.__file__).resolve().parent
_PACKAGE_NAME = "pycachehook"


def files(options: Options) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of each activation file, in the order of `FILES`."""
    values = options.values()
    if "cache_dir" not in options.chosen():
        values["cache_dir"] = None
    template = Path(startup_template.__file__).read_text(encoding="utf-8")
    text = template.replace('VERSION = ""', f"VERSION = {__version__!r}")
    literals = pprint.pformat(values, sort_dicts=False)
    yield FILES[0], text.replace("OPTIONS: dict = {}", f"OPTIONS: dict = {literals}")
    yield FILES[1], f"{STARTUP}:activate\n"
    yield FILES[2], f"import {STARTUP}; {STARTUP}.activate()\n"


def enable(purelib: Path, options: Options) -> list[Path]:
    """Write the activation files into the directory `purelib`, each by rename, and return their paths.

    Beside them goes the bytecode that a start needs before there is a hook. Raises OSError.
    """
    written = []
    for name, text in files(options):
        _write(purelib / name, text.encode())
        written.append(purelib / name)
    _drop_bytecode(purelib)
    layout = Layout.current()
    if layout is not None:
        source = written[0].read_bytes()
        code = compile(source, written[0], "exec", dont_inherit=True)
        stamp = importlib.util.source_hash(source)
        startup: dict[str, Any] = {"__name__": STARTUP, "__file__": str(written[0])}
        exec(code, startup)
        (purelib / "__pycache__").mkdir(exist_ok=True)
        _write(
            Path(layout.in_tree(str(written[0]))),
            pyc.encode(code, pyc.FLAGS[pyc.CHECKED_HASH], stamp, pyc.second_hash(source)),
        )
        _write(Path(startup["image_path"]()), build_image(options.values()))
    return written


def disable(purelib: Path) -> list[Path]:
    """Remove the activation files and their bytecode from the directory `purelib`; return the files. Raises OSError."""
    removed = []
    for name in reversed(FILES):
        if os.path.lexists(purelib / name):
            (purelib / name).unlink()
            removed.append(purelib / name)
    _drop_bytecode(purelib)
    return removed


def build_image(values: Mapping[str, Any]) -> bytes:
    """Return the start-up image for these option values, as the start-up module's `load_image` reads it."""
    further = [name for name, option in OPTIONAL_MODULES.items() if values[option] != OPTIONS[option][0]]
    names = ("__init__", *START_UP_MODULES, *further)
    sources = {str(path): path.read_bytes() for path in (_PACKAGE / f"{name}.py" for name in names)}
    modules = tuple(
        (
            _PACKAGE_NAME if name == "__init__" else f"{_PACKAGE_NAME}.{name}",
            path,
            compile(source, path, "exec", dont_inherit=True),
        )
        for name, (path, source) in zip(names, sources.items(), strict=True)
    )
    evidence = _noted(sources) if values["invalidation_mode"] == pyc.UNCHECKED_HASH else sources
    return marshal.dumps((sys.version, tuple(evidence.items()), modules))


def _noted(sources: dict[str, bytes]) -> dict[str, bytes]:
    """Return files that are others when these sources are, with their contents: the sources if there are no fewer.

    Else those are the one in which pip has noted the sources' hashes, written anew whenever this version is installed,
    and the first source, which tells the version: `pip install --target --upgrade` leaves an older one's record there.
    """
    first = next(iter(sources))
    for distribution in importlib_metadata.distributions(name=_PACKAGE_NAME, path=[str(_PACKAGE.parent)]):
        files = {str(file.locate()): file.hash for file in distribution.files or ()}
        record = next((path for path in files if os.path.basename(path) == "RECORD"), "")
        if os.path.isfile(record) and all(_is_hash(files.get(path), source) for path, source in sources.items()):
            return {record: Path(record).read_bytes(), first: sources[first]}
    return sources


def _is_hash(noted: importlib_metadata.FileHash | None, source: bytes) -> bool:
    digest = base64.urlsafe_b64encode(hashlib.sha256(source).digest()).decode().rstrip("=")
    return noted is not None and (noted.mode, noted.value) == ("sha256", digest)


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _drop_bytecode(purelib: Path) -> None:
    """Remove the bytecode of any earlier start-up module, every interpreter's."""
    for path in (purelib / "__pycache__").glob(f"{STARTUP}.*"):
        path.unlink()
