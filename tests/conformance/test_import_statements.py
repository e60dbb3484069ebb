"""The import statement and `importlib.import_module`: the names they bind, the code they run, and their errors."""

from __future__ import annotations

import re
import sys

import pytest

from .harness import Battery

DEPTH = 12
DEEP = "/".join(f"d{number}" for number in range(DEPTH))

BATTERY = Battery(
    {
        "plain.py": "VALUE = 1\n",
        # Packages.
        "pack/__init__.py": "VALUE = 'package'\n",
        "pack/one.py": "from . import two\nfrom .two import VALUE\nNAME = two.__name__\n",
        "pack/two.py": "VALUE = 2\n",
        "pack/hidden.py": "VALUE = 'hidden'\n",
        "pack/beyond.py": "from .. import plain\n",
        "pack/missing.py": "try:\n    from .nowhere import thing\nfinally:\n    pass\n",  # never a lazy import (PEP 810)
        "both.py": "KIND = 'module'\n",
        "both/__init__.py": "KIND = 'package'\n",
        "wide/__init__.py": "__path__.append(__path__[0] + '_more')\n",
        "wide_more/extra.py": "VALUE = 'extra'\n",
        "extended/__init__.py": "import pkgutil\n__path__ = pkgutil.extend_path(__path__, __name__)\n",
        "second/extended/__init__.py": "",
        "second/extended/far.py": "VALUE = 'far'\n",
        **{"/".join([*DEEP.split("/")[:number], "__init__.py"]): "" for number in range(1, DEPTH + 1)},
        "d0/top.py": "VALUE = 'top'\n",
        f"{DEEP}/leaf.py": f"from {'.' * DEPTH}top import VALUE\nfrom . import __name__ as PACKAGE\n",
        # Namespace packages.
        "space/near.py": "VALUE = 'near'\n",
        "second/space/far.py": "VALUE = 'far'\n",
        "second/space/deep/er.py": "VALUE = 'deeper'\n",
        "second/pack/three.py": "",
        # Circular imports.
        "ring_a.py": "EARLY = 1\nimport ring_b\nVALUE = ring_b.SEEN\n",
        "ring_b.py": "import ring_a\nSEEN = sorted(name for name in vars(ring_a) if name.isupper())\n",
        "knot_a.py": "from knot_b import b; b\na = 1\n",
        "knot_b.py": "from knot_a import a; a\nb = 1\n",
        "loop/__init__.py": "from . import left\n",
        "loop/left.py": "import loop.right as right\nVALUE = right.VALUE\n",
        "loop/right.py": "import loop.left as left\nVALUE = hasattr(left, 'VALUE')\n",
        # Modules with unusual bodies.
        "attr.py": """
def __getattr__(name):
    if name == "made":
        return "made"
    raise AttributeError(name)


def __dir__():
    return ["made"]
""",
        "stars.py": "__all__ = ['shown', '_shown']\nshown, _shown, hidden = 1, 2, 3\n",
        "no_all.py": "shown, _hidden = 1, 2\n",
        "liar.py": "__all__ = ['nothing']\n",
        "star_pack/__init__.py": "__all__ = ['part']\n",
        "star_pack/part.py": "",
        "swap.py": "import sys, types\nnew = types.SimpleNamespace(VALUE='swapped')\nsys.modules[__name__] = new\n",
        "gone.py": "import sys\ndel sys.modules[__name__]\n",
        "fails.py": "import sys\nsys.runs = getattr(sys, 'runs', 0) + 1\nraise ValueError('no luck')\n",
        "fails_in/__init__.py": "from . import fine, bad; fine, bad\n",
        "fails_in/fine.py": "",
        "fails_in/bad.py": "1 / 0\n",
        "optional.py": "try:\n    import nowhere\nexcept ImportError as error:\n    MISSING = error.name\n",
        "exits.py": "raise SystemExit(4)\n",
        "other/time.py": "VALUE = 'shadow'\n",
        "other/colorsys.py": "VALUE = 'shadow'\n",
        "setting.py": "import sys\nsys.count = getattr(sys, 'count', 0) + 1\nOLD = sys.count\n",
    },
    {
        # Packages.
        "package_and_submodules": (
            """
            import pack.one
            from pack import two
            return [pack.one.NAME, pack.one.VALUE, two is pack.two, pack.VALUE]
            """,
            ["pack.two", 2, True, "package"],
        ),
        "submodule_is_no_attribute_before": ("import pack\nreturn hasattr(pack, 'hidden')", False),
        "package_before_module": ("import both\nreturn both.KIND", "package"),
        "appended_path": (
            "import wide.extra\nreturn [wide.extra.VALUE, wide.__path__]",
            ["extra", re.compile("wide_more")],
        ),
        "extended_path": (
            "sys.path.append(TREE + '/second')\nimport extended.far\nreturn [extended.far.VALUE, extended.__path__]",
            ["far", ["<tree>/extended", "<tree>/second/extended"]],
        ),
        "deep": (
            f"import {DEEP.replace('/', '.')}.leaf as leaf\nreturn [leaf.VALUE, leaf.PACKAGE, leaf.__file__]",
            ["top", DEEP.replace("/", "."), f"<tree>/{DEEP}/leaf.py"],
        ),
        # Namespace packages.
        "namespace_of_two": (
            """
            sys.path.append(TREE + '/second')
            import space.near, space.far
            return [list(space.__path__), space.far.VALUE]
            """,
            [["<tree>/space", "<tree>/second/space"], "far"],
        ),
        "namespace_that_grows": (
            """
            import space
            before = list(space.__path__)
            sys.path.append(TREE + "/second")
            import space.deep.er
            return [before, list(space.__path__), space.deep.er.VALUE, facts(space.deep.__spec__)]
            """,
            [["<tree>/space"], ["<tree>/space", "<tree>/second/space"], "deeper", {"loader": "NamespaceLoader"}],
        ),
        "package_before_namespace": (
            "sys.path.insert(0, TREE + '/second')\nimport pack.three\nreturn [facts(pack.__spec__)]",
            {"raised": "ModuleNotFoundError", "name": "pack.three"},
        ),
        # Circular imports.
        "circle": ("import ring_a\nreturn ring_a.VALUE", ["EARLY"]),
        "circle_of_names": (
            "import knot_a",
            {"raised": "ImportError", "text": re.compile("cannot import name 'a' from .*knot_a.py")},
        ),
        "circle_of_submodules": ("import loop\nreturn loop.left.VALUE", False),
        # Modules with unusual bodies.
        "module_getattr": (
            "import attr\nfrom attr import made\nreturn [made, attr.made, dir(attr), hasattr(attr, 'x')]",
            ["made", "made", ["made"], False],
        ),
        "name_not_in_module_getattr": ("from attr import unmade", {"raised": "ImportError"}),
        "star": (
            "names = {}\nexec('from stars import *', names)\nreturn sorted(names)",
            ["__builtins__", "_shown", "shown"],
        ),
        "star_without_all": (
            "names = {}\nexec('from no_all import *', names)\nreturn sorted(names)",
            ["__builtins__", "shown"],
        ),
        "star_of_nothing": (
            "exec('from liar import *', {})",
            {"raised": "AttributeError", "text": re.compile("module 'liar' has no attribute 'nothing'")},
        ),
        "star_of_submodules": (
            "names = {}\nexec('from star_pack import *', names)\nreturn names['part'].__name__",
            "star_pack.part",
        ),
        "replaced_in_sys_modules": (
            "import swap\nreturn [swap.VALUE, kind(swap), sys.modules['swap'] is swap]",
            ["swapped", "SimpleNamespace", True],
        ),
        "removed_from_sys_modules": ("import gone", {"raised": "KeyError", "text": "'gone'"}),
        "raises": (
            """
            seen = []
            for attempt in range(2):
                try:
                    import fails
                except ValueError as error:
                    seen.append([str(error), "fails" in sys.modules, sys.runs])
            return seen
            """,
            [["no luck", False, 1], ["no luck", False, 2]],
        ),
        "raises_within": (
            """
            try:
                import fails_in
            except ZeroDivisionError:
                return sorted(name for name in sys.modules if name.startswith("fails_in"))
            """,
            ["fails_in.fine"],
        ),
        "exits": (
            """
            try:
                import exits
            except SystemExit as error:
                return [error.code, "exits" in sys.modules]
            """,
            [4, False],
        ),
        "optional": ("import optional\nreturn optional.MISSING", "nowhere"),
        "shadow_of_a_builtin": (
            """
            sys.path.insert(0, TREE + "/other")
            kept = sys.modules.pop("time")
            try:
                import time
                return [hasattr(time, "VALUE"), facts(time.__spec__)]
            finally:
                sys.modules["time"] = kept
            """,
            [False, {"origin": "built-in"}],
        ),
        "shadow_of_the_standard_library": (
            "sys.path.insert(0, TREE + '/other')\nimport colorsys\nsys.modules.pop('colorsys')\nreturn colorsys.VALUE",
            "shadow",
        ),
        "name_missing_in_a_shadow": (
            """
            sys.path.insert(0, TREE + "/other")
            try:
                from colorsys import rgb_to_hsv
            finally:
                sys.modules.pop("colorsys")
            """,
            {"raised": "ImportError", "text": re.compile("cannot import name 'rgb_to_hsv' from 'colorsys'")},
        ),
        # Errors.
        "missing": ("import nowhere", {"raised": "ModuleNotFoundError", "text": "No module named 'nowhere'"}),
        "missing_in_a_package": (
            "import pack.nowhere",
            {"text": "No module named 'pack.nowhere'", "name": "pack.nowhere"},
        ),
        "missing_in_a_missing_package": (
            "import nowhere.deeper",
            {"text": "No module named 'nowhere'", "name": "nowhere"},
        ),
        "missing_in_a_namespace": ("import space.nowhere", {"text": "No module named 'space.nowhere'"}),
        "missing_in_a_module": (
            "import plain.part",
            {"text": "No module named 'plain.part'; 'plain' is not a package", "name": "plain.part"},
        ),
        "missing_relative": ("import pack.missing", {"text": "No module named 'pack.nowhere'"}),
        "missing_name": (
            "from plain import thing",
            {"text": "cannot import name 'thing' from 'plain' (<tree>/plain.py)", "path": "<tree>/plain.py"},
        ),
        "missing_name_in_a_package": (
            "from pack import thing",
            {"text": re.compile(r"from 'pack' \(.*/__init__.py\)")},
        ),
        "missing_name_in_a_namespace": (
            "from space import thing",
            {"text": re.compile(r"from 'space' \(unknown location\)")},
        ),
        "nearly_the_name": (
            "from plain import VALUES",
            {"text": re.compile("cannot import name 'VALUES' from 'plain'")},
        ),
        "beyond_the_top": ("import pack.beyond", {"text": "attempted relative import beyond top-level package"}),
        "relative_without_a_package": (
            "exec('from . import plain', {'__name__': '__main__'})",
            {"text": "attempted relative import with no known parent package"},
        ),
        "None_in_sys_modules": (
            "sys.modules['plain'] = None\nimport plain",
            {"raised": "ModuleNotFoundError", "text": "import of plain halted; None in sys.modules"},
        ),
        # import_module and find_spec.
        "import_module": (
            "return [importlib.import_module(*each).__name__ for each in (['plain'], ['pack.one'], ['.two', 'pack'])]",
            ["plain", "pack.one", "pack.two"],
        ),
        "import_module_missing": ("importlib.import_module('nowhere')", {"text": "No module named 'nowhere'"}),
        "import_module_missing_part": ("importlib.import_module('pack.no.where')", {"name": "pack.no"}),
        "import_module_relative": (
            "importlib.import_module('.two')",
            {"raised": "TypeError", "text": re.compile("package")},
        ),
        "import_module_of_nothing": (
            "importlib.import_module('')",
            {"raised": "ValueError", "text": "Empty module name"},
        ),
        "import_module_with_two_dots": ("importlib.import_module('pack..two')", {"raised": "ModuleNotFoundError"}),
        "import_module_with_a_slash": (
            "importlib.import_module('pack/one')",
            re.compile("ModuleNotFoundError|pack/one"),
        ),
        "find_spec": (
            "return [facts(importlib.util.find_spec(name)) for name in ('plain', 'pack', 'space', 'nowhere')]",
            [{"loader": "SourceFileLoader"}, {"where": ["<tree>/pack"]}, {"where": ["<tree>/space"]}, None],
        ),
        "find_spec_imports_parents": (
            "return [facts(importlib.util.find_spec('pack.one')), 'pack' in sys.modules, 'pack.one' in sys.modules]",
            [{"name": "pack.one", "parent": "pack"}, True, False],
        ),
        "find_spec_missing_parent": (
            "importlib.util.find_spec('nowhere.part')",
            {"raised": "ModuleNotFoundError", "name": "nowhere"},
        ),
        "find_spec_of_no_package": (
            "importlib.util.find_spec('plain.part')",
            {"text": "__path__ attribute not found on 'plain' while trying to find 'plain.part'"},
        ),
        "find_spec_loaded": ("import plain\nreturn importlib.util.find_spec('plain') is plain.__spec__", True),
        "find_spec_without_a_spec": (
            "import types\nsys.modules['plain'] = types.ModuleType('plain')\nimportlib.util.find_spec('plain')",
            {"raised": "ValueError", "text": "plain.__spec__ is None"},
        ),
        "by_hand": ("return [module_from('plain').VALUE, 'plain' in sys.modules]", [1, False]),
        # Reloading.
        "reload": (
            """
            import setting
            first, setting.EXTRA = setting.OLD, "kept"
            again = importlib.reload(setting)
            return [again is setting, setting.OLD - first, setting.EXTRA, facts(setting.__spec__)]
            """,
            [True, 1, "kept", {"loader": "SourceFileLoader"}],
        ),
        "reload_a_package": (
            """
            import pack.one
            return [importlib.reload(pack) is pack, importlib.reload(pack.one) is pack.one, pack.one.VALUE]
            """,
            [True, True, 2],
        ),
        "reload_a_namespace": ("import space\nreturn importlib.reload(space) is space", True),
        "reload_unloaded": (
            "import plain\ndel sys.modules['plain']\nimportlib.reload(plain)",
            {"raised": "ImportError", "text": "module plain not in sys.modules"},
        ),
        "reload_of_no_module": ("importlib.reload('plain')", {"raised": "TypeError"}),
    },
)


LAZY = Battery(
    {
        "target.py": "import sys\nsys.lazily = 'loaded'\nVALUE = 1\n",
        "failing.py": "\n1 / 0\n",
        "user.py": """\
lazy import target
lazy from target import VALUE


def use():
    return [target.VALUE, VALUE]
""",
        "pack/__init__.py": "",
        "pack/part.py": "lazy from . import other\n\n\ndef use():\n    return other.VALUE\n",
        "pack/other.py": "VALUE = 'other'\n",
        "unlucky.py": """\
lazy import failing
lazy import nowhere


def f():
    failing.x


def g():
    nowhere.x
""",
    },
    {
        "deferred": (
            """
            import user
            before = 'target' in sys.modules
            return [before, user.use(), sys.lazily, facts(user.target.__spec__)]
            """,
            [False, [1, 1], "loaded", {"loader": "SourceFileLoader"}],
        ),
        "relative": ("import pack.part\nreturn ['pack.other' in sys.modules, pack.part.use()]", [False, "other"]),
        "failing": (
            "import unlucky\nreturn trace(unlucky.f)",
            re.compile('(?s)failing.py", line 2.*1 / 0.*ZeroDivisionError'),
        ),
        "missing": ("import unlucky\nreturn trace(unlucky.g)", re.compile("(?s)unlucky.py.*No module named 'nowhere'")),
    },
)


@pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports came with Python 3.15 (PEP 810)")
@pytest.mark.parametrize("name", LAZY.names)
def test_lazy_import(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A lazy import loads when its name is used, and fails with the same message."""
    LAZY.check(tmp_path_factory, name)


@pytest.mark.parametrize("name", BATTERY.names)
def test_import(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An import binds the same names, runs the same code and gives the same errors with both loaders."""
    BATTERY.check(tmp_path_factory, name)
