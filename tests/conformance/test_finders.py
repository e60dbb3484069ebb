"""Finders, path hooks and loaders of other tools beside this package's, and the interfaces of `importlib.abc`."""

from __future__ import annotations

import importlib.abc
import inspect
import json
import re
import sys
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path

import pytest

import pycachehook
from conftest import Python
from pycachehook.finder import CachingFinder
from pycachehook.loader import CachingLoader, Policies

from .harness import Battery

# Finders and loaders like those of other tools; `events` collects the calls.
TOOLS = '''
import importlib.machinery, importlib.util, os, sys

ROOT = os.path.dirname(os.path.abspath(__file__))
events = []


class Plain:
    """As the finder of an editable installation."""

    def __init__(self, **files):
        self.files = files

    def find_spec(self, fullname, path=None, target=None):
        events.append([fullname, path and list(path), target and target.__name__])
        if fullname in self.files:
            return importlib.util.spec_from_file_location(fullname, os.path.join(ROOT, self.files[fullname]))


class Refusing:
    def __init__(self, error):
        self.error = error

    def find_spec(self, fullname, path=None, target=None):
        if fullname.startswith("refused"):
            raise self.error


class Loud(importlib.machinery.SourceFileLoader):
    """As pytest's or a tracer's."""

    def source_to_code(self, data, path, *args, **kwargs):
        return super().source_to_code(data.replace(b"quiet", b"LOUD"), path, *args, **kwargs)


class Words:
    """A loader of something else."""

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        module.WORDS = open(module.__spec__.origin).read().split()


class WordFinder:
    def __init__(self, folder):
        if not folder.startswith(ROOT):
            raise ImportError
        self.folder = folder

    def find_spec(self, fullname, target=None):
        path = os.path.join(self.folder, fullname.rpartition(".")[2] + ".words")
        if os.path.exists(path):
            return importlib.util.spec_from_file_location(fullname, path, loader=Words())

    def invalidate_caches(self):
        events.append("invalidated")
'''

BATTERY = Battery(
    {
        "tools.py": TOOLS,
        "sub/aliased.py": "VALUE = 'aliased'\n",
        "sub/odd.source": "VALUE = 'odd'\n",
        "sub/pack/__init__.py": "",
        "sub/pack/part.py": "VALUE = 'part'\n",
        "plain.py": "VALUE = 'quiet'\n",
        "words.words": "some words",
        "hooked/quiet.py": "VALUE = 'quiet'\n",
        "lazy.py": """\
import sys
sys.lazy_runs = getattr(sys, 'lazy_runs', 0) + 1
VALUE = 1
def f():
    return __name__
""",
        "lazy_broken.py": "VALUE = 1\n1 / 0\n",
        "wants_refused.py": "\nimport refused; refused\n",
    },
    {
        # Lazy loading.
        "lazy_loader": (
            """
            spec = importlib.util.find_spec("lazy")
            spec.loader = importlib.util.LazyLoader(spec.loader)
            module = importlib.util.module_from_spec(spec)
            sys.modules["lazy"] = module
            spec.loader.exec_module(module)
            before = getattr(sys, "lazy_runs", 0)
            first = [type(module).__name__, object.__getattribute__(module, "__name__")]
            value = module.f()
            del spec
            return [first, sys.lazy_runs - before, value, type(module).__name__, module.VALUE, kind(module.__loader__)]
            """,
            [["_LazyModule", "lazy"], 1, "lazy", "module", 1, "SourceFileLoader"],
        ),
        "lazy_loader_factory": (
            """
            factory = importlib.util.LazyLoader.factory(importlib.machinery.SourceFileLoader)
            path = TREE + "/lazy.py"
            spec = importlib.util.spec_from_file_location("lazy", path, loader=factory("lazy", path))
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return [type(module).__name__, module.VALUE, type(module).__name__]
            """,
            ["_LazyModule", 1, "module"],
        ),
        "lazy_loader_that_fails": (
            """
            spec = importlib.util.find_spec("lazy_broken")
            spec.loader = importlib.util.LazyLoader(spec.loader)
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return without_importlib(trace(lambda: module.VALUE))
            """,
            re.compile('(?s)lazy_broken.py", line 2, in <module>\n    1 / 0'),
        ),
        # Specs created by hand.
        "spec_from_file_location": (
            """
            spec = importlib.util.spec_from_file_location("given.name", TREE + "/plain.py")
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return [facts(spec), module.__name__, module.VALUE, "given.name" in sys.modules]
            """,
            [{"name": "given.name", "parent": "given", "loader": "SourceFileLoader"}, "given.name", "quiet", False],
        ),
        "spec_from_file_location_of_a_package": (
            """
            where = [TREE + "/sub/pack"]
            path = where[0] + "/__init__.py"
            spec = importlib.util.spec_from_file_location("packed", path, submodule_search_locations=where)
            sys.modules["packed"] = module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            try:
                import packed.part
                return [facts(spec), packed.part.VALUE, facts(packed.part.__spec__)]
            finally:
                for name in ("packed", "packed.part"):
                    sys.modules.pop(name, None)
            """,
            [{"where": ["<tree>/sub/pack"]}, "part", {"name": "packed.part", "loader": "SourceFileLoader"}],
        ),
        "spec_from_loader": (
            "import plain\nreturn facts(importlib.util.spec_from_loader('plain', plain.__loader__))",
            {"origin": "<tree>/plain.py", "has_location": True},
        ),
        # Finders on the meta path.
        "finder_in_front": (
            """
            import tools
            sys.meta_path.insert(0, tools.Plain(alias='sub/aliased.py'))
            import alias
            import plain
            sys.modules.pop('alias')
            return [alias.VALUE, facts(alias.__spec__), tools.events]
            """,
            ["aliased", {"loader": "SourceFileLoader"}, [["alias", None, None], ["plain", None, None]]],
        ),
        "finder_behind": (
            """
            import tools
            sys.meta_path.append(tools.Plain(alias='sub/aliased.py'))
            import alias
            import plain
            sys.modules.pop('alias')
            return [alias.VALUE, facts(alias.__spec__), tools.events]
            """,
            ["aliased", {"loader": "SourceFileLoader"}, [["alias", None, None]]],
        ),
        "path_and_target": (
            """
            import tools, plain
            sys.path.insert(0, TREE + "/sub")
            sys.meta_path.insert(0, finder := tools.Plain())
            import pack.part
            importlib.reload(plain)
            sys.meta_path.remove(finder)
            sys.meta_path.append(finder)
            try:
                import pack.nowhere
            except ModuleNotFoundError:
                return tools.events[:3] + [tools.events[-1]]
            finally:
                for name in ("pack", "pack.part"):
                    del sys.modules[name]
            """,
            [
                ["pack", None, None],
                ["pack.part", ["<tree>/sub/pack"], None],
                ["plain", None, "plain"],
                ["pack.nowhere", ["<tree>/sub/pack"], None],
            ],
        ),
        **{
            f"finder_{place}_raises_{error}_at_{name}": (
                f"""
                import tools
                sys.meta_path.{insert}tools.Refusing({error}("refused")))
                def action():
                    import {name}
                return [{shown}(trace(action)), "wants_refused" in sys.modules]
                """,
                [re.compile(f'(?s)import {name}.*tools.py", line [0-9]+, in find_spec.*{error}: refused'), False],
            )
            for place, insert in (("in_front", "insert(0, "), ("behind", "append("))
            for error, name, shown in (
                ("ImportError", "refused", "str"),
                ("ImportError", "wants_refused", "str"),
                ("ValueError", "refused", "without_importlib"),
            )
        },
        "no_finder_at_all": (
            "sys.meta_path.clear()\nimport plain",
            {"raised": re.compile("ModuleNotFoundError|ImportError"), "text": re.compile("plain")},
        ),
        "path_finder_taken_out": (
            "sys.meta_path.remove(importlib.machinery.PathFinder)\nimport plain",
            {"raised": "ModuleNotFoundError", "text": "No module named 'plain'"},
        ),
        "path_finder_asked_directly": (
            "return facts(importlib.machinery.PathFinder.find_spec('plain', [TREE]))",
            {"name": "plain", "loader": "SourceFileLoader"},
        ),
        "meta_path_copied": (
            "sys.meta_path = list(sys.meta_path)\nimport plain\nreturn [plain.VALUE, facts(plain.__spec__)]",
            ["quiet", {"loader": "SourceFileLoader"}],
        ),
        "finder_without_find_spec": (
            "sys.meta_path.append(object())\nimport nowhere",
            {"raised": re.compile("ModuleNotFoundError|AttributeError")},
        ),
        # Path hooks.
        "path_hook_with_another_loader": (
            """
            import tools
            sys.path_hooks.insert(0, tools.WordFinder)
            sys.path_importer_cache.clear()
            import words
            importlib.invalidate_caches()
            return [words.WORDS, facts(words.__spec__), "invalidated" in tools.events]
            """,
            [["some", "words"], {"loader": "Words", "origin": "<tree>/words.words"}, True],
        ),
        "path_hook_with_a_subclass": (
            """
            import tools
            hook = importlib.machinery.FileFinder.path_hook((tools.Loud, [".py"]))
            sys.path_hooks.insert(0, hook)
            sys.path.insert(0, TREE + "/hooked")
            sys.path_importer_cache.clear()
            import quiet
            sys.modules.pop("quiet")
            return [quiet.VALUE, facts(quiet.__spec__), kind(sys.path_importer_cache[TREE + "/hooked"])]
            """,
            ["LOUD", {"loader": "Loud"}, "FileFinder"],
        ),
        "path_hook_with_another_suffix": (
            """
            hook = importlib.machinery.FileFinder.path_hook((importlib.machinery.SourceFileLoader, [".source"]))
            sys.path_hooks.insert(0, hook)
            sys.path.insert(0, TREE + "/sub")
            sys.path_importer_cache.clear()
            import odd
            sys.modules.pop("odd")
            return [odd.VALUE, facts(odd.__spec__)]
            """,
            ["odd", {"loader": "SourceFileLoader", "origin": "<tree>/sub/odd.source"}],
        ),
        "path_hook_that_raises": (
            """
            def hook(path):
                raise OSError("no hook")
            sys.path_hooks.insert(0, hook)
            sys.path_importer_cache.clear()
            return without_importlib(trace(lambda: importlib.import_module("nowhere")))
            """,
            re.compile("OSError: no hook"),
        ),
        "invalidate_caches": (
            """
            import os
            folder = TREE + "/grown"
            os.makedirs(folder, exist_ok=True)
            sys.path.insert(0, folder)
            try:
                import sprout
            except ImportError as error:
                before = str(error)
            stamp = os.stat(folder)
            write("grown/sprout.py", "VALUE = 'green'\\n")
            os.utime(folder, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
            try:
                import sprout
            except ImportError as error:
                between = str(error)
            importlib.invalidate_caches()
            import sprout
            sys.modules.pop("sprout")
            os.unlink(folder + "/sprout.py")
            return [before, between, sprout.VALUE, facts(sprout.__spec__)]
            """,
            ["No module named 'sprout'", "No module named 'sprout'", "green", {"loader": "SourceFileLoader"}],
        ),
        # Loaders of other tools.
        "zip": (
            """
            import zipfile
            with zipfile.ZipFile(TREE + "/bundle.zip", "w") as bundle:
                bundle.writestr("zipped/__init__.py", "VALUE = 1\\n")
                bundle.writestr("zipped/data.txt", "in a zip")
                bundle.writestr("zipped/bad.py", "\\n1 / 0\\n")
            sys.path.insert(0, TREE + "/bundle.zip")
            import zipped, pkgutil
            sys.modules.pop("zipped")
            def action():
                import zipped.bad
            data = pkgutil.get_data("zipped", "data.txt").decode()
            return [zipped.VALUE, facts(zipped.__spec__), data, trace(action)]
            """,
            [1, {"loader": "zipimporter"}, "in a zip", re.compile('(?s)zipped/bad.py", line 2.*1 / 0')],
        ),
        "sourceless": (
            """
            import py_compile
            py_compile.compile(write("made/only.py", "VALUE = 'compiled'\\n"), cfile=TREE + "/made/only.pyc")
            os.unlink(TREE + "/made/only.py")
            sys.path.insert(0, TREE + "/made")
            import only
            sys.modules.pop("only")
            return [only.VALUE, facts(only.__spec__), only.__loader__.get_source("only")]
            """,
            ["compiled", {"loader": "SourcelessFileLoader", "cached": "<tree>/made/only.pyc"}, None],
        ),
        "source_before_sourceless": (
            """
            import py_compile
            py_compile.compile(write("made/twice.py", "VALUE = 'old'\\n"), cfile=TREE + "/made/twice.pyc")
            write("made/twice.py", "VALUE = 'newer'\\n")
            sys.path.insert(0, TREE + "/made")
            import twice
            sys.modules.pop("twice")
            return [twice.VALUE, kind(twice.__loader__)]
            """,
            ["newer", "SourceFileLoader"],
        ),
        "extension": (
            """
            from importlib.machinery import EXTENSION_SUFFIXES
            from pkgutil import iter_modules
            loaders = {
                m.name: importlib.util.find_spec(m.name) for m in iter_modules([p for p in sys.path if "dynload" in p])
                if m.name in ("_ctypes", "_queue", "_json", "_lzma", "_decimal", "_csv", "_elementtree", "_testcapi")
            }
            assert loaders
            return {
                name: [facts(spec), kind(importlib.import_module(name).__loader__)] for name, spec in loaders.items()
            }
            """,
            re.compile('"ExtensionFileLoader"'),
        ),
        "frozen": (
            """
            import __phello__.spam, _frozen_importlib, zipimport
            return [[facts(each.__spec__), kind(each.__loader__)] for each in (__phello__, __phello__.spam, zipimport)]
            """,
            [[{"origin": "frozen"}, "type"], [{"origin": "frozen"}, "type"], [{"origin": "frozen"}, "type"]],
        ),
        "builtin": (
            "import sys, _imp\nreturn [[facts(each.__spec__), each.__loader__.__name__] for each in (sys, _imp)]",
            [[{"origin": "built-in"}, "BuiltinImporter"]] * 2,
        ),
    },
)


@pytest.mark.parametrize("name", BATTERY.names)
def test_finder(name: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Finders, hooks and loaders of other tools are called and respected in the same way."""
    BATTERY.check(tmp_path_factory, name)


LOADER_ABCS = ("Loader", "InspectLoader", "ExecutionLoader", "FileLoader", "SourceLoader", "ResourceLoader")


@pytest.mark.parametrize("name", LOADER_ABCS)
@pytest.mark.filterwarnings("ignore:.*ResourceLoader:DeprecationWarning")
def test_loader_is_what_importlib_abc_asks_for(name: str) -> None:
    """The loader is an instance of the same `importlib.abc` classes as the standard loader, and not abstract."""
    base: type = getattr(importlib.abc, name)
    stock, ours = SourceFileLoader("m", "/m.py"), CachingLoader("m", "/m.py", Policies())
    assert isinstance(stock, base)
    assert isinstance(ours, base)
    assert not getattr(CachingLoader, "__abstractmethods__", ())
    for method in getattr(base, "__abstractmethods__", ()):
        assert callable(getattr(ours, method))


def test_loader_has_the_signatures_of_the_stock_loader() -> None:
    """Each public method of the loader has the standard loader's signature."""
    names = [name for name in dir(SourceFileLoader) if not name.startswith("_")]
    assert {"get_code", "get_source", "exec_module"} <= set(names)
    for name in names:
        ours, stock = (inspect.signature(getattr(kind, name)) for kind in (CachingLoader, SourceFileLoader))
        assert list(ours.parameters) == list(stock.parameters), name


def test_finder_conforms_to_meta_path_finder() -> None:
    """The finder implements `importlib.abc.MetaPathFinder`, called in each permitted way."""

    class Conforming(CachingFinder, importlib.abc.MetaPathFinder):
        pass

    finder = Conforming(Policies())
    assert list(inspect.signature(finder.find_spec).parameters) == ["fullname", "path", "target"]
    for absent in (finder.find_spec("no_such_module"), finder.find_spec("no_such_module", None, sys)):
        assert absent is None
    found = [
        finder.find_spec("json"),
        finder.find_spec("decoder", json.__path__),
        finder.find_spec("json", target=json),
    ]
    assert [spec and spec.name for spec in found] == ["json", "decoder", "json"]
    finder.invalidate_caches()


@pytest.mark.usefixtures("import_state")
def test_finder_stands_in_front_of_the_path_finder(tmp_path: Path) -> None:
    """The installed finder is directly before `PathFinder`, once, until the hook is uninstalled."""
    with pycachehook.install(tmp_path):
        places = [index for index, each in enumerate(sys.meta_path) if isinstance(each, CachingFinder)]
        assert len(places) == 1
        assert sys.meta_path[places[0] + 1] is PathFinder
    assert not any(isinstance(each, CachingFinder) for each in sys.meta_path)


def test_finder_behind_is_asked_twice(python: Python, cache: Path) -> None:
    """For a missing module, a later finder is called by the hook and by Python: a documented deviation."""
    program = """
import sys
class Behind:
    asked = 0
    def find_spec(self, name, path=None, target=None):
        self.asked += name == "nowhere"
sys.meta_path.append(behind := Behind())
try:
    import nowhere
except ModuleNotFoundError:
    print(behind.asked)
"""
    hooked = f"import pycachehook; pycachehook.install({str(cache)!r})"
    assert [python("-c", start + program).stdout for start in ("", hooked)] == ["1\n", "2\n"]
