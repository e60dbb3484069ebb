"""The imports between folders of the package, read from the code, and their drawing.

`python docs/import_graph.py` prints the arrows. A test checks that none goes upward.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE)]

from drawings import arrow, box, svg  # noqa: E402

PACKAGE = HERE.parent / "src" / "pycachehook"
TOP = "top level"
# From top to bottom: a folder imports only folders in lower rows, and the top level, at module level, imports none.
ROWS = (("cli",), ("bundles",), ("commands",), ("config", "on_miss"), (TOP,))


class Import(NamedTuple):
    """An import between two modules, named relative to the package.

    It is `deferred` if it is inside a function, so that loading the module does not execute it. Imports for type
    checkers are left out.
    """

    importer: str
    imported: str
    deferred: bool


def modules() -> dict[str, Path]:
    """Return the file of each module, by its name below the package: `""`, `store`, `config`, `config.options`."""
    files = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def folder(module: str) -> str:
    """Return the folder of a module; `__main__` belongs to the command line."""
    if module == "__main__":
        return "cli"
    head = module.partition(".")[0]
    return head if (PACKAGE / head).is_dir() and head else TOP


def imports() -> Iterator[Import]:
    """Yield each import of one module of the package by another."""
    files = modules()
    for name, path in files.items():
        package = name if path.name == "__init__.py" else name.rpartition(".")[0]
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node, deferred in _statements(tree, in_function=False):
            for imported in _imported(node, package, files):
                yield Import(name, imported, deferred)


def _statements(tree: ast.AST, *, in_function: bool) -> Iterator[tuple[ast.stmt, bool]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node, in_function
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            for each in node.orelse:
                yield from _statements(ast.Module([each], []), in_function=in_function)
        else:
            inside = in_function or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from _statements(node, in_function=inside)


def _imported(node: ast.stmt, package: str, files: dict[str, Path]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        bases = [each.name for each in node.names]
        names: list[str] = []
    else:
        assert isinstance(node, ast.ImportFrom)
        parts = ["pycachehook", *filter(None, package.split("."))]
        above = parts[: len(parts) - node.level + 1] if node.level else []
        bases = [".".join([*above, *filter(None, [node.module])])]
        names = [each.name for each in node.names]
    for base in bases:
        if base.partition(".")[0] != "pycachehook":
            continue
        inside = base.partition(".")[2]
        below = [f"{inside}.{name}".lstrip(".") for name in names]
        found = [each for each in below if each in files]
        yield from found
        if len(found) < len(names) or not names:
            yield inside


def arrows() -> dict[tuple[str, str], int]:
    """Return the number of imports from one folder to another, by the pair of folders.

    Imports in functions of the top level are left out: they run when options have to be resolved, or a source is
    compiled, and never at a start or a hit.
    """
    found: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for each in imports():
        pair = folder(each.importer), folder(each.imported)
        if pair[0] != pair[1] and not (each.deferred and pair[0] == TOP):
            found.setdefault(pair, set()).add((each.importer, each.imported))
    return {pair: len(edges) for pair, edges in sorted(found.items())}


def upward() -> list[Import]:
    """Return the imports that go upward or to a folder in the same row, which are errors."""
    rank = {name: number for number, row in enumerate(ROWS) for name in row}
    return [
        each
        for each in imports()
        if not (each.deferred and folder(each.importer) == TOP)
        and folder(each.importer) != folder(each.imported)
        and rank[folder(each.importer)] >= rank[folder(each.imported)]
    ]


def import_graph() -> str:
    """Return the drawing of the folders, with the number of imports beside each arrow."""
    width, height, gap = 150, 46, 60
    places: dict[str, tuple[int, int]] = {}
    parts = []
    columns = {"cli": 250, "bundles": 60, "commands": 330, "config": 150, "on_miss": 440, TOP: 250}
    for number, row in enumerate(ROWS):
        for name in row:
            places[name] = columns[name], 10 + number * (height + gap)
            lines = (name, "what a start may load") if name == TOP else (f"{name}/",)
            parts.append(box(*places[name], width, height, *lines, strong=name == TOP))
    for (importer, imported), count in arrows().items():
        (x1, y1), (x2, y2) = places[importer], places[imported]
        shift = (x2 - x1) // 6
        parts.append(arrow(x1 + width // 2 + shift, y1 + height, x2 + width // 2 - shift, y2))
        x, y = (x1 + x2 + width) / 2 + 4, (y1 + height + y2) / 2
        parts.append(f"<text x='{x:g}' y='{y:g}' fill='currentColor' font-size='12'>{count}</text>")
    return svg(640, places[TOP][1] + height + 10, "Which folders import which", *parts)


if __name__ == "__main__":
    for (above, below), number in arrows().items():
        print(f"{above} -> {below}: {number}")
    for up in upward():
        print(f"upward: {up.importer} -> {up.imported}")
