"""The information that the standard library's tools give about modules, their sources and their resources."""

from __future__ import annotations

import re
from codecs import BOM_UTF8

import pytest

from .harness import Battery

BATTERY = Battery(
    {
        "shapes.py": '''"""Shapes.

>>> area(2)
4
>>> area(3)
10
"""

import functools


def area(side):
    """The area."""
    # squared
    return side * side


class Square:
    # a comment
    def area(self):
        return area(2)

    size = property(lambda self: 1)


@functools.cache
def cached():
    return 1
''',
        # Encodings.
        "latin.py": "# -*- coding: latin-1 -*-\nTEXT = 'é'\n".encode("latin-1"),
        "second_line.py": "#!/usr/bin/python\n# vim: set fileencoding=cp1252 :\nTEXT = '€'\n".encode("cp1252"),
        "shift_jis.py": "# coding: shift_jis\nTEXT = 'ソ表'\n".encode("shift_jis"),
        "bom.py": BOM_UTF8 + "TEXT = 'é'\n".encode(),
        "bom_and_cookie.py": BOM_UTF8 + "# coding: utf-8\nTEXT = 'ü'\n".encode(),
        "bom_and_latin.py": BOM_UTF8 + b"# coding: latin-1\nTEXT = ''\n",
        "no_cookie.py": "TEXT = 'é'\n".encode("latin-1"),
        "late_cookie.py": "\n\n# coding: latin-1\nTEXT = 'é'\n".encode(),
        "windows.py": b"TEXT = '''a\r\nb'''\r\nif True:\r\n    LINE = 1\r\n",
        "mac.py": b"TEXT = '''a\rb'''\rLINE = 2\r",
        "surrogates.py": b"TEXT = ['\\ud800', '\\N{SNOWMAN}', '\\x00', 'a' * 3]\n",
        "constants.py": b"TEXT = [repr(each) for each in (-0.0, 1e400, 10 ** 40, 2j, b'\\xff', ..., (1, ('a',)))]\n",
        "empty.py": b"",
        "no_newline.py": b"TEXT = 1",
        "form_feed.py": b"\x0cTEXT = 1\n\x0c\nLINE = 3\n",
        # Resources.
        "assets/__init__.py": "",
        "assets/data.txt": "some data\n",
        "assets/sub/__init__.py": "",
        "assets/sub/more.bin": b"\0\xff",
        "assets/folder/deep.txt": "deep\n",
        "loose/thing.txt": "loose\n",
        "loose/code.py": "",
        # Metadata.
        "demo-1.5.dist-info/METADATA": """\
Metadata-Version: 2.1
Name: demo
Version: 1.5
Summary: A demo
Requires-Dist: other>=2
""",
        "demo-1.5.dist-info/entry_points.txt": "[console_scripts]\ndemo = shapes:area\n",
        "demo-1.5.dist-info/RECORD": "shapes.py,,\ndemo-1.5.dist-info/METADATA,,\n",
        "demo-1.5.dist-info/top_level.txt": "shapes\n",
        # Packages for walk_packages.
        "walk/__init__.py": "",
        "walk/a.py": "",
        "walk/b/__init__.py": "",
        "walk/b/c.py": "",
        "walk/not_code.txt": "",
        # Programs.
        "prog/__init__.py": "",
        "prog/__main__.py": """\
RESULT = [__name__, __package__, __file__, __spec__.name, __spec__.origin, __spec__.cached]
""",
        "prog/tool.py": """\
import sys
RESULT = [__name__, sys.argv[0], __spec__.name, type(__loader__).__name__, __doc__]
""",
        "prog/broken.py": "1 / 0\n",
        "script.py": "RESULT = [__name__, __file__, __package__, __spec__ is None, __loader__ is None]\n",
    },
    {
        # inspect.
        "getsource_function": (
            "import inspect, shapes\nreturn inspect.getsource(shapes.area)",
            re.compile("# squared"),
        ),
        "getsource_class": (
            "import inspect, shapes\nreturn inspect.getsource(shapes.Square)",
            re.compile("# a comment"),
        ),
        "getsource_module": ("import inspect, shapes\nreturn inspect.getsource(shapes)", re.compile('^"""Shapes')),
        "getsource_decorated": (
            "import inspect, shapes\nreturn inspect.getsource(shapes.cached)",
            re.compile("^@functools"),
        ),
        "getsource_lambda": (
            "import inspect, shapes\nreturn inspect.getsource(shapes.Square.size.fget)",
            re.compile("property"),
        ),
        "getsource_latin": ("import inspect, latin\nreturn inspect.getsource(latin)", re.compile("é")),
        "getsourcelines": (
            "import inspect, shapes\nreturn inspect.getsourcelines(shapes.Square.area)",
            [re.compile("def"), 20],
        ),
        "getfile": (
            "import inspect, shapes\nreturn [f(shapes.area) for f in (inspect.getfile, inspect.getsourcefile)]",
            ["<tree>/shapes.py", "<tree>/shapes.py"],
        ),
        "getmodule": ("import inspect, shapes\nreturn inspect.getmodule(shapes.Square).__name__", "shapes"),
        "getdoc": (
            "import inspect, shapes\nreturn [inspect.getdoc(shapes.area), inspect.getcomments(shapes.Square.area)]",
            ["The area.", "# a comment\n"],
        ),
        "getsource_after_an_edit": (
            """
            import inspect, linecache
            write("edited.py", "def f():\\n    return 1\\n")
            importlib.invalidate_caches()
            import edited
            first = inspect.getsource(edited.f)
            write("edited.py", "def f():\\n    return 'longer'\\n")
            linecache.checkcache()
            second = inspect.getsource(edited.f)
            write("edited.py", "def f():\\n    return 1\\n")
            return [first, second, edited.f()]
            """,
            [re.compile("1"), re.compile("longer"), 1],
        ),
        "doctest": (
            """
            import doctest, io, contextlib, shapes
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                outcome = doctest.testmod(shapes)
            return [outcome.failed, outcome.attempted, printed.getvalue()]
            """,
            [1, 2, re.compile('shapes.py", line 5')],
        ),
        "pyclbr": ("import pyclbr\nreturn sorted(pyclbr.readmodule_ex('shapes'))", ["Square", "area", "cached"]),
        "pydoc": (
            "import pydoc, shapes\nreturn pydoc.plain(pydoc.render_doc(shapes))",
            re.compile("(?s)Shapes.*FILE\n    .*/shapes.py"),
        ),
        # The loader's own methods.
        "get_source": ("import latin\nreturn latin.__loader__.get_source('latin')", re.compile("'é'")),
        "get_source_of_another": (
            "import shapes\nshapes.__loader__.get_source('latin')",
            {"raised": "ImportError", "text": "loader for shapes cannot handle latin", "name": "latin"},
        ),
        "get_source_undecodable": (
            "importlib.util.find_spec('no_cookie').loader.get_source('no_cookie')",
            {"raised": re.compile("ImportError|SyntaxError")},
        ),
        "get_code_of_another": (
            "import shapes\nshapes.__loader__.get_code('latin')",
            {"raised": "ImportError", "text": "loader for shapes cannot handle latin", "name": "latin"},
        ),
        "get_code_of_none": ("import shapes\nreturn shapes.__loader__.get_code(None).co_filename", "<tree>/shapes.py"),
        "get_data": (
            "import shapes\nreturn shapes.__loader__.get_data(TREE + '/assets/data.txt').decode()",
            "some data\n",
        ),
        "get_data_missing": (
            "import shapes\nshapes.__loader__.get_data(TREE + '/nothing')",
            {"raised": "FileNotFoundError", "text": "[Errno 2] No such file or directory: '<tree>/nothing'"},
        ),
        "get_filename": (
            "import shapes, assets\nreturn [each.__loader__.get_filename(each.__name__) for each in (shapes, assets)]",
            ["<tree>/shapes.py", "<tree>/assets/__init__.py"],
        ),
        "get_filename_of_another": (
            "import shapes\nshapes.__loader__.get_filename('latin')",
            {"raised": "ImportError", "text": "loader for shapes cannot handle latin"},
        ),
        "is_package": (
            "import shapes, assets\nreturn [each.__loader__.is_package(each.__name__) for each in (shapes, assets)]",
            [False, True],
        ),
        "path_stats": (
            "import shapes\nreturn sorted(shapes.__loader__.path_stats(shapes.__file__).items())",
            [["mtime", re.compile("[0-9]")], ["size", re.compile("[0-9]")]],
        ),
        "source_to_code": (
            """
            import shapes
            exec(shapes.__loader__.source_to_code(b'x = 1', 'name.py'), names := {})
            return names['x']
            """,
            1,
        ),
        "exec_module_anew": (
            "import shapes\nshapes.area = None\nshapes.__loader__.exec_module(shapes)\nreturn shapes.area(3)",
            9,
        ),
        "load_module": (
            """
            import warnings
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                loader = importlib.util.find_spec("shapes").loader
                return loader.load_module("shapes").area(3) if hasattr(loader, "load_module") else "gone"
            """,
            re.compile("9|gone"),
        ),
        # Encodings.
        **{
            name: (f"import {name} as m\nreturn [m.TEXT, getattr(m, 'LINE', 0)]", [text, line])
            for name, text, line in (
                ("latin", "é", 0),
                ("second_line", "€", 0),
                ("shift_jis", "ソ表", 0),
                ("bom", "é", 0),
                ("bom_and_cookie", "ü", 0),
                ("windows", "a\nb", 1),
                ("mac", "a\nb", 2),
                ("surrogates", ["\ud800", "☃", "\0", "aaa"], 0),
                ("constants", re.compile('"-0.0", "inf"'), 0),
                ("no_newline", 1, 0),
                ("form_feed", 1, 3),
            )
        },
        "empty": ("import empty\nreturn [empty.__doc__, len(empty.__loader__.get_source('empty'))]", [None, 0]),
        "no_cookie": (
            "import no_cookie",
            {"raised": "SyntaxError", "text": re.compile("can't decode byte 0xe9|Non-UTF-8 code")},
        ),
        "late_cookie": ("import late_cookie\nreturn late_cookie.TEXT", "é"),
        "bom_and_latin": (
            "import bom_and_latin",
            {"raised": "SyntaxError", "text": re.compile("latin-1|iso-8859-1|BOM")},
        ),
        # Resources.
        "resource": (
            """
            import importlib.resources as r
            return [r.files('assets').joinpath(*each).read_text() for each in (['data.txt'], ['folder', 'deep.txt'])]
            """,
            ["some data\n", "deep\n"],
        ),
        "resource_bytes": (
            "import importlib.resources as r, assets.sub\nreturn list((r.files(assets.sub) / 'more.bin').read_bytes())",
            [0, 255],
        ),
        "resource_path": (
            """
            import importlib.resources as r
            with r.as_file(r.files("assets") / "data.txt") as path:
                return [type(path).__name__, str(path)]
            """,
            ["PosixPath", "<tree>/assets/data.txt"],
        ),
        "resource_listing": (
            "import importlib.resources as r\nreturn sorted(each.name for each in r.files('assets').iterdir())",
            ["__init__.py", "data.txt", "folder", "sub"],
        ),
        "resource_in_a_namespace": (
            """
            import importlib.resources as r
            files = r.files('loose')
            return [(files / 'thing.txt').read_text(), sorted(each.name for each in files.iterdir())]
            """,
            ["loose\n", ["code.py", "thing.txt"]],
        ),
        "resource_missing": (
            "import importlib.resources as r\n(r.files('assets') / 'nothing').read_text()",
            {"raised": "FileNotFoundError", "text": re.compile("assets/nothing")},
        ),
        "resource_of_a_missing_package": (
            "import importlib.resources as r\nr.files('nowhere')",
            {"raised": "ModuleNotFoundError"},
        ),
        "resource_reader": (
            """
            import assets
            reader = assets.__loader__.get_resource_reader("assets")
            path = reader.resource_path("data.txt")
            return [kind(reader), sorted(reader.contents()), reader.is_resource("data.txt"), path]
            """,
            ["FileReader", re.compile("data.txt"), True, "<tree>/assets/data.txt"],
        ),
        # Metadata.
        "metadata": (
            """
            import importlib.metadata as m
            d = m.distribution('demo')
            return [d.version, d.requires, d.metadata['Summary'], [str(each) for each in d.files]]
            """,
            ["1.5", ["other>=2"], "A demo", ["shapes.py", "demo-1.5.dist-info/METADATA"]],
        ),
        "metadata_missing": (
            "import importlib.metadata as m\nm.version('nowhere')",
            {"raised": "PackageNotFoundError", "name": "nowhere"},
        ),
        "entry_point": (
            """
            import importlib.metadata as m
            [e] = m.entry_points(group='console_scripts', name='demo')
            return [e.value, e.load()(3)]
            """,
            ["shapes:area", 9],
        ),
        "packages_distributions": (
            "import importlib.metadata as m\nreturn m.packages_distributions()['shapes']",
            ["demo"],
        ),
        "distributions": (
            "import importlib.metadata as m\nreturn [d.name for d in m.distributions(path=[TREE])]",
            ["demo"],
        ),
        # pkgutil.
        "iter_modules": (
            """
            import pkgutil, walk
            return [[m.name, m.ispkg, kind(m.module_finder)] for m in pkgutil.iter_modules(walk.__path__)]
            """,
            [["a", False, "FileFinder"], ["b", True, "FileFinder"]],
        ),
        "walk_packages": (
            """
            import pkgutil, walk
            return [m.name for m in pkgutil.walk_packages(walk.__path__, 'walk.')] + ['walk.b' in sys.modules]
            """,
            ["walk.a", "walk.b", "walk.b.c", True],
        ),
        "walk_everything": (
            "import pkgutil\nreturn [m.name for m in pkgutil.iter_modules([TREE]) if m.ispkg]",
            ["assets", "prog", "walk"],
        ),
        "pkgutil_get_data": (
            """
            import pkgutil
            return [pkgutil.get_data('assets', 'data.txt').decode(), pkgutil.get_data('loose', 'thing.txt')]
            """,
            ["some data\n", None],
        ),
        "resolve_name": (
            """
            import pkgutil
            return [pkgutil.resolve_name(n).__name__ for n in ('walk.b:c', 'walk.b.c', 'shapes:Square.area')]
            """,
            {"raised": "AttributeError"},
        ),
        "resolve_name_by_colon": (
            "import pkgutil\nreturn [pkgutil.resolve_name(n).__name__ for n in ('walk.b.c', 'shapes:Square.area')]",
            ["walk.b.c", "area"],
        ),
        "get_importer": (
            "import pkgutil\nreturn [kind(pkgutil.get_importer(p)) for p in (TREE, TREE + '/shapes.py')]",
            ["FileFinder", "NoneType"],
        ),
        # runpy.
        "run_module": (
            "import runpy\nreturn runpy.run_module('prog')['RESULT']",
            [
                "prog.__main__",
                "prog",
                "<tree>/prog/__main__.py",
                "prog.__main__",
                "<tree>/prog/__main__.py",
                re.compile("/prog/__main__.*pyc"),
            ],
        ),
        "run_module_as_main": (
            "import runpy\nreturn runpy.run_module('prog.tool', run_name='__main__', alter_sys=True)['RESULT']",
            ["__main__", "<tree>/prog/tool.py", "prog.tool", "SourceFileLoader", None],
        ),
        "run_module_missing": (
            "import runpy\nrunpy.run_module('prog.nowhere')",
            {"raised": "ImportError", "text": re.compile("No module named prog.nowhere")},
        ),
        "run_module_of_no_program": (
            "import runpy\nrunpy.run_module('walk')",
            {"raised": "ImportError", "text": re.compile("'walk' is a package and cannot be directly executed")},
        ),
        "run_path": (
            "import runpy\nreturn runpy.run_path(TREE + '/script.py', run_name='given')['RESULT']",
            ["given", "<tree>/script.py", "", True, True],
        ),
        "run_path_of_a_directory": (
            "import runpy\nreturn runpy.run_path(TREE + '/prog', run_name='given')['RESULT']",
            ["given", "", "<tree>/prog/__main__.py", "__main__", "<tree>/prog/__main__.py", re.compile("pyc")],
        ),
        "run_module_that_raises": (
            "import runpy\nreturn trace(lambda: runpy.run_module('prog.broken'))",
            re.compile('(?s)<frozen runpy>.*prog/broken.py", line 1, in <module>\n    1 / 0'),
        ),
        # Copies.
        "pickled_loader": (
            """
            import pickle, shapes
            again = pickle.loads(pickle.dumps(shapes.__loader__))
            return [kind(again), vars(again), again.get_filename("shapes"), again.get_code("shapes").co_filename]
            """,
            [
                "SourceFileLoader",
                {"name": "shapes", "path": "<tree>/shapes.py"},
                "<tree>/shapes.py",
                "<tree>/shapes.py",
            ],
        ),
        "pickled_spec": (
            """
            import pickle, shapes, assets
            return [facts(pickle.loads(pickle.dumps(each.__spec__))) for each in (shapes, assets)]
            """,
            [{"name": "shapes", "loader": "SourceFileLoader"}, {"where": ["<tree>/assets"]}],
        ),
        "copied_spec": (
            """
            import copy, shapes
            again = copy.deepcopy(shapes.__spec__)
            module = importlib.util.module_from_spec(again)
            again.loader.exec_module(module)
            return [facts(again), again.loader is shapes.__loader__, module.area(2)]
            """,
            [{"name": "shapes", "loader": "SourceFileLoader"}, False, 4],
        ),
        "copied_loader": ("import copy, shapes\nreturn vars(copy.copy(shapes.__loader__))", {"name": "shapes"}),
        "equal_copies": (
            """
            import copy, pickle, shapes
            spec, loader = shapes.__spec__, shapes.__loader__
            copies = [copy.copy(loader), copy.deepcopy(loader), pickle.loads(pickle.dumps(loader))]
            return [[each == loader, hash(each) == hash(loader)] for each in copies] + [copy.deepcopy(spec) == spec]
            """,
            [[True, True], [True, True], [True, True], True],
        ),
        "equal_specs": (
            """
            import shapes
            found = importlib.util.find_spec("shapes")
            del sys.modules["shapes"]
            other = importlib.util.find_spec("shapes")
            by_path = importlib.util.spec_from_file_location("shapes", shapes.__file__)
            return [found is other, found == other, found == by_path, by_path == found, found.loader == by_path.loader]
            """,
            [False, True, True, True, True],
        ),
        "unequal_loaders": (
            "import shapes, latin\nreturn [shapes.__loader__ == latin.__loader__, shapes.__spec__ != latin.__spec__]",
            [False, True],
        ),
        "loader_of_the_same_type": (
            """
            import shapes
            loader = type(shapes.__loader__)("latin", TREE + "/latin.py")
            spec = importlib.util.spec_from_loader("latin", loader)
            module = importlib.util.module_from_spec(spec)
            loader.exec_module(module)
            return [module.TEXT, facts(spec)]
            """,
            ["é", {"origin": "<tree>/latin.py", "loader": "SourceFileLoader"}],
        ),
        "referenced_weakly": (
            "import weakref, shapes\nreturn weakref.ref(shapes.__loader__)() is shapes.__loader__",
            True,
        ),
        "loader_takes_attributes": (
            "import shapes\nshapes.__loader__.mine = 1\nreturn sorted(vars(shapes.__loader__))",
            ["mine", "name", "path"],
        ),
    },
)


@pytest.mark.parametrize("name", BATTERY.names)
def test_tool(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The standard library's tools give the same information about a module with both loaders."""
    BATTERY.check(tmp_path_factory, name)
