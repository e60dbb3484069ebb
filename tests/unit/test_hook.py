"""Install and uninstall: changes of `sys`, their restoration, and what the hook reports."""

from __future__ import annotations

import contextlib
import copy
import importlib
import inspect
import os
import pickle
import py_compile
import sys
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import filelock  # noqa: F401 -- before a hook is installed, which would count it
import pytest

import pycachehook
import pycachehook.config.resolution
import pycachehook.config.rules
import pycachehook.hook  # before a test removes PathFinder
import pycachehook.on_miss.compiling
import pycachehook.stats_log
from pycachehook import runtime
from pycachehook.config import resolution
from pycachehook.config.options import ALIASES
from pycachehook.errors import CacheDirError, ConfigError
from pycachehook.finder import CachingFinder
from pycachehook.hook import loader as loader_for
from pycachehook.loader import CachingLoader
from pycachehook.paths import default_cache_dir
from pycachehook.runtime import start_up

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Python


pytestmark = [pytest.mark.usefixtures("no_hook"), pytest.mark.alone]


def finders() -> int:
    """Return the number of pycachehook's finders in `sys.meta_path`."""
    return sum(type(finder) is CachingFinder for finder in sys.meta_path)


def _installed() -> runtime.Runtime:
    """Return the installed runtime."""
    found = runtime.installed()
    assert found is not None
    return found


def interpreter() -> tuple[list[object], str | None, bool]:
    """Return the attributes of `sys` that an installation changes."""
    return list(sys.meta_path), sys.pycache_prefix, sys.dont_write_bytecode


def test_install_and_uninstall(cache: Path) -> None:
    """Installing inserts the finder before PathFinder and sets the prefix; uninstalling restores both."""
    before = interpreter()
    hook = pycachehook.install(cache)
    assert (hook.status, hook.reason) == ("writable", None)
    assert pycachehook.active() is hook
    place = next(index for index, finder in enumerate(sys.meta_path) if type(finder) is CachingFinder)
    assert sys.meta_path[place + 1] is PathFinder
    assert (sys.pycache_prefix, sys.dont_write_bytecode) == (str(cache), False)
    assert hook.options is not None
    assert (hook.options.cache_dir, hook.options.origin("cache_dir")) == (str(cache), "keyword")
    for uninstall in (hook.uninstall, hook.uninstall, pycachehook.uninstall):
        uninstall()
        assert (interpreter(), pycachehook.active()) == (before, None)
    assert (hook.status, hook.reason) == ("disabled", "Not installed.")


def test_modules_load_through_the_cache(cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """While the hook is installed, modules get its loader and are stored; their loaders stay usable afterwards."""
    sys.path.insert(0, str(tree({"first_one.py": "", "second_one.py": "answer = 42\n"})))
    with pycachehook.install(cache) as hook:
        module = importlib.import_module("first_one")
        assert type(module.__loader__) is CachingLoader
        assert (hook.stats.compiled, hook.stats.stored) == (1, 1)
        loader = loader_for("second_one", f"{sys.path[0]}/second_one.py")
    assert type(importlib.import_module("second_one").__loader__) is SourceFileLoader
    importlib.reload(module)
    code = loader.get_code("second_one")
    assert code is not None
    assert hook.stats.compiled == 1
    assert [path.name.partition(".")[0] for path in cache.rglob("*_one.*.pyc")] == ["first_one"]


class Wrapper:
    """A finder that a tool has put in place of another one."""

    def __init__(self, finder: Any) -> None:
        self._finder = finder

    def find_spec(self, *arguments: Any) -> Any:
        """Return the finder's own result."""
        return self._finder.find_spec(*arguments)


def test_position_with_wrapped_finders(cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """If a tool has wrapped PathFinder, the finder precedes it, and so has an effect."""
    sys.path.insert(0, str(tree({"behind_wrapper.py": "", "after_wrapping.py": ""})))
    sys.meta_path[:] = [Wrapper(finder) for finder in sys.meta_path]
    pycachehook.install(cache)
    assert type(importlib.import_module("behind_wrapper").__loader__) is CachingLoader
    sys.meta_path[:] = [Wrapper(finder) for finder in sys.meta_path]
    assert type(importlib.import_module("after_wrapping").__loader__) is CachingLoader


def test_install_again_replaces_in_place(cache: Path, tmp_path: Path) -> None:
    """A second installation changes the options of the same hook; uninstalling restores the first state of `sys`."""
    before = interpreter()
    hook = pycachehook.install(cache, read_only=True)
    path = list(sys.meta_path)
    loader = loader_for("m", "/m.py")
    assert pycachehook.install(tmp_path / "other") is hook
    assert (list(sys.meta_path), finders(), sys.pycache_prefix) == (path, 1, str(tmp_path / "other"))
    assert hook.status == "writable"
    assert hook.options is not None
    assert hook.options.chosen() == {"cache_dir": str(tmp_path / "other")}
    assert loader.__reduce__()[0] is SourceFileLoader
    hook.uninstall()
    assert interpreter() == before


def test_install_again_with_the_same_options(cache: Path) -> None:
    """Installing twice with the same options changes nothing."""
    pycachehook.install(cache)
    state = interpreter()
    pycachehook.install(cache)
    assert interpreter() == state


@pytest.mark.parametrize("found", [None, "/found"])
def test_prefix_that_was_there(found: str | None, cache: Path) -> None:
    """A previous prefix is restored, and is the default cache directory in between, if it is set."""
    sys.pycache_prefix = found
    hook = pycachehook.install(cache)
    assert sys.pycache_prefix == str(cache)
    assert _installed().original_prefix() == found
    pycachehook.install(read_only=True)
    assert hook.options is not None
    assert hook.options.origin("cache_dir") == ("PYTHONPYCACHEPREFIX" if found else "default")
    assert hook.options.cache_dir == (found or default_cache_dir())
    hook.uninstall()
    assert sys.pycache_prefix == found


def test_prefix_that_the_program_has_set_since(cache: Path) -> None:
    """A prefix that the program sets while the hook is installed is kept."""
    hook = pycachehook.install(cache)
    sys.pycache_prefix = "/the/program's"
    assert _installed().original_prefix() == "/the/program's"
    hook.uninstall()
    assert sys.pycache_prefix == "/the/program's"


def test_context_managers_nest(tmp_path: Path) -> None:
    """Leaving a `with` restores the previous installation, or none."""
    before = interpreter()
    with pycachehook.install(tmp_path / "outer", in_tree="ignore") as outer:
        state = interpreter()
        with pycachehook.install(tmp_path / "middle") as middle:
            with pycachehook.install(tmp_path / "inner", read_only=True) as inner:
                assert outer is middle is inner
                assert interpreter()[1] is None
                assert inner.status == "disabled"
            assert (interpreter()[1], middle.status) == (str(tmp_path / "middle"), "writable")
        assert interpreter() == state
        assert outer.options is not None
        assert outer.options.chosen() == {"cache_dir": str(tmp_path / "outer"), "in_tree": "ignore"}
    assert (interpreter(), pycachehook.active()) == (before, None)


def test_context_manager_after_a_plain_installation(tmp_path: Path) -> None:
    """A `with` inside an installation restores it, even after an exception."""
    pycachehook.install(tmp_path / "outer")
    state = interpreter()
    with pytest.raises(KeyError), pycachehook.install(tmp_path / "inner"):
        raise KeyError
    assert interpreter() == state


def test_uninstalled_inside_a_with(cache: Path) -> None:
    """After an uninstallation inside a `with`, leaving the block installs nothing."""
    before = interpreter()
    with pycachehook.install(cache), pycachehook.install(cache, read_only=True):
        pycachehook.uninstall()
    assert (interpreter(), pycachehook.active()) == (before, None)


def test_uninstall_without_a_hook() -> None:
    """Uninstalling without an installed hook does nothing."""
    before = interpreter()
    pycachehook.uninstall()
    assert interpreter() == before


@pytest.mark.parametrize("value", ["1", "true", "anything"])
def test_kill_switch(value: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under PYCACHEHOOK_DISABLE nothing is installed or written, and the hook says why."""
    before = interpreter()
    monkeypatch.setenv("PYCACHEHOOK_DISABLE", value)
    hook = pycachehook.install(cache, strict=True, force_write=True)
    assert (hook.status, hook.reason) == ("disabled", "PYCACHEHOOK_DISABLE is set.")
    assert (interpreter(), pycachehook.active(), hook.options) == (before, None, None)
    assert not cache.exists()
    with hook:
        pass
    hook.uninstall()
    assert interpreter() == before


@pytest.mark.parametrize("value", ["", "0", "false", "No", "off"])
def test_kill_switch_that_is_off(value: str, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYCACHEHOOK_DISABLE with a value for "no" disables nothing."""
    monkeypatch.setenv("PYCACHEHOOK_DISABLE", value)
    assert pycachehook.install(cache).status == "writable"


def missing_below_a_file(path: Path) -> dict[str, object]:
    """Return the path of a directory below a file."""
    path.touch()
    return {"cache_dir": path / "cache"}


def a_file(path: Path) -> dict[str, object]:
    """Return the path of a file."""
    path.touch()
    return {"cache_dir": path}


def everybodys(path: Path) -> dict[str, object]:
    """Return the path of a directory that everybody may write to."""
    path.mkdir()
    path.chmod(0o777)
    return {"cache_dir": path}


DISABLED: list[tuple[Callable[[Path], dict[str, Any]], str]] = [
    (missing_below_a_file, "is not in a directory"),
    (a_file, "is not a directory"),
    (everybodys, "is writable by everybody"),
    (lambda path: {"cache_dir": path, "read_only": True}, "does not exist, and read_only is set"),
]


@pytest.mark.parametrize(("make", "reason"), DISABLED, ids=["below a file", "file", "everybody's", "missing"])
def test_disabled(
    make: Callable[[Path], dict[str, Any]], reason: str, tmp_path: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """In a faulty environment installing raises nothing; imports work, and nothing is written."""
    before = interpreter()
    hook = pycachehook.install(**make(tmp_path / "wrong"))
    assert hook.status == "disabled"
    assert hook.reason is not None
    assert reason in hook.reason
    assert (sys.pycache_prefix, sys.dont_write_bytecode) == (None, True)
    sys.path.insert(0, str(tree({"some_module.py": "answer = 42\n"})))
    assert importlib.import_module("some_module").answer == 42
    assert not list(tmp_path.rglob("*.pyc"))
    hook.uninstall()
    assert interpreter() == before


@pytest.mark.parametrize(("make", "reason"), DISABLED, ids=["below a file", "file", "everybody's", "missing"])
@pytest.mark.parametrize("installed", [False, True])
def test_strict(
    make: Callable[[Path], dict[str, Any]], reason: str, installed: bool, cache: Path, tmp_path: Path
) -> None:
    """Under strict a faulty environment raises CacheDirError, and the previous installation stays."""
    if installed:
        pycachehook.install(cache)
    state, active = interpreter(), pycachehook.active()
    with pytest.raises(CacheDirError, match=reason):
        pycachehook.install(**make(tmp_path / "wrong"), strict=True)
    assert (interpreter(), pycachehook.active()) == (state, active)


def test_strict_where_nothing_is_wrong(cache: Path) -> None:
    """Under strict a sound environment raises nothing."""
    assert pycachehook.install(cache, strict=True).status == "writable"


def test_read_only(cache: Path) -> None:
    """In read-only mode the cache is read and the prefix is set; the reason names the option."""
    cache.mkdir()
    hook = pycachehook.install(cache, read_only=True)
    assert (hook.status, hook.reason) == ("read-only", "read_only is set.")
    assert sys.pycache_prefix == str(cache)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("force_write", [False, True])
def test_dont_write_bytecode(force_write: bool, cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """Under -B the hook is read-only, with a reason that mentions force_write."""
    sys.dont_write_bytecode = True
    hook = pycachehook.install(cache, force_write=force_write)
    sys.path.insert(0, str(tree({"some_module.py": ""})))
    importlib.import_module("some_module")
    assert (hook.stats.compiled, hook.stats.stored) == (1, int(force_write))
    if force_write:
        assert (hook.status, hook.reason) == ("writable", None)
    else:
        assert hook.status == "read-only"
        assert hook.reason is not None
        assert "-B" in hook.reason
        assert "force_write" in hook.reason
    hook.uninstall()
    assert sys.dont_write_bytecode is True


WRONG_OPTIONS = [{"layout": "nonesuch"}, {"nonesuch": 1}, {"lock_timeout": -1}, {"rules": 3}, {"config": 5}]


@pytest.mark.parametrize("options", WRONG_OPTIONS)
def test_wrong_option(options: dict[str, Any], cache: Path) -> None:
    """A wrong option raises ConfigError and changes nothing."""
    before = interpreter()
    with pytest.raises(ConfigError, match=next(iter(options))):
        pycachehook.install(cache, **options)
    assert (interpreter(), pycachehook.active()) == (before, None)


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="the default directory is elsewhere, without modes")
def test_default_cache_dir_is_private(tmp_path: Path) -> None:
    """The default cache directory is made for the user alone; one that the user chose is made as directories are."""
    umask = os.umask(0o022)
    try:
        hook = pycachehook.install(rules=[{"match": "/a/*", "cache_dir": str(tmp_path / "rule")}])
        assert hook.status == "writable"
        default = tmp_path / ".cache" / "pycachehook"
        assert sys.pycache_prefix == str(default)
        assert default.stat().st_mode & 0o777 == 0o700
        pycachehook.install(tmp_path / "chosen")
        assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("chosen", "rule")] == [0o755] * 2
    finally:
        os.umask(umask)


def test_rules(cache: Path, tmp_path: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """A rule gives matching sources other options: another directory, another mode, or no caching."""
    root = tree({"usual.py": "", "elsewhere.py": "", "unchecked.py": "", "excluded.py": ""})
    hook = pycachehook.install(
        cache,
        rules=[
            {"match": "*/elsewhere.py", "cache_dir": str(tmp_path / "other")},
            {"match": "*/unchecked.py", "invalidation_mode": "unchecked-hash"},
            {"match": "*/excluded.py", "enabled": False},
            {"match": "*/ex*", "cache_dir": str(tmp_path / "never")},
        ],
    )
    sys.path.insert(0, str(root))
    loaders = [
        type(importlib.import_module(name).__loader__) for name in ("usual", "elsewhere", "unchecked", "excluded")
    ]
    assert loaders == [CachingLoader] * 3 + [SourceFileLoader]
    entries = {path.name.partition(".")[0]: path for path in tmp_path.rglob("*.pyc")}
    assert entries["elsewhere"].is_relative_to(tmp_path / "other")
    assert [entries[name].read_bytes()[4] for name in ("usual", "elsewhere", "unchecked")] == [3, 3, 1]
    assert set(hook.cache_dirs) == {str(cache), str(tmp_path / "other"), str(tmp_path / "never")}
    assert hook.stats.stored == 3


@pytest.mark.parametrize(("in_tree", "place"), [("read", "in_tree"), ("ignore", None)])
def test_in_tree(
    in_tree: Literal["read", "ignore"], place: str | None, cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """Bytecode in the source tree of a package is read unless `in_tree` is "ignore"."""
    source = tree({"some_module.py": ""}) / "some_module.py"
    py_compile.compile(str(source), doraise=True)
    hook = pycachehook.install(cache, in_tree=in_tree)
    loader_for("some_module", str(source)).get_code("some_module")
    assert [name for name, count in hook.stats.hits_by_place.items() if count] == ([] if place is None else [place])
    assert hook.stats.compiled == (place is None)


def test_reason_names_a_faulty_directory_of_a_rule(cache: Path, tmp_path: Path) -> None:
    """The reason includes the fault of a directory that only a rule uses."""
    (tmp_path / "file").touch()
    hook = pycachehook.install(cache, rules=[{"match": "*/m.py", "cache_dir": str(tmp_path / "file")}])
    assert (hook.status, hook.reason) == ("writable", f"The cache directory {tmp_path}/file is not a directory.")


def test_no_cache_tag(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interpreter without a cache tag is left unchanged, and the hook says why."""
    monkeypatch.setattr(sys.implementation, "cache_tag", None)
    hook = pycachehook.install(cache)
    assert (hook.status, hook.reason) == ("disabled", "This interpreter caches no bytecode (it has no cache tag).")
    assert (sys.pycache_prefix, sys.dont_write_bytecode, cache.exists()) == (None, False, False)


def test_repr(cache: Path) -> None:
    """The hook's repr tells its status and its reason."""
    cache.mkdir()
    assert repr(pycachehook.install(cache)) == "<pycachehook.Hook writable>"
    assert repr(pycachehook.install(cache, read_only=True)) == "<pycachehook.Hook read-only: read_only is set.>"


def test_log(
    cache: Path, tmp_path: Path, tree: Callable[[Mapping[str, str]], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PYCACHEHOOK_LOG receives one line per lookup."""
    root = tree({"some_module.py": ""})
    monkeypatch.setenv("PYCACHEHOOK_LOG", str(tmp_path / "log"))
    pycachehook.install(cache)
    sys.path.insert(0, str(root))
    importlib.reload(importlib.import_module("some_module"))
    path = root / "some_module.py"
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert [text.partition(": ")[2] for text in lines] == [
        f"some_module: miss (absent) {path}, compiled and stored",
        f"some_module: hit (store) {path}",
    ]


def activation(cache: Path | None, **options: object) -> dict[str, Any]:
    """Return the values in the activation files: every option, with `cache_dir` None for the default."""
    values = pycachehook.config.resolution.resolve({"cache_dir": cache, **options}).values()
    return values if cache is not None else {**values, "cache_dir": None}


def test_start_up(cache: Path, tmp_path: Path) -> None:
    """Start-up installs the recorded options, with the file as their origin, and only once."""
    start_up(activation(cache, in_tree="ignore"), pycachehook.__version__, "startup.py")
    hook = pycachehook.active()
    assert hook is not None
    assert (hook.status, sys.pycache_prefix) == ("writable", str(cache))
    start_up(activation(tmp_path / "other"), pycachehook.__version__, "second.py")
    assert (sys.pycache_prefix, finders()) == (str(cache), 1)
    assert hook.options is not None
    assert hook.options.chosen() == {"cache_dir": str(cache), "in_tree": "ignore"}
    assert {hook.options.origin(name) for name in hook.options.chosen()} == {"startup.py"}


def test_start_up_with_the_default_directory(tmp_path: Path) -> None:
    """A recorded `cache_dir` of None becomes the default of the user who starts Python."""
    start_up(activation(None), pycachehook.__version__, "startup.py")
    assert sys.pycache_prefix == runtime.resolve({}, "keyword").cache_dir
    assert sys.pycache_prefix is not None
    assert sys.pycache_prefix.startswith(str(tmp_path))


def test_environment_goes_before_the_activation(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable overrides the recorded value of its option only."""
    monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", str(tmp_path / "other"))
    start_up(activation(cache, in_tree="ignore"), pycachehook.__version__, "startup.py")
    hook = pycachehook.active()
    assert hook is not None
    assert hook.options is not None
    assert hook.options.chosen() == {"cache_dir": str(tmp_path / "other"), "in_tree": "ignore"}
    assert hook.options.origin("cache_dir") == "PYCACHEHOOK_CACHE_DIR"


def test_installation_after_start_up(cache: Path) -> None:
    """An explicit installation replaces that of the start, and keeps the options that it does not name."""
    start_up(activation(cache, in_tree="ignore"), pycachehook.__version__, "startup.py")
    hook = pycachehook.active()
    assert pycachehook.install(lock_timeout=1) is hook
    assert hook is not None
    assert hook.options is not None
    assert hook.options.chosen() == {"cache_dir": str(cache), "in_tree": "ignore", "lock_timeout": 1.0}


def test_start_up_after_an_installation(cache: Path, tmp_path: Path) -> None:
    """Start-up does not change a hook that is installed already."""
    pycachehook.install(cache)
    start_up(activation(tmp_path / "other"), pycachehook.__version__, "startup.py")
    assert sys.pycache_prefix == str(cache)


@pytest.mark.parametrize(
    ("options", "version", "environment"),
    [
        ({}, "another version", {}),
        ({"cache_dir": None}, "another version", {}),
        ({"cache_dir": "/proc/no-such-place/cache", "strict": True}, "", {}),
        ({}, "", {"PYCACHEHOOK_LAYOUT": "nonesuch"}),
        ({}, "", {"PYCACHEHOOK_CONFIG": "/no/such/file.toml"}),
        ({}, "", {"PYCACHEHOOK_DISABLE": "1"}),
    ],
    ids=["nothing", "another version's", "strict fault", "wrong variable", "missing file", "kill switch"],
)
def test_start_up_never_raises_or_prints(
    options: dict[str, object],
    version: str,
    environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Start-up raises and prints nothing, whatever is wrong with the recorded options or the environment."""
    values = {**activation(Path("/somewhere")), **options} if version == "" else options
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    start_up(values, version or pycachehook.__version__, "startup.py")
    assert capfd.readouterr() == ("", "")
    assert (pycachehook.active() is None) is (version == "")


def test_failed_start_up_is_logged(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log, if configured, says why start-up failed."""
    values = activation(cache)
    monkeypatch.setenv("PYCACHEHOOK_LOG", str(tmp_path / "log"))
    monkeypatch.setenv("PYCACHEHOOK_LAYOUT", "nonesuch")
    start_up(values, pycachehook.__version__, "startup.py")
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert "not active: layout = 'nonesuch' (PYCACHEHOOK_LAYOUT) is not valid" in text


@pytest.mark.parametrize(
    "unknown",
    [{"invalidation_mode": "of-the-future"}, {"layout": "of-the-future"}, {"lock_timeout": "x"}, {"rules": 3}],
)
def test_activation_of_another_version_breaks_no_import(
    unknown: dict[str, object], cache: Path, tree: Callable[[Mapping[str, str]], Path]
) -> None:
    """Recorded values of another version, which this version does not know, break no import."""
    sys.path.insert(0, str(tree({"some_module.py": "answer = 42\n"})))
    start_up({**activation(cache), **unknown}, "another version", "startup.py")
    assert importlib.import_module("some_module").answer == 42


def test_import_of_the_package_loads_nothing_costly(python: Python) -> None:
    """The package loads the names of its API on demand; an unknown name is an AttributeError."""
    program = """
import sys, pycachehook
assert not [name for name in sys.modules if name.startswith("pycachehook.")], sys.modules
assert all(getattr(pycachehook, name) for name in pycachehook.__all__)
assert issubclass(pycachehook.ConfigError, pycachehook.PycacheHookError)
assert issubclass(pycachehook.ConfigError, ValueError)
try:
    pycachehook.nonesuch
except AttributeError as error:
    print(error)
"""
    assert python("-c", program).stdout == "module 'pycachehook' has no attribute 'nonesuch'\n"


def test_child_processes_do_not_inherit_the_hook(cache: Path, python: Python) -> None:
    """An installation affects only its process: a child that installs nothing has no hook."""
    program = f"""
import subprocess, sys, pycachehook
pycachehook.install({str(cache)!r})
subprocess.run([sys.executable, "-c", "import sys, pycachehook; print(pycachehook.active(), sys.pycache_prefix)"])
"""
    assert python("-c", program).stdout == "None None\n"


def test_signature_names_every_option() -> None:
    """`install` has a typed keyword with default None for each option, and for `config` and the earlier names."""
    parameters = inspect.signature(pycachehook.install).parameters
    assert set(parameters) == {*resolution.OPTIONS, *ALIASES, "config"}
    assert next(iter(parameters)) == "cache_dir"
    for name, parameter in parameters.items():
        kind = parameter.POSITIONAL_OR_KEYWORD if name == "cache_dir" else parameter.KEYWORD_ONLY
        assert (parameter.kind, parameter.default) == (kind, None), name
        assert parameter.annotation not in (parameter.empty, "object", "Any"), name
        assert f"\n    {name} " in "\n    ".join(inspect.getdoc(pycachehook.install).splitlines()), name  # type: ignore[union-attr]


def test_api() -> None:
    """The package lists its API whether or not it has been loaded, and the hook its documented attributes."""
    assert dir(pycachehook) == sorted([*pycachehook.__all__, "__version__"])
    shown = {name for name in dir(pycachehook.Hook) if not name.startswith("_")}
    assert shown == {"status", "reason", "stats", "options", "uninstall", "cache_dirs", "archives"}


def test_rule_that_is_read_only(cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """With `read_only` in a rule, only the rule's sources are not stored, in a directory shared by all."""
    sys.path.insert(0, str(tree({f"{name}_one.py": "" for name in ("frozen", "usual", "other")})))
    rules: list[dict[str, object]] = [
        {"match": "*/frozen_*", "read_only": True},
        {"match": "*/other_*", "cache_dir": str(cache)},
    ]
    hook = pycachehook.install(cache, rules=rules)
    for name in ("frozen", "usual", "other"):
        importlib.import_module(f"{name}_one")
    assert (hook.status, hook.reason) == ("writable", None)
    assert stored_in(cache) == ["other_one", "usual_one"]


def test_rule_that_writes_where_others_do_not(cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """A rule may write to a directory that is read-only for all other sources, in either order."""
    sys.path.insert(0, str(tree({"mine_one.py": "", "usual_one.py": ""})))
    hook = pycachehook.install(cache, read_only=True, rules=[{"match": "*/mine_*", "read_only": False}])
    for name in ("usual_one", "mine_one"):
        importlib.import_module(name)
    assert (hook.status, hook.reason) == ("read-only", "read_only is set.")
    assert stored_in(cache) == ["mine_one"]


def stored_in(cache: Path) -> list[str]:
    """Return the names of the test's modules that have an entry."""
    return sorted(path.name.partition(".")[0] for path in cache.rglob("*_one.*.pyc"))


def test_failed_installation_changes_nothing(cache: Path, tmp_path: Path) -> None:
    """If a strict installation raises, all that the hook reports is unchanged."""
    hook = pycachehook.install(cache, archives=[tmp_path / "missing.pyca"], in_tree="ignore")
    found = runtime.installed()
    assert found is not None
    (tmp_path / "file").touch()

    def state() -> list[object]:
        policies = found.policies
        said = [hook.status, hook.reason, hook.options, hook.archives, hook.cache_dirs, hook.stats.as_dict()]
        return [interpreter(), *said, policies.default, policies.rules, policies.loader, policies.archived]

    before = state()
    assert "missing.pyca" in str(hook.reason)
    wrong: list[dict[str, Any]] = [
        {"cache_dir": tmp_path / "file"},
        {"cache_dir": tmp_path / "new", "archives": [tmp_path / "file"]},
        {"rules": [{"match": "*", "cache_dir": str(tmp_path / "file")}]},
    ]
    for options in wrong:
        with pytest.raises(CacheDirError):
            pycachehook.install(strict=True, **options)
        assert state() == before
    with pytest.raises(ConfigError):
        pycachehook.install(layout="nonesuch")  # type: ignore[arg-type]
    assert state() == before
    with pycachehook.install(tmp_path / "other"):
        pass
    assert (hook.options.cache_dir if hook.options else None, pycachehook.active()) == (str(cache), hook)


def where() -> str | None:
    """Return the name of the installed cache directory."""
    hook = pycachehook.active()
    return None if hook is None or hook.options is None else os.path.basename(hook.options.cache_dir)


def test_with_the_hook_itself(tmp_path: Path) -> None:
    """A `with` restores the installation before it, or before the `install()` in its head; never one in between."""
    hook = pycachehook.install(tmp_path / "a")
    with pycachehook.install(tmp_path / "b"):
        assert where() == "b"
    assert where() == "a"
    with hook:
        with pycachehook.install(tmp_path / "b"):
            assert where() == "b"
        assert where() == "a"
    assert where() == "a"
    with hook, hook:
        pycachehook.install(tmp_path / "b")
        assert where() == "b"
    assert where() == "a"
    hook.uninstall()
    hook = pycachehook.install(tmp_path / "a")
    with hook:
        with pycachehook.install(tmp_path / "b"):
            assert where() == "b"
        assert where() == "a"
    assert where() is None


def test_with_out_of_order(tmp_path: Path) -> None:
    """Blocks that are left in another order than they were entered leave no hook installed either."""
    first, second = contextlib.ExitStack(), contextlib.ExitStack()
    before = interpreter()
    first.enter_context(pycachehook.install(tmp_path / "a"))
    second.enter_context(pycachehook.install(tmp_path / "b"))
    first.close()
    second.close()
    assert (interpreter(), where()) == (before, None)


def test_installed_anew_inside_a_with(tmp_path: Path) -> None:
    """A hook that is installed after an uninstallation inside a `with` outlives the block."""
    with pycachehook.install(tmp_path / "a") as outer:
        outer.uninstall()
        inner = pycachehook.install(tmp_path / "b")
        assert inner is not outer
    assert where() == "b"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_options_can_be_copied(copied: Callable[[Any], Any], cache: Path) -> None:
    """Options can be copied and pickled with their origins, by every pickle protocol."""
    hook = pycachehook.install(cache, rules=[{"match": "*/a", "read_only": True}])
    assert hook.options is not None
    again = copied(hook.options)
    assert again == hook.options
    assert again.as_dict() == hook.options.as_dict()
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(hook.options, protocol)) == again
    assert not hasattr(again, "nonesuch")
    assert "layout" in dir(again)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copy_of_a_hook(copied: Callable[[Any], Any], cache: Path) -> None:
    """A program that copies its configuration, the hook included, has the same hook, and pickling it is refused."""
    hook = pycachehook.install(cache)
    before = interpreter()
    assert copied([hook])[0] is hook
    assert copied(hook) is hook
    assert (interpreter(), pycachehook.active()) == (before, hook)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(hook)


def test_installation_without_a_default_directory(
    tree: Callable[[Mapping[str, str]], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a home directory the hook is disabled, says why, and keeps source trees clean; strict raises."""
    monkeypatch.setenv("HOME", "/nonexistent/home")
    before = interpreter()
    with pytest.raises(CacheDirError, match="/nonexistent/home"):
        pycachehook.install(strict=True)
    assert interpreter() == before
    root = tree({"some_one.py": "", "ruled_one.py": ""})
    sys.path.insert(0, str(root))
    hook = pycachehook.install(rules=[{"match": "*/ruled_*", "cache_dir": str(tmp_path / "rule")}])
    assert (hook.status, set(hook.cache_dirs)) == ("disabled", {str(tmp_path / "rule")})
    assert hook.reason is not None
    assert "/nonexistent/home" in hook.reason
    for name in ("some_one", "ruled_one"):
        importlib.import_module(name)
    assert not list(root.rglob("*.pyc"))
    assert hook.options is not None
    assert hook.options.cache_dir is None


def test_start_up_without_a_default_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start without a home directory installs a disabled hook that says why."""
    monkeypatch.setenv("HOME", "/nonexistent/home")
    assert start_up(activation(None), pycachehook.__version__, "startup.py")
    hook = pycachehook.active()
    assert hook is not None
    assert hook.status == "disabled"
    assert "/nonexistent/home" in str(hook.reason)
    assert hook.options is not None
    assert hook.options.chosen() == {}


@pytest.mark.parametrize("error", [RecursionError, MemoryError])
def test_start_up_that_can_be_repeated(error: type[Exception], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that fails for lack of stack or memory changes nothing, returns False, and can be repeated."""
    values, before = activation(cache), interpreter()

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(runtime, "compose", fail)
        assert not start_up(values, pycachehook.__version__, "startup.py")
        assert (interpreter(), pycachehook.active()) == (before, None)
    assert start_up(values, pycachehook.__version__, "startup.py")
    assert pycachehook.active() is not None


def test_start_up_near_the_recursion_limit(cache: Path, tmp_path: Path, python: Python) -> None:
    """At any stack depth the first start-up installs everything or nothing, and a later one everything."""
    program = f"""
import sys
from pycachehook import runtime
from pycachehook.config import resolution
values = resolution.resolve({{"cache_dir": {str(cache)!r}}}).values()
before = list(sys.meta_path), sys.pycache_prefix, sys.dont_write_bytecode

def at(depth):
    return at(depth - 1) if depth else runtime.start_up(values, runtime.__version__, "startup.py")

outcomes = set()
for depth in range(sys.getrecursionlimit() - 60, sys.getrecursionlimit()):
    try:
        done = at(depth)
    except RecursionError:  # before start_up could do anything
        continue
    outcomes.add(done)
    if done:
        assert runtime.installed() is not None and sys.pycache_prefix == {str(cache)!r}, depth
        runtime.installed().uninstall()
        runtime.activation = None
    assert (list(sys.meta_path), sys.pycache_prefix, sys.dont_write_bytecode) == before, depth
assert outcomes == {{True, False}}, outcomes
assert runtime.start_up(values, runtime.__version__, "startup.py") and runtime.installed() is not None
"""
    python("-c", program)


def test_events(cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """A callback is called for each lookup, before and after an installation, until it is removed."""
    root = tree({"some_one.py": "", "late_one.py": ""})
    sys.path.insert(0, str(root))
    found: list[pycachehook.Event] = []
    remove = pycachehook.on_event(found.append)
    pycachehook.install(cache)
    importlib.reload(importlib.import_module("some_one"))
    path = str(root / "some_one.py")
    mine = [each for each in found if each.module == "some_one"]
    told = [(each.event, each.path, each.place, each.reason) for each in mine]
    assert told == [
        ("miss", path, "store", "absent"),
        ("compiled", path, "", ""),
        ("stored", path, "store", ""),
        ("hit", path, "store", ""),
    ]
    assert all(type(duration) is int for each in mine for duration in each.nanoseconds.values())
    pycachehook.uninstall()
    pycachehook.install(cache)
    before = len(found)
    importlib.reload(importlib.import_module("some_one"))
    assert len(found) > before
    remove()
    remove()
    before = len(found)
    importlib.import_module("late_one")
    assert len(found) == before
    with pytest.raises(TypeError, match="callable"):
        pycachehook.on_event(3)  # type: ignore[arg-type]


def test_callback_that_raises(
    cache: Path, tree: Callable[[Mapping[str, str]], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A callback that raises an Exception is removed, with a line in the log; what ends a program is raised."""
    monkeypatch.setenv("PYCACHEHOOK_LOG", str(tmp_path / "log"))
    sys.path.insert(0, str(tree({f"{name}_one.py": "" for name in "abcd"})))
    calls: list[str] = []

    def wrong(event: pycachehook.Event) -> None:
        calls.append(event.module)
        raise ZeroDivisionError

    def after(event: pycachehook.Event) -> None:
        calls.append("after")

    removes = [pycachehook.on_event(wrong), pycachehook.on_event(after)]
    pycachehook.install(cache)
    importlib.import_module("a_one")
    assert [each for each in calls if each != "after"] == ["a_one"]
    assert "after" in calls
    assert "ZeroDivisionError" in (tmp_path / "log").read_text(encoding="utf-8")
    for ending in (SystemExit, KeyboardInterrupt, MemoryError):

        def end(_: pycachehook.Event, ending: type[BaseException] = ending) -> None:
            raise ending

        removes.append(pycachehook.on_event(end))
        with pytest.raises(ending):
            importlib.import_module("b_one")
        removes[-1]()
    importlib.import_module("b_one")
    for remove in removes:
        remove()
