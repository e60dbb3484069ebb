"""The store of the layout `shared`: names of entries, accepted entries, and sources that are not stored."""

from __future__ import annotations

import builtins
import codecs
import fcntl
import hashlib
import importlib._bootstrap_external as stock
import json
import os
import re
import sys
import time
from importlib.machinery import SourceFileLoader
from importlib.util import MAGIC_NUMBER
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import filelock  # noqa: F401 -- before a hook is installed, which would load it again in every test
import pytest

import pycachehook
import pycachehook.config.rules
import pycachehook.on_miss.compiling
from pycachehook import pyc, runtime
from pycachehook._compat import source_hash, stock_source_to_code
from pycachehook.cli.main import main
from pycachehook.commands import explain
from pycachehook.content_store import Names
from pycachehook.hook import loader as loader_for
from pycachehook.loader import CachingLoader
from pycachehook.on_miss import compiling, single_flight
from pycachehook.on_miss.compiling import declared_encodings
from pycachehook.paths import Layout
from pycachehook.store import DAY
from pycachehook.system import system

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

TEXT = "answer = 42\n"
TAG, LEVEL = sys.implementation.cache_tag, sys.flags.optimize
NAMES = Names(Layout(TAG, LEVEL))
posix = pytest.mark.skipif(os.name != "posix", reason="there are no modes like these here")


class Setting:
    """Sources, a cache with an installed hook, and its counters."""

    def __init__(self, root: Path, cache: Path) -> None:
        self.root, self.cache = root, cache
        self.path = self.write("m.py")
        self.install()

    def install(self, **options: Any) -> None:
        """Install the hook with these options."""
        self.hook = pycachehook.install(self.cache, layout="shared", **{"in_tree": "ignore", **options})

    def write(self, name: str, text: str = TEXT) -> Path:
        """Write a source."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def load(self, path: Path | None = None, loader: CachingLoader | None = None) -> object:
        """Return the first constant of a source's code."""
        path = path or self.path
        loader = loader or loader_for(path.stem, str(path))
        code = loader.get_code(loader.name)
        assert code is not None
        assert code.co_filename == str(path)
        return code.co_consts[0]

    def entry(self, text: str = TEXT) -> Path:
        """Return the path of the entry for a source with this text."""
        return Path(NAMES.entry(str(self.cache), text.encode()))

    def entries(self) -> set[Path]:
        """Return all pycs in the cache."""
        return set(self.cache.rglob("*.pyc"))

    def counted(self) -> tuple[int, dict[str, int], int]:
        """Return hits, misses by reason, and entries stored, since the last call."""
        stats = self.hook.stats
        result = stats.hits, stats.misses, stats.stored
        stats.reset()
        return result


@pytest.fixture
def setting(no_hook: None, tmp_path: Path, cache: Path) -> Setting:
    """Return a source that is not cached yet."""
    return Setting(tmp_path / "tree", cache)


def test_name() -> None:
    """The name of an entry is the digest of a length, the properties of the compilation, and the source."""
    prefix = repr((1, "cpython-399", MAGIC_NUMBER, 2, True)).encode()
    expected = hashlib.blake2b(len(prefix).to_bytes(8, "little") + prefix + b"x = 1\n", digest_size=20).hexdigest()
    names = Names(Layout("cpython-399", 2), columns=True)
    assert names.digest(b"x = 1\n") == expected
    place = f"/cache/.pycachehook/shared/{expected[0]}/{expected[1:3]}/{expected[3:]}.cpython-399.opt-2.pyc"
    assert names.entry("/cache", b"x = 1\n") == names.entry("/cache/", b"x = 1\n") == place


def test_name_where_hashlib_has_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `_blake2` the names are the same."""
    monkeypatch.setitem(sys.modules, "_blake2", None)
    assert Names(Layout(TAG, LEVEL)).digest(b"x") == NAMES.digest(b"x")


def test_name_without_columns(python: Python) -> None:
    """Code without columns (`-X no_debug_ranges`) has different names."""
    program = """
import sys
from pycachehook.content_store import Layout, Names
layout = Layout.current()
print(*(Names(layout, columns=columns).digest(b"") == Names(layout).digest(b"") for columns in (True, False)))
"""
    assert python("-c", program).stdout.split() == ["True", "False"]
    assert python("-X", "no_debug_ranges", "-c", program).stdout.split() == ["False", "True"]


def test_compiled_once(setting: Setting) -> None:
    """A source is compiled and stored once, as a sealed checked-hash pyc; later lookups are hits."""
    assert (setting.load(), setting.counted()) == (42, (0, {"absent": 1}, 1))
    assert (setting.load(), setting.counted()) == (42, (1, {}, 0))
    assert setting.entries() == {setting.entry()}
    data = setting.entry().read_bytes()
    assert pyc.read_header(data) == (3, source_hash(TEXT.encode()))
    assert pyc.is_sealed(data)


def test_same_content_under_two_names(setting: Setting) -> None:
    """Sources with the same content have one entry, and each its own path in the code, inner functions included."""
    text = "def f():\n    def g(): pass\n    return g\n"
    paths = [setting.write(name, text) for name in ("one.py", "other/two.py", "no_suffix")]
    for path in (*paths, *paths):
        code = loader_for("m", str(path)).get_code("m")
        assert code is not None
        namespace: dict[str, Any] = {}
        exec(code, namespace)
        files = {code.co_filename, namespace["f"].__code__.co_filename, namespace["f"]().__code__.co_filename}
        assert files == {str(path)}
    assert setting.counted() == (5, {"absent": 1}, 1)
    assert setting.entries() == {setting.entry(text)}


def test_edited_source(setting: Setting) -> None:
    """An edit makes a new entry; the old one is kept, and used again when the edit is undone."""
    setting.load()
    setting.write("m.py", "answer = 43\n")
    assert setting.load() == 43
    setting.write("m.py")
    assert setting.load() == 42
    assert setting.counted() == (1, {"absent": 2}, 2)
    assert setting.entries() == {setting.entry(), setting.entry("answer = 43\n")}


def test_source_edited_while_it_is_compiled(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry goes by the very bytes that were compiled, whatever the file says by then."""
    compile_it = stock_source_to_code

    def edited_meanwhile(*arguments: Any) -> object:
        setting.write("m.py", "answer = 43\n")
        return compile_it(*arguments)

    monkeypatch.setattr(compiling, "source_to_code", edited_meanwhile)
    assert setting.load() == 42
    monkeypatch.undo()
    assert setting.entries() == {setting.entry()}
    assert setting.load() == 43


def test_source_that_can_be_read_later(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code is stored only if the store knows the bytes that it was compiled from."""

    def fails(path: str, *_: object, **__: object) -> None:
        raise PermissionError(13, "no", path)

    own = FunctionType(
        fails.__code__, {**vars(builtins), "__name__": "pycachehook"}
    )  # otherwise the exception would be the program's
    own.__kwdefaults__ = fails.__kwdefaults__
    monkeypatch.setattr(pycachehook.on_miss.compiling, "read_source", own)
    found = runtime.installed()
    assert found is not None
    store = found.policies.default.store  # type: ignore[union-attr]
    monkeypatch.setattr(store, "_read", own)
    assert (setting.load(), setting.entries()) == (42, set())


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda _: b"", "corrupt"),
        (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "corrupt"),
        (lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:], "corrupt"),
        (lambda data: data[:-16], "corrupt"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:-16], "wrong-magic"),
        (lambda _: pyc.encode(compile("0", "", "exec"), 0, bytes(8), bytes(8)), "other-mode"),
    ],
    ids=["empty", "seal", "body", "no seal", "magic", "timestamp"],
)
def test_bad_entry_is_replaced(damage: Callable[[bytes], bytes], reason: str, setting: Setting) -> None:
    """An entry that is not a sealed checked-hash pyc is a miss with a reason, and is replaced."""
    setting.load()
    data = setting.entry().read_bytes()
    setting.entry().write_bytes(damage(data))
    setting.counted()
    assert (setting.load(), setting.load()) == (42, 42)
    assert setting.counted() == (1, {reason: 1}, 1)
    assert setting.entry().read_bytes() == data


@posix
def test_entry_that_others_may_write_to(setting: Setting) -> None:
    """An entry that others could have written is not used without allow_shared."""
    setting.load()
    setting.entry().chmod(0o666)
    setting.install(read_only=True)
    setting.counted()
    assert (setting.load(), setting.counted()) == (42, (0, {"untrusted": 1}, 0))
    setting.install(read_only=True, allow_shared=True)
    assert (setting.load(), setting.counted()) == (42, (1, {}, 0))


@posix
@pytest.mark.parametrize(("mode", "expected"), [(0o600, 0o600), (0o640, 0o640), (0o666, 0o644), (0o755, 0o644)])
def test_modes(mode: int, expected: int, setting: Setting) -> None:
    """An entry is never more readable than its source, and neither it nor a directory is writable for others."""
    setting.path.chmod(mode)
    umask = os.umask(0)
    try:
        setting.load()
    finally:
        os.umask(umask)
    assert setting.entry().stat().st_mode & 0o777 == expected
    assert {each.stat().st_mode & 0o777 for each in setting.entry().parents[:4]} == {0o755}


def test_entry_that_cannot_be_read(setting: Setting) -> None:
    """Anything but a file with an entry's name is a miss, and the import works."""
    setting.entry().mkdir(parents=True)
    assert setting.load() == 42
    assert setting.counted() == (0, {"io-error": 1}, 0)


def test_read_only(setting: Setting) -> None:
    """A read-only store is read and never written."""
    setting.load()
    other = setting.write("other.py", "answer = 43\n")
    setting.install(read_only=True)
    setting.counted()
    assert (setting.load(), setting.load(other)) == (42, 43)
    assert setting.counted() == (1, {"absent": 1}, 0)
    assert setting.entries() == {setting.entry()}


def test_last_use(setting: Setting) -> None:
    """A hit updates the mtime of an entry that is older than a day, and of no other."""
    setting.load()
    for age, refreshed in ((DAY / 2, False), (2 * DAY, True)):
        then = time.time() - age
        os.utime(setting.entry(), (then, then))
        setting.load()
        assert (setting.entry().stat().st_mtime > then + 1) is refreshed


def test_cached_says_what_cpython_would(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """`spec.cached` is CPython's path under this prefix; the source is not read for it."""
    monkeypatch.syspath_prepend(str(setting.root))
    spec = importlib_find("m")
    assert spec.cached == str(setting.cache) + str(setting.path)[:-2] + f"{TAG}{f'.opt-{LEVEL}' * bool(LEVEL)}.pyc"


def importlib_find(name: str) -> Any:
    """Return a module's spec, asked of the finders."""
    return next(spec for finder in sys.meta_path if (spec := finder.find_spec(name, None)) is not None)


def other_code(*_: object, **__: object) -> object:
    """Simulate a tool that compiles a source into other code."""
    return real_compile("answer = 'other'\n", "m.py", "exec")


real_compile = compile


def on_class(patch: pytest.MonkeyPatch, _: CachingLoader) -> None:
    """Replace the method of the class, as macro expanders do."""
    patch.setattr(SourceFileLoader, "source_to_code", rename(other_code), raising=False)


def on_base(patch: pytest.MonkeyPatch, _: CachingLoader) -> None:
    """Replace the method of the base class that defines it."""
    patch.setattr(stock.SourceLoader, "source_to_code", rename(other_code))


def on_ours(patch: pytest.MonkeyPatch, _: CachingLoader) -> None:
    """Replace the method of pycachehook's loader class."""
    patch.setattr(CachingLoader, "source_to_code", rename(other_code), raising=False)


def on_loader(patch: pytest.MonkeyPatch, loader: CachingLoader) -> None:
    """Replace the method of one loader object."""
    patch.setattr(loader, "source_to_code", rename(other_code), raising=False)


def on_builtins(patch: pytest.MonkeyPatch, _: CachingLoader) -> None:
    """Replace `builtins.compile`, which all of these call."""
    patch.setattr(builtins, "compile", rename(other_code))


def on_globals(patch: pytest.MonkeyPatch, _: CachingLoader) -> None:
    """Define a global that hides the builtin."""
    patch.setattr(stock, "compile", rename(other_code), raising=False)


def in_place(patch: pytest.MonkeyPatch, _: CachingLoader) -> None:
    """Replace the code object of the function."""
    function = vars(stock.SourceLoader)["source_to_code"]

    def source_to_code(self: object, data: object, path: str, *more: object, **_: object) -> object:
        return compile("answer = 'other'\n", path, "exec")

    patch.setattr(function, "__code__", source_to_code.__code__)


def rename(function: Any) -> FunctionType:
    """Return a function that returns the code which the source's path requires."""

    def changed(*arguments: Any, **more: Any) -> object:
        path = next(str(each) for each in arguments if str(each).endswith(".py"))
        return function(*arguments, **more).replace(co_filename=path)

    return changed  # type: ignore[return-value]


@pytest.mark.parametrize("patched", [on_class, on_base, on_ours, on_loader, on_builtins, on_globals, in_place])
def test_patched_compilation(
    patched: Callable[[pytest.MonkeyPatch, CachingLoader], None], setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a tool has replaced a compilation step, the store is neither read nor written, and commands say why."""
    setting.load()
    new = setting.write("new.py", "answer = 43\n")
    setting.counted()
    known, unknown = (loader_for(path.stem, str(path)) for path in (setting.path, new))
    with monkeypatch.context() as patch:
        patched(patch, known)
        assert setting.load(loader=known) == "other"
        assert setting.counted() == (0, {"other-mode": 1}, 0)
    with monkeypatch.context() as patch:
        patched(patch, unknown)
        assert setting.load(new, unknown) == "other"
        assert setting.counted() == (0, {"other-mode": 1}, 0)
    assert setting.entries() == {setting.entry()}
    assert (setting.load(), setting.load(new)) == (42, 43)
    assert setting.counted() == (1, {"absent": 1}, 1)


def test_patched_while_it_waits(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that another thread replaces during the wait for a lock is called, and nothing is stored."""
    folder = setting.cache / ".pycachehook" / "locks"
    folder.mkdir(parents=True)
    files = [(folder / f"{number:02x}").open("ab") for number in range(single_flight.LOCKS)]
    for file in files:
        fcntl.flock(file, fcntl.LOCK_EX)

    def instead_of_sleeping(_: float) -> None:
        on_class(monkeypatch, loader_for("m", "m.py"))
        for file in files:
            file.close()

    monkeypatch.setattr(system, "sleep", instead_of_sleeping)
    assert (setting.load(), setting.entries()) == ("other", set())
    assert setting.counted() == (0, {"other-mode": 1}, 0)


def test_patched_and_put_back_while_it_compiles(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that is replaced for a moment during a compilation has no part in the code that is stored."""
    compile_it = stock_source_to_code

    def patched_meanwhile(*arguments: Any) -> object:
        with monkeypatch.context() as patch:
            on_class(patch, loader_for("m", "m.py"))
            on_builtins(patch, loader_for("m", "m.py"))
            return compile_it(*arguments)

    monkeypatch.setattr(compiling, "source_to_code", patched_meanwhile)
    assert setting.load() == 42
    monkeypatch.undo()
    assert (setting.load(), setting.entries()) == (42, {setting.entry()})


def test_patched_before_we_came(python: Python, cache: Path, tmp_path: Path) -> None:
    """A tool that was installed before pycachehook is detected, too."""
    tmp_path.joinpath("m.py").write_text(TEXT)
    program = f"""
import json
from importlib.machinery import SourceFileLoader
before = SourceFileLoader.source_to_code
SourceFileLoader.source_to_code = lambda *arguments: before(*arguments)
import pycachehook
hook = pycachehook.install({str(cache)!r}, layout="shared")
json.dumps
hook.stats.reset()
import m; m
print(json.dumps([hook.stats.misses, hook.stats.stored]))
"""
    said = json.loads(python("-c", program, PYTHONPATH=str(tmp_path)).stdout)
    assert said == [{"other-mode": 1}, 0]
    assert not list(cache.rglob("*.pyc"))


def test_patched_compilation_leaves_shipped_bytecode(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pyc in the source tree is not read then, because it is the plain compilation."""
    setting.install(in_tree="read")
    sys.pycache_prefix = None
    import py_compile

    py_compile.compile(str(setting.path), doraise=True)
    setting.counted()
    with monkeypatch.context() as patch:
        on_class(patch, loader_for("m", "m.py"))
        assert setting.load() == "other"
    assert setting.hook.stats.hits_by_place["in_tree"] == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"x = 1\n", []),
        (b"# -*- coding: utf-8 -*-\n", ["utf-8"]),
        (b"#!/bin/sh\r# vim: set fileencoding=latin-1 :\n", ["latin-1"]),
        (b"\n#coding=pyxl", ["pyxl"]),
        (b"\n\n# coding: late\n", []),
        (b"# encoding coding:\t a.b_c\n", ["a.b_c"]),
        (b"\xef\xbb\xbf# coding: utf8\n# coding: other\n", ["utf8", "other"]),
    ],
)
def test_declared_encodings(text: bytes, expected: list[str]) -> None:
    """The encodings in the first two lines are found, at least those that CPython finds."""
    assert declared_encodings(text) == expected


@pytest.mark.parametrize(("name", "stored"), [("utf-8", 1), ("Latin_1", 1), ("shouting", 0)])
def test_encodings(name: str, stored: int, setting: Setting) -> None:
    """A source with a package's codec is not stored, because its bytes do not determine the code."""
    utf_8 = codecs.lookup("utf-8")

    def search(name: str) -> codecs.CodecInfo | None:
        if name != "shouting":
            return None
        return codecs.CodecInfo(
            utf_8.encode, lambda data, _="": ("answer = 42\n", len(data)), utf_8.streamreader, utf_8.streamwriter
        )

    path = setting.write("encoded.py", f"# coding: {name}\nanswer = {'4' * bool(stored)}2\n")
    codecs.register(search)
    codecs.lookup(name)  # may load a module
    setting.counted()
    try:
        assert setting.load(path) == 42
        assert setting.counted() == (0, {"absent": 1}, stored)
        found = explain.explain(*on_path(path))
    finally:
        codecs.unregister(search)
    refused = "compiled, not stored: its encoding 'shouting' is not one of Python's own"
    assert found["outcome"] == ("loaded from store" if stored else refused)


def on_path(path: Path) -> tuple[str]:
    """Make a source importable, and return its module's name."""
    sys.path.insert(0, str(path.parent))
    return (path.stem,)


@pytest.mark.alone
def test_explain(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    """`explain` shows the path of the entry, and why it is not used."""
    on_path(setting.path)
    found = explain.explain("m")
    assert (found["places"][0]["path"], found["places"][0]["verdict"]) == (str(setting.entry()), "absent")
    assert found["outcome"] == "compiled and stored"
    setting.load()
    assert explain.explain("m")["outcome"] == "loaded from store"
    with monkeypatch.context() as patch:
        on_class(patch, loader_for("m", "m.py"))
        found = explain.explain("m")
        (place,) = found["places"]
        assert (place["path"], place["verdict"]) == (str(setting.entry()), "other-mode")
        assert place["detail"].startswith("a tool has replaced 'source_to_code'")
        assert found["outcome"].startswith("compiled, and neither read nor stored: a tool has replaced")
    pycachehook.uninstall()
    monkeypatch.setenv("PYCACHEHOOK_LAYOUT", "shared")
    monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", str(setting.root / "none"))
    missing = explain.explain("m")["places"][0]["path"]
    assert missing == NAMES.entry(str(setting.root / "none"), TEXT.encode())


@pytest.mark.parametrize("rule", ["", '[{match = "*/m.py", layout = "shared"}]'])
def test_inspect(rule: str, setting: Setting, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """`inspect` shows a module's shared entry, under the rule for it, and compares it with the module's own source."""
    setting.load(setting.write("other.py"))
    on_path(setting.path)
    monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", str(setting.cache))
    monkeypatch.setenv(*(("PYCACHEHOOK_RULES", rule) if rule else ("PYCACHEHOOK_LAYOUT", "shared")))
    pycachehook.uninstall()
    assert main(["inspect", "m", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["path"] == str(setting.entry())
    assert (found["source"], found["source_state"], found["seal"]) == (str(setting.path), "same", "holds")
    assert main(["inspect", str(setting.entry()), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["source"] == str(setting.root / "other.py")


def test_rules_mix_layouts(setting: Setting) -> None:
    """A rule may give some sources the other layout and another cache directory."""
    other = setting.cache.with_name("other-cache")
    rules = [
        {"match": "*/mirrored/*", "layout": "mirror", "invalidation_mode": "unchecked-hash"},
        {"match": "*/elsewhere/*", "cache_dir": str(other)},
    ]
    setting.install(rules=rules)
    mirrored, elsewhere = setting.write("mirrored/m.py"), setting.write("elsewhere/m.py")
    for path in (setting.path, mirrored, elsewhere):
        assert (setting.load(path), setting.load(path)) == (42, 42)
    assert setting.counted() == (3, {"absent": 3}, 3)
    (name,) = (Path(Layout(TAG, LEVEL).mirrored(str(setting.cache), str(mirrored))),)
    assert setting.entries() == {setting.entry(), name}
    assert set(other.rglob("*.pyc")) == {other / setting.entry().relative_to(setting.cache)}


def test_start_up(python: Python, cache: Path) -> None:
    """The layout loads one more module of this package, but neither `hashlib` nor its dependencies."""
    program = f"""
import sys
import pycachehook
pycachehook.install({str(cache)!r}, layout="LAYOUT")
print(*sorted(name for name in sys.modules if name.startswith(("pycachehook", "hashlib", "_hashlib", "_blake2"))))
"""
    with_it, without = (
        set(python("-c", program.replace("LAYOUT", name)).stdout.split()) for name in ("shared", "mirror")
    )
    assert with_it - without == {"pycachehook.content_store"}


def test_names_of_directories(setting: Setting) -> None:
    """Entries are distributed over 16 directories with 256 subdirectories."""
    for number in range(200):
        setting.load(setting.write(f"m{number}.py", f"answer = {number}\n"))
    own = setting.cache / ".pycachehook" / "shared"
    places = {str(entry.relative_to(own)) for entry in setting.entries()}
    assert len(places) == 200
    assert all(re.fullmatch(r"[0-9a-f]/[0-9a-f]{2}/[0-9a-f]{37}\.[^/]+\.pyc", place) for place in places)
    assert len({place[0] for place in places}) == 16


def test_what_a_hit_costs(python: Python, cache: Path, tmp_path: Path) -> None:
    """A hit reads source and entry once, and computes one digest and no hash of the source."""
    tmp_path.joinpath("m.py").write_text(TEXT)
    program = f"""
import json, sys; json.dumps
import pycachehook, pycachehook.on_miss.compiling, pycachehook.pyc, pycachehook.content_store
pycachehook.on_miss.compiling, pycachehook.pyc, pycachehook.content_store  # lazy imports are resolved here
hook = pycachehook.install({str(cache)!r}, layout="shared")
made = []
digest = pycachehook.content_store.Names.digest
pycachehook.content_store.Names.digest = lambda names, source: made.append("digest") or digest(names, source)
siphash = pycachehook.pyc.siphash
def counting(key, data):
    if bytes(data) == {TEXT.encode()!r}:
        made.append("siphash")
    return siphash(key, data)
pycachehook.pyc.siphash = pycachehook.on_miss.compiling.siphash = counting
sys.addaudithook(lambda event, arguments: made.append(arguments[0]) if event == "open" else None)
import m; m
print(json.dumps(made))
"""
    python("-c", program, PYTHONPATH=str(tmp_path))
    made = json.loads(python("-c", program, PYTHONPATH=str(tmp_path)).stdout)
    assert made == [str(tmp_path / "m.py"), "digest", NAMES.entry(str(cache), TEXT.encode())]
