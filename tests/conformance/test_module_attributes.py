"""The attributes of a module, its spec and its loader."""

from __future__ import annotations

import re

import pytest

from .harness import Battery

BATTERY = Battery(
    {
        "plain.py": '"""A docstring."""\nVALUE = 1\n',
        "pack/__init__.py": "HERE = __path__\n",
        "pack/inner/__init__.py": "",
        "pack/inner/leaf.py": "FROM = __package__\n",
        "space/inside.py": "",
        "module with space.py": "VALUE = 2\n",
        "módulo.py": "VALUE = 3\n",
        f"{'m' * 240}.py": "VALUE = 4\n",
        "stack.py": """
import inspect
FRAMES = [[each.filename.rpartition("/")[2], each.function] for each in inspect.stack(0)]
""",
    },
    {
        "file": ("import plain\nreturn plain.__file__", "<tree>/plain.py"),
        "doc": ("import plain\nreturn plain.__doc__", "A docstring."),
        "repr": ("import plain\nreturn repr(plain)", "<module 'plain' from '<tree>/plain.py'>"),
        "names": (
            "import plain\nreturn sorted(vars(plain))",
            re.compile('"VALUE", "__builtins__".*"__loader__".*"__spec__"'),
        ),
        "cached": ("import plain\nreturn plain.__spec__.cached", re.compile("/cache/.*/plain[.].*pyc$")),
        "spec": (
            "import plain\nreturn facts(plain.__spec__)",
            {"name": "plain", "origin": "<tree>/plain.py", "loader": "SourceFileLoader", "where": None, "parent": ""},
        ),
        "spec_found": ("return facts(importlib.util.find_spec('pack'))", {"where": ["<tree>/pack"], "parent": "pack"}),
        "loader_of_spec": ("import plain\nreturn plain.__loader__ is plain.__spec__.loader", True),
        "loader": (
            """
            import plain
            loader = plain.__loader__
            return [kind(loader), isinstance(loader, importlib.machinery.SourceFileLoader), vars(loader)]
            """,
            ["SourceFileLoader", True, {"name": "plain", "path": "<tree>/plain.py"}],
        ),
        "path": ("import pack\nreturn [pack.__path__, pack.HERE]", [["<tree>/pack"], ["<tree>/pack"]]),
        "file_of_a_package": ("import pack\nreturn pack.__file__", "<tree>/pack/__init__.py"),
        "spec_of_a_package": (
            "import pack\nreturn [facts(pack.__spec__), pack.__package__]",
            [{"has_location": True, "loader": "SourceFileLoader", "origin": "<tree>/pack/__init__.py"}, "pack"],
        ),
        "submodule": (
            "import pack.inner.leaf as leaf\nreturn [facts(leaf.__spec__), leaf.FROM, leaf.__name__]",
            [{"parent": "pack.inner", "where": None}, "pack.inner", "pack.inner.leaf"],
        ),
        "namespace": (
            "import space\nreturn [facts(space.__spec__), space.__package__, list(space.__path__)]",
            [{"loader": "NamespaceLoader", "origin": None, "where": ["<tree>/space"]}, "space", ["<tree>/space"]],
        ),
        "inside_a_namespace": (
            "import space.inside\nreturn facts(space.inside.__spec__)",
            {"loader": "SourceFileLoader"},
        ),
        "name_with_spaces": ("return importlib.import_module('module with space').VALUE", 2),
        "name_beyond_ascii": (
            "import módulo\nreturn [módulo.VALUE, facts(módulo.__spec__)]",
            [3, {"name": "módulo", "origin": "<tree>/módulo.py", "cached": re.compile("/módulo[.].*pyc$")}],
        ),
        "stack_of_the_body": (
            "import stack\nreturn stack.FRAMES",
            re.compile(
                r'^\[\["stack.py", "<module>"\], \["<frozen importlib._bootstrap>", "_call_with_frames_removed"\]'
            ),
        ),
        "code": (
            """
            import plain
            code = plain.__loader__.get_code("plain")
            same = code == compile(open(plain.__file__).read(), plain.__file__, "exec")
            return [code.co_filename, code.co_name, same]
            """,
            ["<tree>/plain.py", "<module>", True],
        ),
    },
)


@pytest.mark.parametrize("name", BATTERY.names)
def test_attribute(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The attributes of a module, its spec, its loader and its code are the same with both loaders."""
    BATTERY.check(tmp_path_factory, name)
