"""`pycachehook run` compared with `python`: a program behaves the same."""

from __future__ import annotations

import signal
import textwrap
import zipfile
from pathlib import Path

import pytest

from .harness import Comparison, Lab

pytestmark = pytest.mark.full  # some hundred programs, each started several times on both sides

# The information that a main program has about itself.
SELF = '''"""The program's docstring."""
import helper, json, sys
from typing import ClassVar

count: int = 1


class Kept:
    pass


def function():
    """Do nothing."""


def pickled():
    import pickle
    return isinstance(pickle.loads(pickle.dumps(Kept())), Kept)


def source():
    import inspect
    return [inspect.getsource(function), inspect.getmodule(Kept).__name__, inspect.getfile(function)]


def spec():
    found = __spec__
    names = ("name", "origin", "cached", "parent", "has_location", "submodule_search_locations")
    return found and [type(found.loader).__name__, *(getattr(found, name) for name in names)]


def loader():
    found = __loader__
    facts = vars(found) if hasattr(found, "path") else {}
    return [found.__name__ if isinstance(found, type) else type(found).__name__, facts]


print(json.dumps({
    "name": __name__, "file": globals().get("__file__", "none"), "package": __package__,
    "spec": spec(), "loader": loader(),
    "doc": __doc__,
    "argv": sys.argv, "path": sys.path[:2], "main": sys.modules["__main__"].__dict__ is globals(),
    "module": [type(sys.modules["__main__"]).__name__, repr(sys.modules["__main__"])],
    "helper": [helper.VALUE, type(helper.__loader__).__name__], "kept": [Kept.__module__, Kept.__qualname__, pickled()],
    "source": source() if "__file__" in globals() else None,
    "streams": [sys.stdin.isatty(), sys.stdout.encoding, sys.stdout.line_buffering], "hook": sys.excepthook.__name__,
    "code": [function.__code__.co_filename, function.__code__.co_firstlineno], "prefix": sys.pycache_prefix,
    "flags": [sys.flags.optimize, sys.flags.dont_write_bytecode, sys.flags.safe_path],
}))
'''

SOURCES = {
    "helper.py": "VALUE = 'beside the program'\n",
    "program.py": SELF,
    "folder/program.py": SELF,
    "folder/helper.py": "VALUE = 'in the folder'\n",
    "pack/__init__.py": "",
    "pack/__main__.py": SELF.replace("import helper,", "from . import helper\nimport"),
    "pack/tool.py": SELF,
    "pack/helper.py": "VALUE = 'in the package'\n",
    "space/tool.py": SELF,
    "app/__main__.py": SELF,
    "app/helper.py": "VALUE = 'in the application'\n",
    "no suffix": SELF,
    "prögram.py": SELF,
}


def one(comparison: Comparison) -> dict[str, object]:
    """Check that the program ran with the same output on all sides, and return that output."""
    comparison.assert_same()
    answer: dict[str, object] = comparison.stock_cold.answer
    assert comparison.warm.stats["compiled"] == 0, comparison.warm
    assert comparison.warm.stats["hits"] > 0
    return answer


@pytest.mark.parametrize(
    ("script", "helper"),
    [
        ("program.py", "beside the program"),
        ("./program.py", "beside the program"),
        ("folder/program.py", "in the folder"),
        ("folder/../program.py", "beside the program"),
        ("no suffix", "beside the program"),
        ("prögram.py", "beside the program"),
        ("link.py", "in the folder"),
        ("folder_link/program.py", "in the folder"),
        ("app", "in the application"),
        ("app/", "in the application"),
        ("app.zip", "in the archive"),
    ],
)
def test_script(script: str, helper: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A script, a directory or a zip file has the same information about itself, however its path is spelt."""
    lab = Lab(tmp_path_factory, SOURCES)
    (lab.tree / "link.py").symlink_to("folder/program.py")
    (lab.tree / "folder_link").symlink_to("folder")
    with zipfile.ZipFile(lab.tree / "app.zip", "w") as archive:
        archive.writestr("__main__.py", SELF)
        archive.writestr("helper.py", "VALUE = 'in the archive'\n")
    seen = one(lab.compare(script, "--flag", "-m", "x y", "", run=True))
    assert seen["argv"] == [script, "--flag", "-m", "x y", ""]
    assert seen["name"] == "__main__"
    assert isinstance(seen["helper"], list)
    assert seen["helper"][0] == helper


def test_script_by_its_absolute_path(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A script that is not below the current directory runs as with `python`."""
    lab = Lab(tmp_path_factory, SOURCES)
    seen = one(lab.compare(lab.tree / "program.py", run=True, cwd=lab.tree / "pack"))
    assert seen["path"] == [str(lab.tree), str(Path(__file__).parent / "child")]


@pytest.mark.parametrize(
    ("name", "helper", "origin"),
    [
        ("program", "beside the program", "program.py"),
        ("pack", "in the package", "pack/__main__.py"),
        ("pack.tool", "beside the program", "pack/tool.py"),
        ("pack.__main__", "in the package", "pack/__main__.py"),
        ("space.tool", "beside the program", "space/tool.py"),
        ("app", "beside the program", "app/__main__.py"),
    ],
)
def test_module(name: str, helper: str, origin: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A module or package has the same information about itself as under `python -m`."""
    lab = Lab(tmp_path_factory, SOURCES)
    seen = one(lab.compare("-m", name, "-c", "--help", run=True))
    assert seen["argv"] == [f"{lab.tree}/{origin}", "-c", "--help"]
    assert isinstance(seen["helper"], list)
    assert seen["helper"][0] == helper


def test_code(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A string has the same information about itself as under `python -c`."""
    code = SELF.replace("isinstance(pickle.loads(pickle.dumps(Kept())), Kept)", "None")
    seen = one(Lab(tmp_path_factory, SOURCES).compare("-c", code, "-m", "--help", run=True))
    assert seen["argv"] == ["-c", "-m", "--help"]
    assert seen["path"] == ["", str(Path(__file__).parent / "child")]


NAMES = """
import json
print(json.dumps([sorted(globals()), type(__builtins__).__name__, globals().get("__cached__", "none")]))
"""
ANNOTATIONS = """
import inspect, sys
count: int = 1
main = sys.modules["__main__"]
print(main.__annotations__, inspect.get_annotations(main))
"""
PROGRAMS = {"script": ["program.py"], "module": ["-m", "program"], "application": ["app"]}


@pytest.mark.parametrize("how", [*PROGRAMS, "string"])
def test_names_in_main(how: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A program has the same names in its module, `__builtins__` and `__cached__` included."""
    lab = Lab(tmp_path_factory, {"program.py": NAMES, "app/__main__.py": NAMES})
    runs = lab.compare(*PROGRAMS.get(how, ["-c", NAMES]), run=True)
    runs.assert_same()
    assert runs.stock_cold.answer[1] == "module"


@pytest.mark.parametrize("how", [*PROGRAMS, "string"])
def test_annotations_in_main(how: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A program has the same annotations in its module."""
    lab = Lab(tmp_path_factory, {"program.py": ANNOTATIONS, "app/__main__.py": ANNOTATIONS})
    runs = lab.compare(*PROGRAMS.get(how, ["-c", ANNOTATIONS]), run=True)
    runs.assert_same()
    assert runs.stock_cold.stdout == "{'count': <class 'int'>} {'count': <class 'int'>}\n"


FLAGS = [("-P",), ("-O",), ("-B",), ("-u",), ("-X", "utf8"), ("-W", "error"), ("-s",), ("-OO", "-b")]
SHOW_FLAGS = "import sys\nprint(sys.path[0], sys.flags, sys.dont_write_bytecode, sys.warnoptions, sys._xoptions)\n"


@pytest.mark.parametrize(
    ("flags", "program"),
    [
        *((each, ["folder/program.py"]) for each in FLAGS),
        *((each, ["-c", SHOW_FLAGS]) for each in FLAGS[:3]),
        (("-O",), ["-m", "tool"]),
    ],
    ids="".join,
)
def test_flags_of_python(flags: tuple[str, ...], program: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    """Python's options reach the program in the same way."""
    lab = Lab(tmp_path_factory, {"folder/program.py": SHOW_FLAGS, "tool.py": SHOW_FLAGS})
    runs = lab.compare(*program, flags=flags, run=True)
    runs.assert_same()
    assert "sys.flags(" in runs.stock_cold.stdout


ENDINGS = {
    # the program's last lines: exit status, and text that standard error must contain
    "nothing": ("print('done')", 0, ""),
    "exit_number": ("sys.exit(3)", 3, ""),
    "exit_nothing": ("sys.exit()", 0, ""),
    "exit_true": ("sys.exit(True)", 1, ""),
    "exit_text": ("sys.exit('what was wrong')", 1, "what was wrong\n"),
    "exit_large": ("sys.exit(256 + 5)", 5, ""),
    "exit_at_once": ("import os\nsys.stdout.flush()\nos._exit(7)", 7, ""),
    "exit_from_a_handler": ("try:\n    1 / 0\nexcept ZeroDivisionError:\n    sys.exit(8)", 8, ""),
    "exit_in_an_import": ("import exits; exits", 9, ""),
    "exit_in_a_thread": (
        "import threading\nt = threading.Thread(target=sys.exit, args=(5,))\nt.start()\nt.join()",
        0,
        "",
    ),
    "exception": ("def f(x):\n    return 1 / x\n\nf(0)", 1, "ZeroDivisionError: division by zero\n"),
    "exception_chain": (
        "try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('no') from error",
        1,
        "direct cause",
    ),
    "exception_group": (
        "raise ExceptionGroup('several', [ValueError(1), TypeError('x')])",
        1,
        "ExceptionGroup: several",
    ),
    "exception_in_an_import": ("import raises; raises", 1, "ZeroDivisionError"),
    "exception_raised_again": (
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    kept = error\nraise kept",
        1,
        "ZeroDiv",
    ),
    "generator_exit": ("raise GeneratorExit", 1, "GeneratorExit"),
    "assertion": ("assert count == 2, 'not two'", 1, "AssertionError: not two"),
    "recursion": (
        "def g():\n    g()\ntry:\n    g()\nexcept RecursionError as error:\n    raise error.with_traceback(None)",
        1,
        "RecursionError: maximum recursion depth exceeded",
    ),
    "syntax_error_in_an_import": ("import broken; broken", 1, "SyntaxError: invalid syntax"),
    "missing_module": ("import nowhere; nowhere", 1, "ModuleNotFoundError: No module named 'nowhere'"),
    "missing_name": ("from fine import nowhere; nowhere", 1, "ImportError: cannot import name 'nowhere' from 'fine'"),
    "name_error": ("coutn", 1, "Did you mean: 'count'?"),
    "keyboard_interrupt": ("raise KeyboardInterrupt", -signal.SIGINT, "KeyboardInterrupt"),
    "interrupted": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nwhile True:\n    pass",
        -signal.SIGINT,
        "Keyboard",
    ),
    "interrupt_handled": (
        """
        import os, signal
        try:
            os.kill(os.getpid(), signal.SIGINT)
            while True:
                pass
        except KeyboardInterrupt:
            sys.exit(11)
        """,
        11,
        "",
    ),
    "terminated": ("import os, signal\nsys.stdout.flush()\nos.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, ""),
    "at_exit": ("import atexit\natexit.register(print, 'at exit')\nsys.exit(2)", 2, ""),
    "at_exit_fails": (
        """
        import atexit
        class Last:
            def __repr__(self):
                return 'last'
            def __call__(self):
                1 / 0
        atexit.register(Last())
        """,
        0,
        "ZeroDivisionError",
    ),
    "thread_fails": (
        "import threading\ndef f():\n    1 / 0\nt = threading.Thread(target=f, name='T')\nt.start()\nt.join()",
        0,
        "Exception in thread T:",
    ),
    "thread_outlives_main": (
        """
        import threading
        def f():
            threading.main_thread().join()
            print('thread')
        threading.Thread(target=f).start()
        """,
        0,
        "",
    ),
    "unraisable": (
        "class A:\n    def __del__(self):\n        1 / 0\nsys.unraisablehook = lambda args: print(args.exc_value)\nA()",
        0,
        "",
    ),
    "excepthook": (
        """
        import traceback
        def hook(kind, value, trace):
            for each in (trace, value.__traceback__):
                print([(f.name, f.lineno) for f in traceback.extract_tb(each)])
        sys.excepthook = hook
        raise ValueError('a')
        """,
        1,
        "",
    ),
    "last_exception": (
        """
        import atexit
        @atexit.register
        def last():
            print(repr(sys.last_value), sys.last_traceback.tb_lineno)
        raise ValueError('a')
        """,
        1,
        "ValueError: a",
    ),
    "traceback_limit": ("sys.tracebacklimit = 1\ndef f():\n    1 / 0\ndef g():\n    f()\ng()", 1, "ZeroDivisionError"),
    "warning": (
        "import warnings\nwarnings.warn('from the program')",
        0,
        "UserWarning: from the program\n  warnings.warn(",
    ),
    "warning_in_a_function": (
        "import warnings\ndef f():\n    warnings.warn('f is old', DeprecationWarning, 2)\nf()",
        0,
        "f is old\n  f()",
    ),
    "main_imported": ("import __main__\nprint(__main__.count, __main__ is sys.modules['__main__'])", 0, ""),
    "no_stdout": ("sys.stdout.close()", 0, ""),
    "process_pool": (
        """
        import fine, multiprocessing
        if __name__ == '__main__':
            with multiprocessing.get_context('spawn').Pool(1) as pool:
                print(pool.map(f, [1, 2]))
        """,
        0,
        "",
    ),
    "forked": (
        """
        import os
        sys.stdout.flush()
        pid = os.fork()
        if not pid:
            import fine
            print(fine.f(1))
            sys.exit(5)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        """,
        0,
        "",
    ),
}
BEGINNING = "import sys\n\ncount = 1\n\n\ndef f(x):\n    return x + 1\n\n\n"


def program_of(lines: str) -> str:
    """Return the text of a program with this end."""
    return f"{BEGINNING}{textwrap.dedent(lines).strip()}\n"


HELPERS = {
    "fine.py": "def f(x):\n    return 1 / x\n",
    "raises.py": "import fine\n\nfine.f(0)\n",
    "exits.py": "raise SystemExit(9)\n",
    "broken.py": "x = = 1\n",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_ending(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A script ends with exactly the same status, output and traceback as under `python`."""
    lines, status, errors = ENDINGS[name]
    lab = Lab(tmp_path_factory, {**HELPERS, "program.py": program_of(lines)})
    runs = lab.compare("program.py", run=True)
    runs.assert_same()
    assert runs.stock_cold.returncode == status
    assert errors in runs.stock_cold.stderr
    assert errors or not runs.stock_cold.stderr


SOME_ENDINGS = (
    "nothing", "exit_number", "exit_text", "exception", "exception_chain", "exception_in_an_import",
    "syntax_error_in_an_import", "missing_module", "name_error", "keyboard_interrupt", "warning", "main_imported",
)  # fmt: skip


@pytest.mark.parametrize("name", [*SOME_ENDINGS, "process_pool"])
def test_ending_of_a_module(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A module ends as under `python -m`."""
    lines, status, errors = ENDINGS[name]
    lab = Lab(tmp_path_factory, {**HELPERS, "program.py": program_of(lines)})
    runs = lab.compare("-m", "program", run=True)
    assert (runs.stock_cold.returncode, errors in runs.stock_cold.stderr) == (status, True)
    for ours in (runs.cold, runs.warm):
        assert (ours.returncode, ours.stdout) == (status, runs.stock_cold.stdout)
        assert without_runpy(ours.stderr) == without_runpy(runs.stock_cold.stderr)


@pytest.mark.parametrize("name", [*SOME_ENDINGS, "excepthook"])
def test_ending_of_a_string(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A string ends as under `python -c`."""
    lines, status, _ = ENDINGS[name]
    runs = Lab(tmp_path_factory, HELPERS).compare("-c", program_of(lines), run=True)
    runs.assert_same()
    assert runs.stock_cold.returncode == status


def without_runpy(text: str) -> str:
    """Remove the frames that `python -m` adds at the start of a module's traceback, which `run` does not add."""
    machinery = ("Traceback (most recent call last):", '  File "<frozen runpy>"', '  File "<frozen importlib.')
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith(machinery))


BROKEN = {
    "syntax_error": b"x = 1\nif x = 2:\n    pass\n",
    "indentation_error": b"def f():\n        x = 1\n    y = 2\n",
    "not_decodable": b"x = '\xff'\n",
    "unknown_encoding": b"# coding: no-such-codec\nx = 1\n",
    "null_byte": b"x = 1\0\n",
    "late_future": b"x = 1\nfrom __future__ import annotations\n",
    "return_outside": b"x = 1\nreturn\n",
    "latin_1": b"# coding: latin-1\nprint(ascii('\xe9'))\n",
    "byte_order_mark": b"\xef\xbb\xbfprint('bom', __file__ == __file__)\n",
    "windows_lines": b"print('''a\r\nb''')\r\nif True:\r\n    1 / 0\r\n",
    "empty": b"",
    "hash_bang": b"#!/usr/bin/env python\n# vim: set fileencoding=latin-1 :\nprint(ascii('\xe9'))\n",
    "future_import": b"from __future__ import annotations\ndef f(x: nowhere): pass\nprint(f.__annotations__)\n",
}


# CPython reads a file line by line; its messages then differ from those for bytes, which modules are compiled from.
WORDED_OTHERWISE = ("not_decodable", "unknown_encoding", "null_byte")


@pytest.mark.parametrize("name", BROKEN)
def test_source_of_a_script(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A script's source is read and decoded, and gives errors, as with `python`."""
    runs = Lab(tmp_path_factory, {"program.py": BROKEN[name]}).compare("program.py", run=True)
    if name in WORDED_OTHERWISE:
        for each in (runs.stock_cold, runs.cold, runs.warm):
            assert (each.returncode, each.stdout) == (1, "")
            assert each.stderr.splitlines()[-1].startswith("SyntaxError: ")
            assert "pycachehook" not in each.stderr
    else:
        assert runs.stock_cold.outcome[1:] != ("", "") or name == "empty"
        runs.assert_same()


def test_syntax_warning_of_a_script(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A syntax warning of a script is shown at every start, as with `python`, which compiles it each time."""
    runs = Lab(tmp_path_factory, {"program.py": "print(len('a') is 1)\n"}).compare("program.py", run=True)
    assert "SyntaxWarning" in runs.stock_cold.stderr
    assert runs.cold.outcome == runs.stock_cold.outcome
    assert runs.warm.outcome == runs.stock_cold.outcome


@pytest.mark.parametrize(
    "name", [name for name in BROKEN if "error" in name or name in (*WORDED_OTHERWISE, "windows_lines", "latin_1")]
)
def test_source_of_a_module(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A main module's source is read and decoded, and gives errors, as with `python -m`."""
    runs = Lab(tmp_path_factory, {"program.py": BROKEN[name]}).compare("-m", "program", run=True)
    stock = runs.stock_cold
    assert stock.stdout + stock.stderr
    for ours in (runs.cold, runs.warm):
        assert (ours.returncode, ours.stdout) == (stock.returncode, stock.stdout)
        assert without_runpy(ours.stderr) == without_runpy(stock.stderr)


def test_syntax_error_in_a_string(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A string with a syntax error gives the same error as with `python -c`."""
    runs = Lab(tmp_path_factory, {}).compare("-c", "x = 1\nif x = 2: pass", run=True)
    runs.assert_same()
    assert "SyntaxError" in runs.stock_cold.stderr


@pytest.mark.parametrize(
    ("program", "status"),
    [
        (("nowhere.py",), 2),
        (("folder",), 1),
        (("-m", "nowhere"), 1),
        (("-m", "pack.nowhere"), 1),
        (("-m", "bare"), 1),
        (("bare",), 1),
        (("-m", "sys"), 1),
    ],
)
def test_nothing_to_run(program: tuple[str, ...], status: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A missing program is an error with a message and no traceback, as with `python`."""
    runs = Lab(tmp_path_factory, {"pack/__init__.py": "", "bare/__init__.py": "", "folder/": ""}).compare(
        *program, run=True
    )
    assert runs.stock_cold.returncode == status
    for ours in (runs.cold, runs.warm):
        assert (ours.returncode != 0, ours.stdout) == (True, "")
        assert ours.stderr
        assert "Traceback" not in ours.stderr


@pytest.mark.parametrize(("name", "warned"), [("pack.tool", True), ("pack", False)])
def test_package_that_loads_its_main_module(name: str, warned: bool, tmp_path_factory: pytest.TempPathFactory) -> None:
    """`-m` imports the package first, warns if that loaded the module to run, and runs it again."""
    sources = {
        "pack/__init__.py": "print('package')\nfrom . import tool; tool\n",
        "pack/tool.py": "print('tool', __name__)\n",
    }
    lab = Lab(tmp_path_factory, {**sources, "pack/__main__.py": "print('main', __name__)\n"})
    runs = lab.compare("-m", name, run=True)
    assert runs.stock_cold.stdout.startswith("package\ntool pack.tool\n")
    for each in (runs.stock_cold, runs.cold, runs.warm):
        assert (each.returncode, each.stdout) == (0, runs.stock_cold.stdout)
        assert ("RuntimeWarning: 'pack.tool' found in sys.modules after import of" in each.stderr) is warned


def test_excepthook_that_fails(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The failure of a program's own excepthook is reported together with the original exception."""
    lines = "def hook(*args):\n    1 / 0\n\nsys.excepthook = hook\nraise ValueError('a')"
    runs = Lab(tmp_path_factory, {"program.py": program_of(lines)}).compare("program.py", run=True)
    stock = runs.stock_cold
    original = stock.stderr.partition("Original exception was:\n")[2]
    assert original.endswith("ValueError: a\n")
    for ours in (runs.cold, runs.warm):
        assert ours.returncode == stock.returncode == 1
        assert ours.stderr.startswith("Error in sys.excepthook:\n")
        assert ours.stderr.endswith(
            original
        )  # above this depth, the hook's own traceback begins with a frame of this package
        assert "ZeroDivisionError: division by zero" in ours.stderr


def test_package_that_fails(tmp_path_factory: pytest.TempPathFactory) -> None:
    """`-m` of a module in a package that cannot be imported gives an error that names the cause."""
    lab = Lab(tmp_path_factory, {"pack/__init__.py": "1 / 0\n", "pack/tool.py": ""})
    runs = lab.compare("-m", "pack.tool", run=True)
    for each in (runs.stock_cold, runs.cold, runs.warm):
        assert each.returncode == 1
        assert each.stderr.splitlines()[-1].endswith("ZeroDivisionError: division by zero")


@pytest.mark.parametrize("how", [("program.py",), ("-m", "program"), ("-c", "import program; program")])
def test_hook_installed_by_itself(how: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> None:
    """With the hook installed at start-up, `python` runs a program unchanged."""
    lab = Lab(
        tmp_path_factory,
        {**HELPERS, "program.py": "import fine, sys\nprint(__name__, __spec__ and __spec__.name)\nfine.f(0)\n"},
    )
    runs = lab.compare(*how)
    runs.assert_same()
    runs.assert_cached()
    assert runs.stock_cold.returncode == 1
