"""The text of tracebacks, and the locations that warnings name."""

from __future__ import annotations

import re

import pytest

from .harness import Battery, Sources

SOURCES: Sources = {
    "raising.py": "def inner():\n    return [1, 2, 1 / 0 + 1]\n\n\ninner()\n",
    # A name is used in the line of its import, which is also the line that resolves a lazy import (PEP 810).
    "outer/__init__.py": "# comment\nfrom .middle import missing; missing\n",
    "outer/middle.py": "\nimport raising; raising\n",
    "wanting.py": "import os\nfrom os import no_such_name; no_such_name\n",
    "needing.py": "\n\nimport no_such_module.at_all; no_such_module\n",
    "syntax.py": "x = 1\nif x = 2:\n    pass\n",
    "uses_syntax.py": "import syntax; syntax\n",
    "indent.py": "def f():\n        x = 1\n    y = 2\n",
    "tabs.py": "if 1:\n        x = 1\n\tx = 2\n",
    "unclosed.py": "x = (1,\n\n",
    "bytes_bad.py": b"x = '\xff'\n",
    "cookie_bad.py": b"# coding: no-such-codec\nx = 1\n",
    "null.py": b"x = 1\0\n",
    "future.py": "x = 1\nfrom __future__ import annotations\n",
    "functions.py": """
def divide(a, b):
    return (a
            / b)


def chain():
    try:
        divide(1, 0)
    except ZeroDivisionError as error:
        raise LookupError("no result") from error


def group():
    problems = []
    for each in (0, "a"):
        try:
            divide(1, each)
        except Exception as error:
            error.add_note(f"while dividing by {each!r}")
            problems.append(error)
    raise ExceptionGroup("several", problems)


class Table:
    def __getitem__(self, key):
        raise KeyError(key)
""",
    "warned.py": 'import warnings\nwarnings.warn("in the body")\nwarnings.warn("of the importer", stacklevel=2)\n',
    "imports_warned.py": "\n\nimport warned; warned\n",
    "warned_pack/__init__.py": "from .part import old\n",
    "warned_pack/part.py": """
import warnings


def old():
    warnings.warn("old is deprecated", DeprecationWarning, stacklevel=2)


def far():
    warnings.warn("too far", stacklevel=99)
""",
    "doubtful.py": "def f(x):\n    return x is 1\n",
    "doubtful_too.py": "assert (1, 'always true')\n",
    "escape.py": "PATTERN = '\\d'\n",
}

RECORD = """
import warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    {action}
return [[each.category.__name__, str(each.message), each.filename, each.lineno, warnings.formatwarning(
    each.message, each.category, each.filename, each.lineno, each.line)] for each in caught]
"""

IMPORT = "def action():\n    import {name}\nreturn trace(action)"
BY_FUNCTION = "return without_importlib(trace(lambda: importlib.import_module('{name}')))"


def imported(name: str, *texts: str) -> dict[str, tuple[str, object]]:
    """Return the cases of a module that cannot be imported: by statement, and by `import_module`."""
    expected = re.compile("(?s)" + ".*".join(map(re.escape, texts)))
    return {
        f"import_{name}": (IMPORT.format(name=name), expected),
        f"import_module_{name}": (BY_FUNCTION.format(name=name), expected),
    }


BATTERY = Battery(
    SOURCES,
    {
        **imported("raising", "inner()", "return [1, 2, 1 / 0 + 1]", "ZeroDivisionError"),
        **imported("outer", "from .middle import missing", "import raising", "inner()", "ZeroDivisionError"),
        **imported(
            "wanting", "from os import no_such_name", "ImportError: cannot import name 'no_such_name' from 'os'"
        ),
        **imported("needing", "import no_such_module.at_all", "No module named 'no_such_module'"),
        **imported("syntax", 'syntax.py", line 2', "if x = 2:", "SyntaxError"),
        **imported("uses_syntax", "import syntax", "if x = 2:", "SyntaxError"),
        **imported("indent", 'indent.py", line 3', "y = 2", "IndentationError"),
        **imported("tabs", "TabError: inconsistent use of tabs"),
        **imported("unclosed", "x = (1,", "SyntaxError: '(' was never closed"),
        **imported("bytes_bad", "SyntaxError: ", "xff"),
        **imported("cookie_bad", "SyntaxError", "no-such-codec"),
        **imported("null", "SyntaxError: source code", "null bytes"),
        **imported("future", "SyntaxError: from __future__ imports must occur at the beginning of the file"),
        **imported("no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        "no_importlib_in_sight": (
            """
            def action():
                import outer
            text = trace(action)
            return ['importlib' in text, 'pycachehook' in text]
            """,
            [False, False],
        ),
        "no_importlib_in_sight_of_a_syntax_error": (
            """
            def action():
                import uses_syntax
            text = trace(action)
            return ['importlib' in text, 'pycachehook' in text]
            """,
            [False, False],
        ),
        "call": (
            "import functions\nreturn trace(lambda: functions.divide(1, 0))",
            re.compile(r"(?s)return \(a.*ZeroDivision"),
        ),
        "chain": (
            "import functions\nreturn trace(functions.chain)",
            re.compile("(?s)direct cause.*LookupError: no result"),
        ),
        "group": (
            "import functions\nreturn trace(functions.group)",
            re.compile("(?s)ExceptionGroup: several.*while dividing"),
        ),
        "subscript": (
            "import functions\nreturn trace(lambda: functions.Table()['key'])",
            re.compile("KeyError: 'key'"),
        ),
        "by_hand": (
            "return without_importlib(trace(lambda: module_from('raising')))",
            re.compile("(?s)inner.*ZeroDivisionError"),
        ),
        "frames": (
            """
            import traceback, functions
            try:
                functions.chain()
            except LookupError as error:
                frames = traceback.extract_tb(error.__traceback__)
            return [[f.filename, f.lineno, f.name, f.line, f.colno, f.end_colno] for f in frames]
            """,
            re.compile('functions.py", 11, "chain", "raise LookupError'),
        ),
        "lazy_lines": (
            """
            import functions, linecache, os, traceback
            linecache.clearcache()
            try:
                functions.divide(1, 0)
            except ZeroDivisionError as error:
                summary = traceback.StackSummary.extract(traceback.walk_tb(error.__traceback__), lookup_lines=False)
                lazily = len(linecache.cache[functions.__file__]) == 1
            os.rename(functions.__file__, functions.__file__ + ".aside")
            try:
                return [lazily, [frame.line for frame in summary]]
            finally:
                os.rename(functions.__file__ + ".aside", functions.__file__)
                linecache.clearcache()
            """,
            [True, re.compile("functions.divide")],
        ),
        "lazycache": (
            """
            import functions, linecache
            linecache.clearcache()
            lazily = linecache.lazycache(functions.__file__, vars(functions))
            by_name = linecache.getlines("functions.py", vars(functions))
            return [lazily, linecache.getline(functions.__file__, 3), by_name[1]]
            """,
            [True, "    return (a\n", "def divide(a, b):\n"],
        ),
        "source_gone_after_the_import": (
            """
            import functions, linecache, os
            os.rename(functions.__file__, functions.__file__ + ".aside")
            linecache.clearcache()
            try:
                return trace(lambda: functions.divide(1, 0))
            finally:
                os.rename(functions.__file__ + ".aside", functions.__file__)
                linecache.clearcache()
            """,
            re.compile('(?s)functions.py", line 3, in divide\nZeroDivisionError'),
        ),
        "warning": (
            RECORD.format(action="import imports_warned"),
            [
                ["UserWarning", "in the body", "<tree>/warned.py", 2, re.compile('warnings.warn\\("in the body"\\)')],
                ["UserWarning", "of the importer", "<tree>/imports_warned.py", 3, re.compile("import warned")],
            ],
        ),
        "warning_about_the_program": (
            RECORD.format(action="import warned"),
            [
                ["UserWarning", "in the body", "<tree>/warned.py", 2, re.compile("warn")],
                [
                    "UserWarning",
                    "of the importer",
                    "<tree>/program.py",
                    re.compile("[0-9]"),
                    re.compile("import warned"),
                ],
            ],
        ),
        "warning_under_import_module": (
            RECORD.format(action="importlib.import_module('warned')"),
            [
                ["UserWarning", "in the body", "<tree>/warned.py", 2, re.compile("warn")],
                ["UserWarning", "of the importer", re.compile("importlib"), re.compile("[0-9]"), re.compile("import")],
            ],
        ),
        "deprecation": (
            RECORD.format(action="from warned_pack import old; old()"),
            [
                [
                    "DeprecationWarning",
                    "old is deprecated",
                    "<tree>/program.py",
                    re.compile("[0-9]"),
                    re.compile("old\\(\\)"),
                ]
            ],
        ),
        "warning_beyond_the_stack": (
            RECORD.format(action="from warned_pack.part import far; far()"),
            [["UserWarning", "too far", re.compile("^(sys|<sys>)$"), re.compile("[01]"), re.compile("too far")]],
        ),
        "warning_registry": (
            """
            import warnings
            with warnings.catch_warnings():
                warnings.simplefilter("default")
                sys.stderr, kept = open(os.devnull, "w"), sys.stderr
                import warned
                sys.stderr.close()
                sys.stderr = kept
            return sorted(str(key[0]) for key in warned.__warningregistry__ if key != "version")
            """,
            ["in the body"],
        ),
        # Shown when the source is compiled, so with both loaders only with an empty cache.
        "syntax_warning": (
            RECORD.format(action="import doubtful"),
            [["SyntaxWarning", re.compile('"is" with'), "<tree>/doubtful.py", 2, re.compile("return x is 1")]],
        ),
        "syntax_warning_about_assert": (
            RECORD.format(action="import doubtful_too"),
            [
                [
                    "SyntaxWarning",
                    re.compile("assertion is always true"),
                    "<tree>/doubtful_too.py",
                    1,
                    re.compile("always"),
                ]
            ],
        ),
        "escape": (
            RECORD.format(action="import escape"),
            [
                [
                    re.compile("DeprecationWarning|SyntaxWarning"),
                    re.compile("invalid escape"),
                    "<tree>/escape.py",
                    1,
                    re.compile("PATTERN"),
                ]
            ],
        ),
    },
)


@pytest.mark.parametrize("name", BATTERY.names)
def test_traceback(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A traceback has the same text, and a warning names the same location, with both loaders."""
    BATTERY.check(tmp_path_factory, name)
