"""The content of one pyc, of any writer and Python version: `pycachehook inspect`."""

import dis
import io
import marshal
import os
import sys
import types
from datetime import UTC, datetime
from importlib.machinery import ModuleSpec
from typing import Any

from pycachehook import pyc, runtime
from pycachehook._compat import MAGIC_NUMBER, siphash
from pycachehook.commands.source_file import SourceFile
from pycachehook.content_store import Names
from pycachehook.errors import PycacheHookError
from pycachehook.paths import SHARED, Layout, why_no_default_cache_dir
from pycachehook.patterns import matcher
from pycachehook.pyc import HASH_BASED, HEADER_SIZE
from pycachehook.system import READ_FLAGS, read_file
from pycachehook.terminal import visible

# The first magic number of each version's development, newest first. From 3.12 on, 3.N begins at 2900 + 50 N
# (Include/internal/pycore_magic_number.h).
_BEFORE_3_12 = (
    *((3450, "3.11"), (3430, "3.10"), (3420, "3.9"), (3400, "3.8"), (3390, "3.7"), (3360, "3.6"), (3320, "3.5")),
    *((3250, "3.4"), (3190, "3.3"), (3160, "3.2"), (3141, "3.1"), (3000, "3.0")),
)
_FIRST_BY_RULE, _FIRST, _EACH, _PYTHON_2, _PYTHON_2_7 = 3500, 2900, 50, 20000, 62171
_FLAGS_SINCE, _SIZE_SINCE = 3390, 3200  # PEP 552 came with 3.7, the source's size with 3.3

MODES = {flags: mode for mode, flags in pyc.FLAGS.items()}
SHOWN_CHARACTERS = 60  # characters shown of a constant


def version_of(magic: bytes) -> str | None:
    """Return the Python version, such as "3.12", whose pycs begin with `magic`; None if it is no magic number."""
    number = int.from_bytes(magic[:2], "little")
    if magic[2:4] != b"\r\n":
        return None
    if number >= _PYTHON_2:
        return "2.7" if number >= _PYTHON_2_7 else "2"
    if number >= _FIRST_BY_RULE:
        return f"3.{(number - _FIRST) // _EACH}"
    return next((version for first, version in _BEFORE_3_12 if number >= first), None)


def inspect(path: str, source: str | None = None) -> dict[str, Any]:
    """Return the content of the pyc at `path` as plain data with documented keys; raises `PycacheHookError`.

    `source` is the path of the source to compare it with; by default the one recorded in the code.
    """
    data = read(path)
    magic = data[:4]
    python = version_of(magic)
    if python is None or len(data) < HEADER_SIZE:
        raise PycacheHookError(f"{path} is no pyc: it does not begin with a magic number and a header of 16 bytes.")
    number, own = int.from_bytes(magic[:2], "little"), magic == MAGIC_NUMBER
    has_flags = _FLAGS_SINCE <= number < _PYTHON_2
    flags = int.from_bytes(data[4:8], "little") if has_flags else 0
    stamp = data[8:16] if has_flags else data[4:12]
    code = code_of(data) if own else None
    if source is None and code is not None:
        source = code.co_filename
    contents: dict[str, Any] = {
        "path": path,
        "bytes": len(data),
        "magic": number,
        "python": python,
        "readable_here": own,
        "flags": flags,
        "mode": MODES.get(flags),
        "seal": _seal(data),
        "source": None if code is None else source,
    }
    if flags & HASH_BASED:
        contents["source_hash"] = stamp.hex()
    else:
        mtime = int.from_bytes(stamp[:4], "little")
        contents["source_mtime"] = datetime.fromtimestamp(mtime, UTC).isoformat()
        has_size = _SIZE_SINCE <= number < _PYTHON_2
        contents["source_bytes"] = int.from_bytes(stamp[4:], "little") if has_size else None
    contents["source_state"] = "unknown" if code is None or source is None else _source_state(source, flags, stamp)
    contents["code"] = None if code is None else _tree(code)
    return contents


def code_of(data: bytes) -> types.CodeType | None:
    """Return the code object in a pyc of this interpreter, or None if it contains none that can be read."""
    try:
        code = marshal.loads(memoryview(data)[HEADER_SIZE:])
    except Exception:  # noqa: BLE001 -- marshal raises EOFError, ValueError, TypeError and more
        return None
    return code if isinstance(code, types.CodeType) else None


def disassembly(path: str) -> list[str]:
    """Return the lines that `dis` prints for the pyc at `path`; raises `PycacheHookError`."""
    code = code_of(read(path))
    lines = io.StringIO()
    try:
        if code is None:
            raise ValueError
        dis.dis(_with_visible_names(code), file=lines)
    except Exception as error:
        raise PycacheHookError(
            f"{path} cannot be disassembled here: it belongs to another Python, or it is damaged."
        ) from error
    return lines.getvalue().splitlines()


def _with_visible_names(code: types.CodeType) -> types.CodeType:
    """Return the code with control characters in names escaped, so that a name cannot end a line of output."""
    names = ("co_names", "co_varnames", "co_freevars", "co_cellvars")
    visible_names = {name: tuple(visible(identifier) for identifier in getattr(code, name)) for name in names}
    constants = [
        _with_visible_names(constant) if isinstance(constant, types.CodeType) else constant
        for constant in code.co_consts
    ]
    file_name, name, qualified = visible(code.co_filename), visible(code.co_name), visible(code.co_qualname)
    return code.replace(
        **visible_names,  # type: ignore[arg-type]
        co_consts=tuple(constants),
        co_filename=file_name,
        co_name=name,
        co_qualname=qualified,
    )


def first_pyc(name: str, config: object = None) -> tuple[str, str]:
    """Return the first existing pyc for a module, in the order in which an import looks, and the path of its source.

    `config` is a file with options. Raises `PycacheHookError` if there is no pyc, `ConfigError` for a wrong option.
    """
    source = source_of_module(name)
    layout = Layout.current()
    paths = []
    if layout is not None:
        options = runtime.resolve({}, "flag", config)
        rule: dict[str, Any] = next((rule for rule in options.rules if matcher(rule["match"])(source)), {})
        values = {**options.values(), **rule}
        if values["cache_dir"] is not None:
            shared = values["layout"] == SHARED
            root = values["cache_dir"]
            paths.append(Names(layout).entry(root, read(source)) if shared else layout.mirrored(root, source))
        paths.append(layout.in_tree(source))
    for path in paths:
        if os.path.lexists(path):
            return path, source
    if len(paths) == 1:
        raise PycacheHookError(f"{name} has no pyc: {paths[0]} does not exist, and {why_no_default_cache_dir()}")
    raise PycacheHookError(f"{name} has no pyc: neither {' nor '.join(paths)} exists.")


def source_of_module(name: str) -> str:
    """Return the path of a module's source; raises `PycacheHookError` if there is no module or no source."""
    spec = find_module(name)
    if not spec.has_location or not str(spec.origin).endswith(".py"):
        raise PycacheHookError(f"{name} has no source ({spec.origin or 'a namespace package'}).")
    return str(spec.origin)


def find_module(name: str) -> ModuleSpec:
    """Return a module's spec without importing the module or its parent packages.

    Raises `PycacheHookError` if there is no such module.
    """
    spec, path = None, None
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        spec = _find_spec_on_path(".".join(parts[:end]), path)
        if spec is None or (end < len(parts) and spec.submodule_search_locations is None):
            name = ".".join(parts[: end + (spec is not None)])
            raise PycacheHookError(f"There is no module {name} on sys.path, to which PYTHONPATH adds.")
        path = spec.submodule_search_locations
    assert spec is not None
    return spec


def _find_spec_on_path(name: str, path: Any) -> ModuleSpec | None:
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec
    return None


def read(path: str) -> bytes:
    """Return a file's bytes; raises `PycacheHookError`."""
    try:
        return read_file(path, READ_FLAGS)[0]
    except OSError as error:
        raise PycacheHookError(f"{path} cannot be read: {error.strerror or error}.") from None


def _seal(data: bytes) -> str:
    if not pyc.is_sealed(data):
        return "none"
    key = int.from_bytes(data[:4], "little")
    return "holds" if siphash(key, memoryview(data)[:-8]) == data[-8:] else "broken"


def _source_state(source: str, flags: int, stamp: bytes) -> str:
    source_file = SourceFile(source)
    try:
        source_file.data()
    except OSError:
        return "unreadable" if os.path.lexists(source) else "gone"
    return "same" if source_file.stamp(flags) == stamp else "changed"


def _tree(code: types.CodeType) -> dict[str, Any]:
    constants = [constant for constant in code.co_consts if not isinstance(constant, types.CodeType)]
    return {
        "name": code.co_name,
        "line": code.co_firstlineno,
        "bytes": len(code.co_code),
        "names": list(code.co_names),
        "constants": [
            text if len(text := repr(constant)) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
            for constant in constants
        ],
        "inside": [_tree(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)],
    }
