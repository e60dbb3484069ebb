"""The loader: `get_code` from the first place with a valid entry, everything else as in the standard loader."""

from __future__ import annotations

import copy
import pickle
import py_compile
import shutil
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pycachehook
import pycachehook.on_miss.compiling
from pycachehook import pyc
from pycachehook.cache_dir import CacheDir
from pycachehook.events import Stats
from pycachehook.loader import CachingLoader, Policies, Policy
from pycachehook.on_miss import compiling
from pycachehook.paths import Layout
from pycachehook.store import InTree, Store

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import CodeType

    from conftest import Python

TEXT = "answer = 42\n"
LAYOUT = Layout(sys.implementation.cache_tag, sys.flags.optimize)


@pytest.fixture(autouse=True)
def _writing(import_state: None) -> None:
    """Let Python write bytecode and search its usual paths, whatever the environment of the tests is."""
    sys.dont_write_bytecode = False
    sys.pycache_prefix = None


class Setting:
    """A source, a cache, and loaders for them."""

    def __init__(self, path: Path, cache: Path) -> None:
        self.path, self.cache = path, cache
        self.stats = Stats()
        self.policies = Policies()
        self.open()

    def open(self, mode: str = "checked-hash", **options: bool) -> Store:
        """Install a new policy: the cache directory first, then the source's own pyc."""
        self.store = Store(CacheDir(str(self.cache), **options), LAYOUT, mode)
        self.policies.replace(Policy((self.store, InTree(LAYOUT)), self.store, self.stats))
        return self.store

    def loader(self) -> CachingLoader:
        """Return a loader for the source."""
        return CachingLoader("m", str(self.path), self.policies)

    def load(self) -> object:
        """Return the first constant of the module's code."""
        code = self.loader().get_code("m")
        assert code is not None
        assert code.co_filename == str(self.path)
        return code.co_consts[0]

    @property
    def entry(self) -> Path:
        """The path of the entry."""
        return Path(LAYOUT.mirrored(str(self.cache), str(self.path)))

    def counted(self) -> tuple[dict[str, int], dict[str, int], int]:
        """Return hits by place, misses by reason, and entries stored, since the last call."""
        hits = {place: count for place, count in self.stats.hits_by_place.items() if count}
        result = hits, self.stats.misses, self.stats.stored
        self.stats.reset()
        return result


@pytest.fixture
def setting(tmp_path: Path, cache: Path) -> Setting:
    """Return a source that is not cached yet."""
    path = tmp_path / "tree" / "m.py"
    path.parent.mkdir()
    path.write_text(TEXT, encoding="utf-8")
    return Setting(path, cache)


@pytest.mark.parametrize("mode", ["checked-hash", "unchecked-hash", "timestamp"])
def test_compiled_once(mode: str, setting: Setting) -> None:
    """A source is compiled and stored once; later lookups are hits in the store."""
    setting.open(mode)
    assert setting.load() == 42
    assert setting.counted() == ({}, {"absent": 1}, 1)
    assert pyc.read_header(setting.entry.read_bytes())[0] == pyc.FLAGS[mode]
    assert setting.load() == 42
    assert setting.counted() == ({"store": 1}, {}, 0)
    assert list(setting.path.parent.iterdir()) == [setting.path]


def test_changed_source(setting: Setting) -> None:
    """A changed source is compiled again, and its entry is replaced."""
    setting.load()
    setting.path.write_text("answer = 43\n", encoding="utf-8")
    assert (setting.load(), setting.load()) == (43, 43)
    assert setting.counted() == ({"store": 1}, {"absent": 1, "stale-source": 1}, 2)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: b"", "corrupt"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "corrupt"),
        (lambda data: data[:4] + bytes(4) + data[8 : -pyc.SEAL_SIZE], "other-mode"),
        (lambda data: bytes([data[0] ^ 1]) + data[1 : -pyc.SEAL_SIZE], "wrong-magic"),
    ],
    ids=["empty", "seal", "timestamp", "magic"],
)
@pytest.mark.parametrize("shipped", [False, True], ids=["alone", "with a pyc in the tree"])
def test_bad_entry_is_replaced(damage: Callable[[bytes], bytes], reason: str, shipped: bool, setting: Setting) -> None:
    """A bad entry is a miss with its reason, is replaced even if the tree has a good pyc, and is a hit afterwards."""
    setting.load()
    whole = setting.entry.read_bytes()
    setting.entry.write_bytes(damage(whole))
    if shipped:
        py_compile.compile(str(setting.path), doraise=True)
    setting.counted()
    assert setting.load() == 42
    assert setting.counted() == ({}, {reason: 1}, 1)
    assert pyc.read_header(setting.entry.read_bytes()) == pyc.read_header(whole)
    assert (setting.load(), setting.counted()) == (42, ({"store": 1}, {}, 0))


def test_shipped_bytecode(setting: Setting) -> None:
    """A valid pyc in the source tree is a hit, and is not stored again."""
    py_compile.compile(str(setting.path), doraise=True)
    assert (setting.load(), setting.counted()) == (42, ({"in_tree": 1}, {}, 0))
    assert not setting.entry.exists()


def test_read_only_store(setting: Setting) -> None:
    """A store that is not writable is read; a missing entry is compiled and not stored."""
    setting.load()
    setting.counted()
    setting.open(read_only=True)
    assert (setting.load(), setting.counted()) == (42, ({"store": 1}, {}, 0))
    setting.entry.unlink()
    assert (setting.load(), setting.counted()) == (42, ({}, {"absent": 1}, 0))
    setting.entry.write_bytes(b"")
    assert (setting.load(), setting.counted()) == (42, ({}, {"corrupt": 1}, 0))
    py_compile.compile(str(setting.path), doraise=True)
    assert (setting.load(), setting.counted()) == (42, ({"in_tree": 1}, {}, 0))
    assert setting.entry.read_bytes() == b""


def test_cache_removed_while_in_use(setting: Setting) -> None:
    """A cache directory that is removed while in use is created again for the next entry."""
    setting.load()
    shutil.rmtree(setting.cache)
    assert setting.load() == 42
    assert setting.counted() == ({}, {"absent": 2}, 2)
    assert setting.entry.exists()


def test_entry_that_cannot_be_written(setting: Setting) -> None:
    """If an entry cannot be written, the module is compiled and the fault is counted."""
    setting.entry.mkdir(parents=True)
    assert (setting.load(), setting.stats.errors) == (42, 1)
    assert setting.counted() == ({}, {"io-error": 1}, 0)
    assert list(setting.entry.parent.iterdir()) == [setting.entry]


BROKEN = {
    "syntax": b"answer = (\n",
    "indentation": b"if 1:\nx\n",
    "null": b"answer = \0\n",
    "encoding": b"answer = '\xff'\n",
    "unknown encoding": b"# coding: nonesuch\n",
    "missing": None,
}


@pytest.mark.parametrize("broken", BROKEN)
def test_raises_what_the_stock_loader_raises(broken: str, setting: Setting) -> None:
    """A source that is missing or does not compile raises what it raises without a cache; nothing is stored."""
    content = BROKEN[broken]
    if content is None:
        setting.path.unlink()
    else:
        setting.path.write_bytes(content)
    raised = []
    for loader in (SourceFileLoader("m", str(setting.path)), setting.loader()):
        with pytest.raises((SyntaxError, ValueError, OSError)) as caught:
            loader.get_code("m")
        error = caught.value
        raised.append(
            (type(error), str(error), {name: getattr(error, name, None) for name in ("filename", "lineno", "text")})
        )
    assert raised[0] == raised[1]
    assert not setting.entry.exists()


@pytest.mark.parametrize("name", ["other", ""])
def test_another_modules_name(name: str, setting: Setting) -> None:
    """Asking for the code of another module is an ImportError, as with the standard loader."""
    raised = []
    for loader in (SourceFileLoader("m", str(setting.path)), setting.loader()):
        with pytest.raises(ImportError) as caught:
            loader.get_code(name)
        raised.append((str(caught.value), caught.value.name))
    assert raised[0] == raised[1]


def test_without_a_policy_it_is_the_stock_loader(setting: Setting) -> None:
    """A loader that outlives the hook acts as the standard loader, with the pyc in the source tree."""
    loader = setting.loader()
    setting.policies.replace(None)
    code = loader.get_code("m")
    assert code is not None
    assert code.co_consts[0] == 42
    assert [each.name for each in (setting.path.parent / "__pycache__").iterdir()] == [LAYOUT.entry_name("m.py")]
    assert setting.stats.as_dict() == Stats().as_dict()
    assert not setting.entry.exists()


def test_first_matching_rule_wins(setting: Setting) -> None:
    """The first rule that matches a path decides, even that it is not cached; otherwise the default does."""
    first, second = Policy((), None, setting.stats), Policy((), None, setting.stats)
    rules = ((lambda path: "a" in path, first), (lambda path: "b" in path, None), (lambda _: True, second))
    policies = Policies()
    policies.replace(setting.policies.default, rules)
    assert [policies.of(path) for path in ("ab", "b", "c")] == [first, None, second]
    policies.replace(setting.policies.default)
    assert policies.of("ab") is setting.policies.default


def test_overrides_get_code_and_path_stats_and_no_more() -> None:
    """`get_code` and `path_stats` are the only public methods that the loader overrides."""
    assert issubclass(CachingLoader, SourceFileLoader)
    assert [name for name in vars(CachingLoader) if not name.startswith("_")] == ["get_code", "path_stats"]


@pytest.mark.parametrize("duplicate", [lambda loader: pickle.loads(pickle.dumps(loader)), copy.copy, copy.deepcopy])
def test_pickles_as_a_stock_loader(duplicate: Callable[[CachingLoader], object], setting: Setting) -> None:
    """A pickled or copied loader becomes a standard loader, which does not need this package."""
    loader = duplicate(setting.loader())
    assert type(loader) is SourceFileLoader
    assert (loader.name, loader.path) == ("m", str(setting.path))


def test_compiles_by_source_to_code(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a tool has replaced `source_to_code`, it is called every time, and nothing is stored."""

    def source_to_code(loader: object, data: bytes, path: str, *more: str) -> CodeType:
        code: CodeType = compile(data.replace(b"42", b"99"), path, "exec", dont_inherit=True)
        return code

    monkeypatch.setattr(SourceFileLoader, "source_to_code", source_to_code)
    assert (setting.load(), setting.load()) == (99, 99)
    assert setting.counted() == ({}, {"other-mode": 2}, 0)


def test_code_that_cannot_be_stored(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code with a constant that marshal cannot write is used but not stored."""
    constant = object()

    def source_to_code(loader: object, data: bytes, path: str, *more: str) -> CodeType:
        code: CodeType = compile(data, path, "exec", dont_inherit=True)
        return code.replace(co_consts=(constant, *code.co_consts[1:]))

    monkeypatch.setattr(compiling, "source_to_code", lambda data, path, _: source_to_code(None, data, path))
    assert setting.load() is constant
    assert setting.counted() == ({}, {"absent": 1}, 0)
    assert not setting.entry.exists()


FAILING = """
import sys, pycachehook
hook = pycachehook.install(sys.argv[1])
if sys.argv[2] == "stock":
    hook.uninstall()
import {name}
{name}  # a lazy import is resolved here
"""


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("raising", "def f():\n    raise ValueError('wrong')\nf()\n"),
        ("broken", "x = (\n"),
        ("needing", "import nonesuch\nnonesuch\n"),
    ],
)
def test_tracebacks_are_those_without_the_hook(
    name: str, text: str, tree: Callable[[Mapping[str, str]], Path], cache: Path, python: Python
) -> None:
    """A failing import shows the same traceback as without the hook, compiled or from the cache."""
    script = tree({f"{name}.py": text, "main.py": FAILING.format(name=name)}) / "main.py"
    first, second, stock = (python(script, cache, how, check=False).stderr for how in ("ours", "ours", "stock"))
    assert f'{name}.py", line' in stock
    assert [first, second] == [stock, stock]


def test_package_removed_while_in_use(tmp_path: Path, cache: Path, python: Python) -> None:
    """Imports work after this package has been uninstalled under a running process, as pip does to itself."""
    shutil.copytree(Path(pycachehook.__file__).parent, tmp_path / "site" / "pycachehook")
    (tmp_path / "site" / "lazy.py").write_text("print('imported')\n", encoding="utf-8")
    program = """
import shutil, sys
sys.path.insert(0, sys.argv[1])
import pycachehook
pycachehook.install(sys.argv[2])
shutil.rmtree(sys.argv[1] + "/pycachehook")
sys.path_importer_cache.clear()
import lazy
lazy  # a lazy import (PEP 810) is resolved here
"""
    assert python("-c", program, tmp_path / "site", cache).stdout == "imported\n"
