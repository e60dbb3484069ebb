"""Sources that are deleted, replaced or rewritten between finding, loading and reloading."""

from __future__ import annotations

import re

import pytest

from .harness import Battery, Json, Lab

MOVER = r'''
import shutil, traceback
from prelude import *


def find_and_load(change):
    """Load a module, so that it is cached; find it again; change its file; and load it from what was found."""
    folder = TREE + "/moving"
    remove(folder)
    path = write("moving/moved.py", "VALUE = 'first'\n")
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    first = importlib.import_module("moved").VALUE
    del sys.modules["moved"]
    spec = importlib.util.find_spec("moved")
    change(path)
    try:
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        second = module.VALUE
    except Exception:
        second = without_importlib(traceback.format_exc())
    remove(folder)
    return [first, second, kind(spec.loader)]


def remove(path):
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def put(text):
    """A change: write the file anew, in place."""
    return lambda path: write("moving/moved.py", text)


def deleted(path):
    os.unlink(path)


def renamed_and_back(path):
    os.rename(path, path + "~")
    os.rename(path + "~", path)


def replaced(path):
    os.replace(write("moving/new", "VALUE = 2000\n"), path)


def undecodable(path):
    with open(path, "wb") as file:
        file.write(b"VALUE = '\xff'\n")


def made_a_directory(path):
    os.unlink(path)
    os.mkdir(path)


def link_to(target):
    def change(path):
        os.unlink(path)
        write("moving/target", "VALUE = 'linked'\n")
        os.symlink(target, path)

    return change


def directory_gone(path):
    remove(os.path.dirname(path))


def directory_a_file(path):
    remove(os.path.dirname(path))
    write("moving", "")


def older(path):
    write("moving/moved.py", "VALUE = 'from long ago'\n")
    os.utime(path, (1, 1))
'''

UNDECODABLE = r"SyntaxError: (.unicode error.* 0xff|Non-UTF-8 code starting with .\\xff)"
MISSING = re.compile(r"FileNotFoundError: \[Errno 2\] No such file or directory: '.*/moving/moved.py'")
CHANGES: dict[str, tuple[str, Json]] = {
    "deleted": ("deleted", MISSING),
    "renamed_and_back": ("renamed_and_back", "first"),
    "rewritten": ("put('VALUE = 1000\\n')", 1000),
    "replaced": ("replaced", 2000),
    "emptied": ("put('')", re.compile("AttributeError: module 'moved' has no attribute 'VALUE'")),
    "broken": ("put('VALUE = = 1\\n')", re.compile(r"(?s)VALUE = = 1\n.*SyntaxError: invalid syntax")),
    "made_raising": (
        "put('\\n1 / 0\\n')",
        re.compile('(?s)moved.py", line 2, in <module>\n    1 / 0.*ZeroDivisionError'),
    ),
    "undecodable": ("undecodable", re.compile(UNDECODABLE)),
    "made_a_directory": (
        "made_a_directory",
        re.compile(r"IsADirectoryError: \[Errno 21\] Is a directory: '.*/moved.py'"),
    ),
    "made_a_link": ("link_to('target')", "linked"),
    "made_a_dangling_link": ("link_to('nowhere')", MISSING),
    "made_a_circular_link": ("link_to('moved.py')", re.compile(r"OSError: \[Errno 40\].*/moving/moved.py'")),
    "directory_gone": ("directory_gone", MISSING),
    "directory_a_file": ("directory_a_file", re.compile(r"NotADirectoryError: \[Errno 20\].*/moving/moved.py'")),
    "older": ("older", "from long ago"),
}

BATTERY = Battery(
    {"mover.py": MOVER, "steady.py": "VALUE = 1\n"},
    {
        **{
            name: (f"import mover\nreturn mover.find_and_load(mover.{change})", ["first", value, "SourceFileLoader"])
            for name, (change, value) in CHANGES.items()
        },
        "reload_of_new_code": (
            """
            write("turning.py", "VALUE = 1\\n")
            import turning
            first = turning.VALUE
            write("turning.py", "VALUE, MORE = 1000, 1\\n")
            importlib.reload(turning)
            return [first, turning.VALUE, turning.MORE]
            """,
            [1, 1000, 1],
        ),
        "reload_of_broken_code": (
            """
            write("breaking.py", "VALUE = 1\\n")
            import breaking
            write("breaking.py", "VALUE = 2\\nraise OSError('now')\\n")
            text = without_importlib(trace(lambda: importlib.reload(breaking)))
            return [text, breaking.VALUE, sys.modules["breaking"] is breaking]
            """,
            [re.compile("(?s)raise OSError.*OSError: now"), 2, True],
        ),
        "reload_of_nothing": (
            """
            path = write("leaving.py", "VALUE = 1\\n")
            import leaving
            os.unlink(path)
            importlib.invalidate_caches()
            try:
                importlib.reload(leaving)
            except ModuleNotFoundError as error:
                return [raised(error), leaving.VALUE]
            """,
            [{"text": "spec not found for the module 'leaving'", "name": "leaving"}, 1],
        ),
        "module_becomes_a_package": (
            """
            import mover
            mover.remove(TREE + "/growing")
            path = write("growing.py", "VALUE = 'module'\\n")
            import growing
            first = growing.VALUE
            os.unlink(path)
            write("growing/__init__.py", "VALUE = 'package'\\n")
            write("growing/part.py", "")
            importlib.invalidate_caches()
            importlib.reload(growing)
            import growing.part
            return [first, growing.VALUE, facts(growing.__spec__), growing.part.__name__]
            """,
            ["module", "package", {"where": ["<tree>/growing"]}, "growing.part"],
        ),
        "package_becomes_a_namespace": (
            """
            path = write("fading/__init__.py", "VALUE = 1\\n")
            write("fading/part.py", "VALUE = 2\\n")
            importlib.invalidate_caches()
            import fading
            os.unlink(path)
            importlib.invalidate_caches()
            del sys.modules["fading"]
            import fading.part
            return [facts(fading.__spec__), fading.part.VALUE]
            """,
            [{"origin": None, "where": ["<tree>/fading"]}, 2],
        ),
        "writes_itself_anew": (
            """
            body = "text = open(__file__).read()\\nopen(__file__, 'w').write(text + '# older\\\\n')\\n"
            write("growing_old.py", body)
            sizes = []
            for time in range(3):
                import growing_old
                sizes.append(len(growing_old.text.splitlines()))
                del sys.modules["growing_old"]
            return sizes
            """,
            [2, 3, 4],
        ),
        "shadowed_later": (
            """
            import steady
            write("before/steady.py", "VALUE = 'shadow'\\n")
            sys.path.insert(0, TREE + "/before")
            first = steady.VALUE
            importlib.reload(steady)
            return [first, steady.VALUE, steady.__file__]
            """,
            [1, "shadow", "<tree>/before/steady.py"],
        ),
    },
    changing=True,
)


@pytest.mark.parametrize("name", BATTERY.names)
def test_change(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A source that changes during an import gives the same code, or the same error."""
    BATTERY.check(tmp_path_factory, name)


DELETED = """
from mover import *
print(find_and_load(deleted)[1].splitlines()[-1])
"""


@pytest.mark.parametrize(("mode", "loads"), [("checked-hash", False), ("timestamp", False), ("unchecked-hash", True)])
def test_deleted_source_by_invalidation_mode(mode: str, loads: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Only the mode unchecked-hash, which does not read the source, loads a module whose source was deleted."""
    lab = Lab(tmp_path_factory, {"mover.py": MOVER, "program.py": DELETED})
    runs = lab.compare("program.py", environment={"PYCACHEHOOK_INVALIDATION_MODE": mode})
    assert "FileNotFoundError" in runs.stock_cold.stdout
    assert runs.stock_warm == runs.stock_cold
    if loads:
        assert [each.stdout for each in (runs.cold, runs.warm)] == ["first\n"] * 2
    else:
        runs.assert_same()
