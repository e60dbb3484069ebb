"""Debuggers and shells show the source's lines, and detect edits."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Workbench

pytestmark = [pytest.mark.full, pytest.mark.slow]


def test_pdb_stops_in_a_cached_module(bench: Workbench) -> None:
    """A breakpoint in a cached module stops pdb there, with its source and variables."""
    bench.write(
        {
            "plain.py": """
                def double(number):
                    result = number * 2
                    return result
            """,
            "app.py": """
                INSTALL
                import plain
                print(plain.double(21))
            """,
        }
    )
    commands = ["break plain:3", "continue", "p result", "where", "continue", "quit"]
    script = [word for command in commands for word in ("-c", command)]
    output = bench.twice("-m", "pdb", *script, "app.py")
    assert "-> return result\n" in output
    assert "\n42\n" in output
    assert f"{bench.tree / 'plain.py'}(3)double()" in output
    assert "plain" in bench.entries()


def test_ipython_reloads_edited_modules(bench: Workbench) -> None:
    """IPython's autoreload detects an edit of the same length in the same second, and its code is cached."""
    bench.write(
        {
            "plain.py": "def value():\n    return 'one'\n",
            "app.py": """
                import pathlib
                from IPython.core.interactiveshell import InteractiveShell
                INSTALL
                shell = InteractiveShell.instance()
                shell.run_line_magic("load_ext", "autoreload")
                shell.run_line_magic("autoreload", "2")
                shell.run_cell("import plain; print(plain.value())")
                source = pathlib.Path("plain.py")
                source.write_text(source.read_text().replace("one", "two"))
                shell.run_cell("print(plain.value())")
            """,
        }
    )
    assert bench("app.py") == "one\ntwo\n"
    counted = bench.counted()
    assert counted["stored"] == counted["compiled"] == 2, counted
    assert bench("-c", f"{bench.install}\nimport plain; print(plain.value())") == "two\n"
    counted = bench.counted()
    assert (counted["compiled"], counted["from_store"]) == (0, 1)
    bench.assert_clean()
