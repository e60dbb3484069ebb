"""The start-up image: the bytecode of what a start and a miss load, in one sealed file. See `startup.hook_loading`."""

import ast
import base64
import hashlib
import marshal
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import TYPE_CHECKING, Any

from pycachehook import pyc
from pycachehook.config.resolution import OPTIONS
from pycachehook.paths import SHARED

from .startup import hook_loading

if TYPE_CHECKING:
    from importlib_metadata import FileHash

# The modules that a start loads, each after those that it imports.
START_UP_MODULES = (
    "system",
    "_compat",
    "events",
    "pyc",
    "paths",
    "trust",
    "cache_dir",
    "own_modules",
    "store",
    "loader",
    "path_search",
    "finder",
    "runtime",
)
# Modules needed for an option: (module, option, value of the option; None: any but the default).
OPTIONAL_MODULES = (
    ("archive_format", "archives", None),
    ("archive", "archives", None),
    ("gc_effects", "gc", None),
    ("gc_control", "gc", None),
    ("patterns", "rules", None),
    ("content_store", "layout", SHARED),
)
# The modules that a miss needs. The image contains their bytecode, which is not unmarshalled before the first miss.
ON_MISS = "on_miss"

_PACKAGE = Path(pyc.__file__).resolve().parent
_PACKAGE_NAME = "pycachehook"


def build_image(values: Mapping[str, Any], *, stamped: bool = True) -> bytes:
    """Return the start-up image for these option values, as read by `from_image` of the start-up module.

    It consists of a magic number, a seal, and marshalled: the hashes of files that change when the sources change, the
    start-up modules with their code, and the modules of `on_miss` with theirs as bytes. Paths are relative to the
    package. Unless `stamped`, the image depends on the contents of the files alone.
    """
    names = [f"{name}.py" for name in start_up_names(values)]
    parts = [f"{ON_MISS}/{path.name}" for path in sorted((_PACKAGE / ON_MISS).glob("[!_]*.py"))]
    stamps = {name: _stamp(_PACKAGE / name) for name in (*names, *parts)} if stamped else {}
    sources = {name: (_PACKAGE / name).read_bytes() for name in (*names, *parts)}
    codes = {name: _compile(source, str(_PACKAGE / name)) for name, source in sources.items()}
    seal, key = hook_loading.source_hash, hook_loading.IMAGE_KEY
    evidence = _evidence(sources) if values["invalidation_mode"] == pyc.UNCHECKED_HASH else sources
    body = marshal.dumps(
        (
            tuple((name, seal(key, contents), stamps.get(name)) for name, contents in evidence.items()),
            tuple((_module_name(name), name, codes[name]) for name in names),
            tuple((_module_name(name).partition(".")[2], name, marshal.dumps(codes[name])) for name in parts),
        )
    )
    return hook_loading.IMAGE_MAGIC + seal(key, body) + body


def _stamp(path: Path) -> tuple[int, ...] | None:
    """Return the part of a file's status that differs after every change of the file, see `stamp_of`.

    Returns None for a file that was changed very recently, because the next change may get the same time: the clocks of
    file systems advance in steps of a few milliseconds or, if times are whole milliseconds, of up to two seconds.
    Windows does not record the time of the last change of a file's status.
    """
    status = path.stat()
    step = 2_000_000_000 if status.st_ctime_ns % 1_000_000 == 0 else 50_000_000  # nanoseconds
    if os.name == "nt" or time.time_ns() - status.st_ctime_ns <= step:
        return None
    stamp: tuple[int, ...] = hook_loading.stamp_of(status)  # type: ignore[no-untyped-call]
    return stamp


class _ForTypeCheckers(ast.NodeTransformer):
    """A transformer that removes what only type checkers need.

    From Python 3.14 on, the annotations of a function cost an additional code object.
    """

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        plain = ast.Pass() if node.value is None else ast.Assign([node.target], node.value)
        return ast.fix_missing_locations(ast.copy_location(plain, node))

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return [self.visit(statement) for statement in node.orelse] or [ast.copy_location(ast.Pass(), node)]
        return self.generic_visit(node)


def _compile(source: bytes, path: str) -> CodeType:
    """Compile a module for the image, without docstrings and annotations, which halves the time to unmarshal it.

    Columns (PEP 657) are left out, too: a tenth of the bytes.
    """
    tree = _ForTypeCheckers().visit(ast.parse(source))
    for node in ast.walk(tree):
        if isinstance(node, (ast.expr, ast.stmt, ast.arg, ast.keyword, ast.alias, ast.excepthandler, ast.pattern)):
            node.col_offset = node.end_col_offset = -1
    return compile(tree, path, "exec", dont_inherit=True, optimize=2)


def start_up_names(values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the modules that a start with these option values loads, each after those that it imports."""
    yield "__init__"
    yield from START_UP_MODULES
    for name, option, needs in OPTIONAL_MODULES:
        values_in_use = [values[option], *(rule.get(option) for rule in values["rules"])]
        if needs in values_in_use if needs is not None else values_in_use[0] != OPTIONS[option][0]:
            yield name


def _module_name(file: str) -> str:
    """Return the name of the module in the file `file` of the package."""
    return ".".join([_PACKAGE_NAME, *file.removesuffix(".py").split("/")]).removesuffix(".__init__")


def _evidence(sources: dict[str, bytes]) -> dict[str, bytes]:
    """Return files whose contents change whenever these sources change, by path.

    If pip has recorded the hashes of all sources, these files are pip's record and the first source, else the sources
    themselves. The record is rewritten whenever this version is installed. The first source contains the version: `pip
    install --target --upgrade` leaves the record of an older version behind.
    """
    import importlib_metadata  # slow to load, and only `enable` needs it

    first = next(iter(sources))
    paths = {str(_PACKAGE / name): source for name, source in sources.items()}
    for distribution in importlib_metadata.distributions(name=_PACKAGE_NAME, path=[str(_PACKAGE.parent)]):
        files = {str(file.locate()): file.hash for file in distribution.files or ()}
        record = next((path for path in files if os.path.basename(path) == "RECORD"), "")
        if os.path.isfile(record) and all(_is_hash(files.get(path), source) for path, source in paths.items()):
            return {os.path.relpath(record, _PACKAGE): Path(record).read_bytes(), first: sources[first]}
    return sources


def _is_hash(recorded: "FileHash | None", source: bytes) -> bool:
    digest = base64.urlsafe_b64encode(hashlib.sha256(source).digest()).decode().rstrip("=")
    return recorded is not None and (recorded.mode, recorded.value) == ("sha256", digest)
