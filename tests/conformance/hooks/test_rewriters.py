"""Tools that change the code of modules during import: their code runs, and other modules come from the cache."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from .conftest import FIRST, RUN_PYTEST

if TYPE_CHECKING:
    from .conftest import Workbench

pytestmark = [pytest.mark.full, pytest.mark.slow]

FUNCTION = "def double(number: int) -> int:\n    return number * 2\n"
WATCHED = {"plain.py": FUNCTION, "watched/__init__.py": "", "watched/arithmetic.py": FUNCTION}


def test_pytest_rewrites_assertions(bench: Workbench) -> None:
    """A failed assertion shows its values, in a test module and in a registered helper."""
    bench.write(
        {
            "conftest.py": """
                import pytest
                pytest.register_assert_rewrite("helper")
            """,
            **RUN_PYTEST,
            "plain.py": "VALUES = [1, 2, 3]\n",
            "helper.py": "def check(left, right):\n    assert left == right\n",
            "test_sums.py": """
                from plain import VALUES
                from helper import check

                def test_here():
                    assert sum(VALUES) == 7

                def test_there():
                    check(len(VALUES), 4)
            """,
        }
    )
    output = bench.twice("run_pytest.py", "-p", "no:cacheprovider", "-q", exit_code=1)
    assert "assert 6 == 7" in output
    assert "where 6 = sum([1, 2, 3])" in output
    assert "assert 3 == 4" in output
    assert {"plain", "helper", "test_sums"} <= bench.entries()  # the two rewritten modules, in pytest's own files


def test_typeguard_checks_types(bench: Workbench) -> None:
    """A wrong argument type raises only in the package that typeguard checks; another package is cached."""
    bench.write(
        {
            **WATCHED,
            "app.py": """
                from typeguard import install_import_hook, TypeCheckError
                install_import_hook("watched")
                INSTALL
                import plain, watched.arithmetic
                print(plain.double("a"), watched.arithmetic.double(2))
                try:
                    watched.arithmetic.double("a")
                except TypeCheckError:
                    print("caught")
            """,
        }
    )
    assert bench.twice("app.py") == "aa 4\ncaught\n"
    assert "plain" in bench.entries()


def test_beartype_checks_types(bench: Workbench) -> None:
    """The same for beartype, whose path hook loads every later module; earlier modules are cached."""
    bench.write(
        {
            **WATCHED,
            "early.py": "VALUE = 2\n",
            "app.py": """
                import early
                from beartype.claw import beartype_package
                from beartype.roar import BeartypeCallHintParamViolation
                beartype_package("watched")
                INSTALL
                import plain, watched.arithmetic
                print(plain.double("a"), watched.arithmetic.double(early.VALUE))
                try:
                    watched.arithmetic.double("a")
                except BeartypeCallHintParamViolation:
                    print("caught")
            """,
        }
    )
    if bench.order == FIRST:
        assert bench.twice("app.py") == "aa 4\ncaught\n"
    else:
        assert bench("app.py", PYTHONPYCACHEPREFIX=str(bench.cache)) == "aa 4\ncaught\n"
        assert bench.counted()["compiled"] == 0
        bench.assert_clean()
    assert {"plain", "early", "arithmetic"} <= bench.entries()


def test_pyximport_compiles_extensions(bench: Workbench) -> None:
    """A Cython module is compiled and imported by its own finder, and a Python module beside it is cached."""
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler")
    bench.write(
        {
            "fast.pyx": "def double(int number):\n    return number * 2\n",
            "plain.py": "VALUE = 21\n",
            "app.py": """
                import pyximport
                pyximport.install(build_dir="../built")
                INSTALL
                import plain, fast
                print(fast.double(plain.VALUE), fast.__file__.rpartition(".")[2])
            """,
        }
    )
    assert bench.twice("app.py").endswith("42 so\n")
    assert "plain" in bench.entries()


PLAIN = """
    INSTALL
    import plain
    print(plain.VALUE)
"""


def check_expander(bench: Workbench, expected: str, change: tuple[str, str, str], afterwards: str) -> None:
    """Run `app.py`, which uses the expander, and `other.py`, which does not, in turn; change a file by and by.

    The expander replaces steps of the loader, so that no module comes from the cache where it is active, nor goes
    there, and its macros are expanded as they are now.
    """
    ours = {"plain", "mod", "greeting"}
    assert (bench("app.py"), bench("app.py")) == (expected, expected)
    assert not bench.entries() & ours
    assert bench("other.py") == "plain\n"
    assert bench.entries() & ours == {"plain"}
    assert (bench("app.py"), bench("other.py")) == (expected, "plain\n")
    name, old, new = change
    path = bench.tree / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    assert (bench("app.py"), bench("app.py"), bench("other.py")) == (afterwards, afterwards, "plain\n")
    assert bench.entries() & ours == {"plain"}
    assert not list(bench.tree.rglob("__pycache__"))


def test_hy_compiles_lisp(bench: Workbench) -> None:
    """Hy's own sources run, with the macros in them, and so does a Python module beside them."""
    bench.write(
        {
            "greeting.hy": "(defmacro twice [x] `(+ ~x ~x))\n(setv VALUE (twice 21))\n",
            "plain.py": "VALUE = 'plain'\n",
            "other.py": PLAIN,
            "app.py": """
                import hy
                INSTALL
                import greeting, plain
                print(greeting.VALUE, plain.VALUE)
            """,
        }
    )
    check_expander(bench, "42 plain\n", ("greeting.hy", "21", "30"), "60 plain\n")


def test_mcpyrate_expands_macros(bench: Workbench) -> None:
    """A module that uses macros is expanded by their current definition, although its own source stays as it was."""
    bench.write(
        {
            "definitions.py": """
                from mcpyrate.quotes import macros, q, a

                def double(tree, **_):
                    return q[a[tree] * 2]
            """,
            "mod.py": "from definitions import macros, double\nVALUE = double[21]\n",
            "plain.py": "VALUE = 'plain'\n",
            "other.py": PLAIN,
            "app.py": """
                import mcpyrate.activate
                INSTALL
                import mod, plain
                print(mod.VALUE, plain.VALUE)
            """,
        }
    )
    check_expander(bench, "42 plain\n", ("definitions.py", "* 2", "* 3"), "63 plain\n")
