"""The activation files, which `pycachehook enable` writes into an environment and `disable` removes.

Python runs `.pth` files at every start, except under `-S`. From 3.15 on it also runs `.start` files (PEP 829), for
which it imports `pkgutil` and `re`, and from 3.18 on it runs code from those only.
"""

import ast
import importlib.util
import marshal
import os
import pprint
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

from pycachehook import __version__, _compat, pyc
from pycachehook.archive import open_all
from pycachehook.cache_dir import trusted_owners, why_untrusted
from pycachehook.config.options import Options
from pycachehook.config.resolution import OPTIONS
from pycachehook.errors import PycacheHookError
from pycachehook.paths import Layout

from .atomic_write import replacing
from .startup import hook_loading
from .startup_image import build_image, start_up_names

STARTUP = "_pycachehook_startup"
PTH, START = "pycachehook.pth", "pycachehook.start"
FILES = (f"{STARTUP}.py", START, PTH)  # for all versions of Python; the first is needed by the others
_PARTS = ("activation.py", "library.py", "hook_loading.py")  # of the first
_CALLS = {PTH: f"import {STARTUP}; {STARTUP}.activate()\n", START: f"{STARTUP}:activate\n"}
WHEELS = "pycachehook_activation-*.dist-info"  # where a wheel of `enable --wheel` is installed
START_FILES_ALONE = (3, 18)  # from this version on Python runs no code in `.pth` files (PEP 829)

_PACKAGE = Path(pyc.__file__).resolve().parent


def caller() -> str:
    """Return the name of the file through which this version of Python calls the start-up module."""
    return START if sys.version_info >= START_FILES_ALONE else PTH


def files(options: Options, purelib: Path) -> Iterator[tuple[str, str]]:
    """Yield name and text of each activation file for this version of Python, the start-up module first."""
    values = options.values()
    if "cache_dir" not in options.chosen():
        values["cache_dir"] = None
    inside = purelib.resolve()
    package = _PACKAGE.relative_to(inside) if _PACKAGE.is_relative_to(inside) else _PACKAGE
    text = "\n\n".join(_definitions(_PACKAGE / "commands" / "startup" / part) for part in _PARTS)
    literals = {
        'VERSION = ""': repr(__version__),
        'PACKAGE = ""': repr(str(package)),
        "MODULES = ()": repr(tuple(start_up_names(options.values()))),
        "METHODS, FUNCTIONS = (), ()": f"{(*_compat.METHODS,)!r}, {(*_compat.FUNCTIONS,)!r}",
        "OPEN_CODE_HOOKED = False": repr(open_code_hook_is_set()),
        "OPTIONS = {}": pprint.pformat(values, sort_dicts=False),  # last, because values may contain the other lines
    }
    for line, literal in literals.items():
        text = text.replace(line, f"{line.partition(' = ')[0]} = {literal}", 1)
    yield FILES[0], text
    yield caller(), _CALLS[caller()]


def _definitions(part: Path) -> str:
    """Return the text of a part of the start-up module without its imports from the other parts."""
    text = part.read_text(encoding="utf-8")
    imports = [each for each in ast.parse(text).body if isinstance(each, ast.ImportFrom) and each.level]
    return "".join(text.splitlines(keepends=True)[imports[-1].end_lineno if imports else 0 :]).strip("\n") + "\n"


def _divided(source: bytes, path: str) -> CodeType:
    """Compile the start-up module so that what follows `LATER` is its value after a hash of it, without docstrings."""
    tree = ast.parse(source)
    names = [ast.unparse(each.targets[0]) if isinstance(each, ast.Assign) else "" for each in tree.body]
    index = names.index("LATER")
    later = compile(ast.Module(tree.body[index + 1 :], []), path, "exec", dont_inherit=True, optimize=2)
    del tree.body[index + 1 :]
    assignment = tree.body[index]
    assert isinstance(assignment, ast.Assign)
    body = marshal.dumps(later)
    sealed = hook_loading.source_hash(hook_loading.LATER_KEY, body) + body
    assignment.value = ast.copy_location(ast.Constant(sealed), assignment.value)
    return compile(tree, path, "exec", dont_inherit=True, optimize=2)


def enable(purelib: Path, options: Options, *, dry_run: bool = False) -> list[Path]:
    """Write the activation files into the directory `purelib`, each by rename, and return their paths.

    The bytecode that a start needs before the hook is installed is written beside them. A file that only another
    version of Python needs is removed. Raises OSError, and `PycacheHookError` if this package is in a zip file.
    """
    if not _PACKAGE.is_dir():
        raise PycacheHookError(f"{_PACKAGE} is in a zip file, which no start can load: install pycachehook first.")
    texts = dict(files(options, purelib))
    written = [purelib / name for name in texts]
    if dry_run:
        return written
    for name, text in texts.items():
        _write(purelib / name, text.encode())
    for name in _CALLS.keys() - {caller()}:
        (purelib / name).unlink(missing_ok=True)
    _drop_bytecode(purelib)
    layout, image = Layout.current(), _image_path(purelib)
    if layout is not None and image is not None:
        source = texts[FILES[0]].encode()
        stamp = importlib.util.source_hash(source)
        (purelib / "__pycache__").mkdir(mode=0o755, exist_ok=True)
        _write(
            Path(layout.in_tree(str(written[0]))),
            pyc.encode(_divided(source, str(written[0])), pyc.FLAGS[pyc.CHECKED_HASH], stamp, pyc.second_hash(source)),
        )
        _write(image, build_image(options.values()))
    return written


def disable(purelib: Path, *, dry_run: bool = False) -> list[Path]:
    """Remove the activation files and their bytecode from the directory `purelib`; return the files. Raises OSError."""
    present = [purelib / name for name in reversed(FILES) if os.path.lexists(purelib / name)]
    if not dry_run:
        for path in present:
            path.unlink()
        _drop_bytecode(purelib)
    return present


def recorded_options(purelib: Path) -> dict[str, Any]:
    """Return the option values other than defaults that an earlier `enable` recorded in `purelib`."""
    try:
        module = ast.parse((purelib / FILES[0]).read_bytes())
        values = next(
            ast.literal_eval(statement.value)
            for statement in module.body
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "OPTIONS"
        )
        return {name: value for name, value in values.items() if value not in (None, OPTIONS[name][0])}
    except (
        OSError,
        ValueError,
        SyntaxError,
        StopIteration,
        AttributeError,
        KeyError,
    ):  # no such file, or one of another version
        return {}


def compare(recorded: Mapping[str, Any], options: Options) -> tuple[list[str], list[str]]:
    """Return as `name = value` the `recorded` options that these `options` keep, and those that they replace."""
    chosen = options.chosen()
    same = {name: value == getattr(options, name) for name, value in recorded.items()}
    kept = [
        f"{name} = {recorded[name]!r}" for name in recorded if same[name] and options.origin(name).endswith(FILES[0])
    ]
    dropped = [f"{name} = {value!r}" for name, value in recorded.items() if not same[name] or name not in chosen]
    return kept, dropped


def refusals(options: Options) -> list[str]:
    """Return one sentence for the cache directory, and for each archive, that a start of this user will refuse."""
    sentences = []
    try:
        fault = why_untrusted(options.cache_dir, () if options.allow_shared else trusted_owners())
    except FileNotFoundError:  # the first start creates it
        fault = None
    except OSError as error:
        fault = f"The cache directory {options.cache_dir} cannot be used: {error.filename}: {error.strerror}."
    if fault is not None:
        sentences.append(fault)
    archives = open_all(options.archives, allow_shared=options.allow_shared, strict=False)
    return sentences + [str(archive.reason) for archive in archives if archive.reason is not None]


def activation_problems(purelib: Path) -> list[str]:
    """Return one sentence for each reason why the activation files in `purelib` do not fit this Python or version.

    An environment that is not enabled has no problems.
    """
    present = [name for name in FILES if os.path.lexists(purelib / name)]
    if not present:
        return []
    python = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    again = "run `pycachehook enable` again"
    if FILES[0] not in present:
        return [f"{' and '.join(present)} in {purelib} call a start-up module that is missing: {again}, or `disable`."]
    problems = []
    needed = caller()
    if needed not in present:
        existing = " and ".join(present[1:]) or "nothing"
        problems.append(
            f"{purelib} was enabled for another version of Python: {python} needs {needed}, but {existing} is there; "
            f"{again}."
        )
    elif len(present) == len(FILES):
        (other,) = _CALLS.keys() - {needed}
        problems.append(f"{python} does not need {other}, which makes starts slower: {again}.")
    version = recorded_version(purelib)
    if any(purelib.glob(WHEELS)):
        again = "make the wheel by `pycachehook enable --wheel` again, and install it"
    if version != __version__:
        problems.append(f"The activation files were written by version {version}, and this is {__version__}: {again}.")
    elif not any(purelib.glob(WHEELS)) and _image_path(purelib) is not None and not _image_is_usable(purelib):
        problems.append(
            f"The start-up image in {purelib} is missing or belongs to another Python, so starts are slower: {again}."
        )
    return problems


def recorded_version(purelib: Path) -> str | None:
    """Return the version of the package that wrote the start-up module in `purelib`; None if it cannot be read."""
    try:
        with (purelib / FILES[0]).open(encoding="utf-8") as file:
            return next((line.split("=", 1)[1].strip(" \n'\"") for line in file if line.startswith("VERSION =")), None)
    except (OSError, ValueError):
        return None


def open_code_hook_is_set() -> bool:
    """Return whether this interpreter has a hook for `io.open_code` (PEP 578), which only an embedder can set.

    Setting a null hook fails if there is a hook, and otherwise changes nothing. It raises an audit event; an audit hook
    that objects counts as a hook, and so does an interpreter that cannot be asked.
    """
    try:
        import ctypes

        set_hook = ctypes.pythonapi.PyFile_SetOpenCodeHook
        set_hook.argtypes, set_hook.restype = (ctypes.c_void_p, ctypes.c_void_p), ctypes.c_int
        return bool(set_hook(None, None))
    except Exception:  # noqa: BLE001 -- an audit hook may raise anything
        return True


def _image_path(purelib: Path) -> Path | None:
    layout = Layout.current()
    return None if layout is None else Path(layout.in_tree(str(purelib / FILES[0]))).with_suffix(".image")


def _image_is_usable(purelib: Path) -> bool:
    """Return whether there is an image with the seal of this build of Python."""
    path = _image_path(purelib)
    try:
        data = b"" if path is None else path.read_bytes()
    except OSError:
        return False
    seal = hook_loading.source_hash(hook_loading.IMAGE_KEY, memoryview(data)[16:])
    return data[:16] == hook_loading.IMAGE_MAGIC + seal


def _write(path: Path, data: bytes) -> None:
    """Write a file by rename with mode 0644 less the umask, so that it is never writable for others."""
    with replacing(str(path), 0o644) as file:
        file.write(data)


def _drop_bytecode(purelib: Path) -> None:
    """Remove the bytecode of any earlier start-up module, for every interpreter."""
    for path in (purelib / "__pycache__").glob(f"{STARTUP}.*"):
        path.unlink()
