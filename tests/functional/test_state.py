"""The state of the hook in real processes that change `sys.modules`, fork, use switches, and set variables."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from conftest import clean_environment, read_stats

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conftest import Python

pytestmark = pytest.mark.alone

NOBODY = 65534

DROP = """
def drop():
    for name in list(sys.modules):
        if name.partition(".")[0] == "pycachehook":
            del sys.modules[name]

def finders():
    return [type(finder).__name__ for finder in sys.meta_path]
"""


@pytest.fixture
def root(tree: Callable[[Mapping[str, str]], Path]) -> Path:
    """Return a directory with some modules."""
    return tree({f"m{number}.py": f"value = {number}\n" for number in range(6)})


@pytest.mark.parametrize("asked", [True, False], ids=["hook asked for", "hook not asked for"])
@pytest.mark.parametrize("missed", [True, False], ids=["after a miss", "before any miss"])
@pytest.mark.parametrize("layout", ["mirror", "shared"])
def test_one_hook_after_the_package_was_dropped(
    *, asked: bool, missed: bool, layout: str, python: Python, root: Path, cache: Path
) -> None:
    """A program that drops and imports the package again still has the same hook, and can uninstall it."""
    program = f"""
import sys, json
import pycachehook
before = finders_before = [type(finder).__name__ for finder in sys.meta_path]
pycachehook.install({str(cache)!r})
{DROP}
position = finders().index("CachingFinder")
first = pycachehook.active() if {asked} else None
hook_before = pycachehook.runtime.current.hook
if {missed}:
    import m0
drop()
import m0
import pycachehook
found = pycachehook.active()
assert found is hook_before and (first is None or found is first)
assert pycachehook.hook.Hook is not type(found)
import m1
assert pycachehook.install({str(cache / "second")!r}, layout={layout!r}) is found
assert finders().count("CachingFinder") == 1 and finders().index("CachingFinder") == position
assert pycachehook.active() is found
assert sys.pycache_prefix == {str(cache / "second")!r} == found.options.cache_dir
import m2
assert type(m2.__loader__).__name__ == "CachingLoader"
from pycachehook import own_modules
for name, module in own_modules._loaded.items():  # nothing of the earlier copy serves the new one
    for at, other in vars(module).items():
        if getattr(other, "__module__", "") == "pycachehook.events":
            assert other is getattr(pycachehook.events, at), (name, at)
assert found.stats.stored >= 3, found.stats
drop()
import pycachehook
pycachehook.uninstall()
assert finders() == before and sys.pycache_prefix is None and not sys.dont_write_bytecode
assert pycachehook.active() is None and found.status == "disabled"
import m3
assert type(m3.__loader__).__name__ == "SourceFileLoader"
"""
    python("-c", program, PYTHONPATH=str(root))
    stored = {path.name.partition(".")[0] for path in cache.rglob("m?.*.pyc")}
    assert stored == {"m0", "m1", "m2"} - ({"m2"} if layout == "shared" else set())


def test_hook_that_start_up_installed_is_found_again(python: Python, root: Path, cache: Path) -> None:
    """The hook of the activation files is known after the package was dropped."""
    program = f"""
import sys
from pycachehook import runtime
from pycachehook.config import resolution
values = resolution.resolve({{"cache_dir": {str(cache)!r}}}).values()
assert runtime.start_up(values, runtime.__version__, "startup.py")
{DROP}
import m0
drop()
import pycachehook
assert pycachehook.active() is pycachehook.active() is not None
assert pycachehook.active().stats.stored >= 1
from pycachehook import runtime
assert runtime.start_up(values, runtime.__version__, "startup.py")
assert finders().count("CachingFinder") == 1
with pycachehook.install(read_only=True) as hook:
    assert hook.status == "read-only"
    stored = hook.stats.stored
    import m1
    assert hook.stats.stored == stored
assert hook.status == "writable" and hook is pycachehook.active()
import m2
assert hook.stats.stored == stored + 1, hook.stats
"""
    python("-c", program, PYTHONPATH=str(root))


@pytest.mark.parametrize("stats", [True, False])
def test_forked_child_counts_from_zero(stats: bool, python: Python, root: Path, cache: Path, tmp_path: Path) -> None:
    """A forked child has its own counters, whether or not statistics are written."""
    program = f"""
import os, pycachehook
hook = pycachehook.install({str(cache)!r})
import m0
before = hook.stats.compiled
if os.fork() == 0:
    import m1
    print(hook.stats.compiled, flush=True)
    raise SystemExit
os.wait()
print(before, hook.stats.compiled)
pycachehook.uninstall()
if os.fork() == 0:
    os._exit(0)
assert os.wait()[1] == 0
"""
    environment = {"PYCACHEHOOK_STATS": str(tmp_path / "stats")} if stats else {}
    child, parent = python.within(environment)("-c", program, PYTHONPATH=str(root)).stdout.splitlines()
    before, after = parent.split()
    assert (child, before == after, int(before) > 0) == ("1", True, True)
    if stats:
        assert [line["compiled"] for line in read_stats(tmp_path / "stats")] == [1, int(before)]


def test_one_line_of_statistics(python: Python, root: Path, cache: Path, tmp_path: Path) -> None:
    """A hook that is uninstalled and installed again writes one line for the process, with the sums."""
    program = f"""
import pycachehook
compiled = 0
for number in range(3):
    hook = pycachehook.install({str(cache)!r})
    __import__(f"m{{number}}")
    pycachehook.uninstall()
    compiled += hook.stats.compiled
print(compiled)
"""
    output = python("-c", program, PYTHONPATH=str(root), PYCACHEHOOK_STATS=str(tmp_path / "stats")).stdout
    assert [line["compiled"] for line in read_stats(tmp_path / "stats")] == [int(output)]
    assert int(output) >= 3


def test_failed_installation_attaches_nothing(python: Python, tmp_path: Path) -> None:
    """A strict installation that raises writes no statistics at exit."""
    program = f"""
import pycachehook
try:
    pycachehook.install({str(tmp_path / "file" / "cache")!r}, strict=True)
except pycachehook.CacheDirError:
    print("refused")
"""
    (tmp_path / "file").touch()
    assert python("-c", program, PYCACHEHOOK_STATS=str(tmp_path / "stats")).stdout == "refused\n"
    assert not (tmp_path / "stats").exists()


@pytest.mark.parametrize(
    "call",
    [
        "install()",
        "install(layout='nonesuch')",
        "install('a', 'b', 'c')",
        "install(nonesuch=1)",
        "install(config='/no/such/file')",
        "install('/proc/none/cache', strict=True)",
    ],
)
@pytest.mark.parametrize("environment", [{}, {"PYCACHEHOOK_LAYOUT": "x"}, {"PYCACHEHOOK_CONFIG": "/no/such/file"}])
def test_kill_switch_is_asked_first(call: str, environment: dict[str, str], python: Python) -> None:
    """With the kill switch set, nothing is checked or installed, and only the hook's module is loaded."""
    program = f"""
import sys, pycachehook
before = list(sys.meta_path)
with pycachehook.{call} as hook:
    assert (hook.status, hook.reason) == ("disabled", "PYCACHEHOOK_DISABLE is set.")
    assert hook.options is None and hook.archives == () and hook.cache_dirs == {{}}
hook.uninstall()
assert sys.meta_path == before
print(sorted(name for name in sys.modules if name.startswith("pycachehook")))
assert hook.stats.hits == 0
"""
    process = python.within(environment)("-c", program, PYCACHEHOOK_DISABLE="1")
    assert process.stdout == "['pycachehook', 'pycachehook.hook']\n"


@pytest.mark.parametrize("switch", ["-E", "-I"])
def test_python_that_ignores_its_environment_ignores_ours(
    switch: str, environment: Python, root: Path, tmp_path: Path
) -> None:
    """Under -E and -I no environment variable has an effect except the kill switch."""
    config = tmp_path / "wrong.toml"
    config.write_text("[tool.pycachehook]\nlayout = 3\n", encoding="utf-8")
    variables = {
        "PYCACHEHOOK_CACHE_DIR": str(tmp_path / "variable"),
        "PYCACHEHOOK_LAYOUT": "nonesuch",
        "PYCACHEHOOK_ALLOW_SHARED": "1",
        "PYCACHEHOOK_CONFIG": str(config),
        "PYCACHEHOOK_STATS": str(tmp_path / "stats"),
        "PYCACHEHOOK_LOG": str(tmp_path / "log"),
        "PYCACHEHOOK_TRACE": str(tmp_path / "trace"),
    }
    program = f"""
import sys, pycachehook
sys.path.insert(0, {str(root)!r})
hook = pycachehook.install({str(tmp_path / "cache")!r})
import m0
print(hook.status, hook.options and sorted(hook.options.chosen()))
"""
    assert environment.within(variables)(switch, "-c", program).stdout == "writable ['cache_dir']\n"
    assert environment(switch, "-c", program, PYCACHEHOOK_DISABLE="1").stdout == "disabled None\n"
    assert sorted(path.name for path in tmp_path.iterdir() if path.name in ("variable", "stats", "log", "trace")) == []


@pytest.fixture(scope="session")
def environment(make_environment: Callable[..., Python]) -> Python:
    """Return an environment in which this package is installed, so that -I can import it."""
    return make_environment()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root")
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
@pytest.mark.parametrize(
    ("identity", "obeyed"),
    [([], True), (["--ruid", str(NOBODY)], False), (["--rgid", str(NOBODY), "--keep-groups"], False)],
    ids=["same", "other user", "other group"],
)
@pytest.mark.parametrize("source", ["variables", "file"])
def test_environment_of_another_user(identity: list[str], obeyed: bool, source: str, tmp_path: Path) -> None:
    """If the real and effective users differ, environment variables set no archives, output files or shared caches."""
    variables = {
        "PYCACHEHOOK_ALLOW_SHARED": "1",
        "PYCACHEHOOK_ARCHIVES": "/no/such.pyca",
        "PYCACHEHOOK_LAYOUT": "shared",
        "PYCACHEHOOK_STATS": str(tmp_path / "stats"),
        "PYCACHEHOOK_LOG": str(tmp_path / "log"),
    }
    if source == "file":
        config = tmp_path / "options.toml"
        config.write_text(
            '[tool.pycachehook]\nallow_shared = true\narchives = ["/no/such.pyca"]\nlayout = "shared"\n',
            encoding="utf-8",
        )
        variables = {"PYCACHEHOOK_CONFIG": str(config)}
    program = (
        "import json, pycachehook; "
        f"hook = pycachehook.install({str(tmp_path / 'cache')!r}); print(json.dumps(sorted(hook.options.chosen()))); "
        "import colorsys"
    )
    command = ["setpriv", *identity, sys.executable, "-c", program]
    process = subprocess.run(command, env=clean_environment(**variables), capture_output=True, text=True, check=True)
    expected = ["allow_shared", "archives", "cache_dir", "layout"] if obeyed else ["cache_dir", "layout"]
    assert json.loads(process.stdout) == expected
    written = [each.name for each in tmp_path.iterdir() if each.name in ("log", "stats")]
    assert sorted(written) == (["log", "stats"] if obeyed and source == "variables" else [])


def test_guarded_import_statement_sees_nothing_of_ours(python: Python, root: Path, cache: Path) -> None:
    """A replaced `builtins.__import__` receives no name of this package."""
    program = f"""
import builtins, pycachehook
hook = pycachehook.install({str(cache)!r}, rules=[{{"match": "*/m5.py", "layout": "shared"}}])
original, allowed = builtins.__import__, {{"m0", "m1", "_io"}}  # `_io.open_code` imports _io

def guarded(name, *args, **keywords):
    if name not in allowed:
        raise ImportError(f"{{name}} is not allowed")
    return original(name, *args, **keywords)

install, active, uninstall = pycachehook.install, pycachehook.active, pycachehook.uninstall
import m4
builtins.__import__ = guarded
import m0
assert active() is hook and hook.options.cache_dir and hook.status == "writable" and hook.reason is None
assert install(read_only=True) is hook
import m1
uninstall()
assert active() is None
"""
    python("-c", program, PYTHONPATH=str(root))


def test_start_up_loads_no_configuration(python: Python, tmp_path: Path) -> None:
    """A start with the recorded options and the default cache directory loads nothing from `config`."""
    program = """
import sys
from pycachehook.config import resolution
values = {**resolution.resolve({}).values(), "cache_dir": None}
for name in list(sys.modules):
    if name.startswith("pycachehook"):
        del sys.modules[name]
from pycachehook import runtime
assert runtime.start_up(values, runtime.__version__, "startup.py")
assert not [name for name in sys.modules if name.startswith("pycachehook.config")]
import pycachehook
options = pycachehook.active().options
print(options.cache_dir == sys.pycache_prefix, options.origin("cache_dir"), options.chosen())
"""
    assert python("-c", program).stdout == "True default {}\n"


IN_TREE: dict[str, dict[str, list[str]]] = {
    # the option's value: the directories whose in-tree pycs are read
    "installed": {"site-packages": ["timestamp", "checked"], "app": ["checked"]},
    "all": {"site-packages": ["timestamp", "checked"], "app": ["timestamp", "checked"]},
    "read": {"site-packages": ["timestamp", "checked"], "app": ["timestamp", "checked"]},
    "hashed": {"site-packages": ["checked"], "app": ["checked"]},
    "ignore": {"site-packages": [], "app": []},
}


RULE_WITH_A_CACHE = """
import sys
sys.dont_write_bytecode = {told}
import pycachehook
rule = {{"match": {match!r}, "cache_dir": {cache!r}, "read_only": False}}
hook = pycachehook.install({default!r}, read_only={read_only}, rules=[rule])
import m1
print(hook.status, hook.stats.stored, sys.dont_write_bytecode)
"""


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("default", ["read-only", "disabled"])
def test_rule_with_a_cache_where_the_default_stores_nothing(
    default: str, told: bool, python: Python, root: Path, tmp_path: Path
) -> None:
    """A rule's own cache is written to although the default one is not, unless Python was told to write no bytecode."""
    other, cache = tmp_path / "other", tmp_path / "cache"
    other.touch() if default == "disabled" else other.mkdir()
    program = RULE_WITH_A_CACHE.format(
        told=told, match=f"{root}/*", cache=str(cache), default=str(other), read_only=default == "read-only"
    )
    assert python("-c", program, cwd=root).stdout == f"{default} {0 if told else 1} True\n"
    status = f"import pycachehook; pycachehook.install({str(other)!r})\nfrom pycachehook.commands import prospect\n"
    shown = python("-c", f"{status}print(prospect.told_not_to_write())", cwd=root).stdout
    assert shown == "False\n"


@pytest.mark.parametrize("in_tree", [None, *IN_TREE])
def test_in_tree(in_tree: str | None, python: Python, tmp_path: Path, cache: Path) -> None:
    """In-tree pycs are read as the option says; by default timestamp-based ones are read in packages only."""
    for place in ("site-packages", "app"):
        for kind, mode in (("timestamp", "timestamp"), ("checked", "checked-hash")):
            source = tmp_path / place / f"{kind}_{place[:3]}.py"
            source.parent.mkdir(exist_ok=True)
            source.write_text("value = 1\n", encoding="utf-8")
            python("-m", "compileall", "-q", "--invalidation-mode", mode, source)
    program = f"""
import json, pycachehook
hook = pycachehook.install({str(cache)!r}, in_tree={in_tree!r})
read = {{}}
for place in ("site-packages", "app"):
    read[place] = []
    for kind in ("timestamp", "checked"):
        found = []
        forget = pycachehook.on_event(found.append)
        name = f"{{kind}}_{{place[:3]}}"
        __import__(name)
        forget()
        read[place] += [kind for event in found if (event.module, event.place) == (name, "in_tree")]
print(json.dumps(read))
"""
    path = os.pathsep.join(str(tmp_path / place) for place in ("site-packages", "app"))
    assert json.loads(python("-c", program, PYTHONPATH=path).stdout) == IN_TREE[in_tree or "installed"]


def test_timestamp_pyc_of_the_application_is_stale(python: Python, root: Path, cache: Path) -> None:
    """By default the in-tree pyc of an application's source that changed with the same size and mtime is not used."""
    python("-m", "compileall", "-q", root)
    status = (root / "m1.py").stat()
    (root / "m1.py").write_text("value = 7\n", encoding="utf-8")
    os.utime(root / "m1.py", ns=(status.st_atime_ns, status.st_mtime_ns))
    program = f"import pycachehook; pycachehook.install({str(cache)!r}); import m1; print(m1.value)"
    assert python("-c", program, PYTHONPATH=str(root)).stdout == "7\n"


def test_unchecked_entries_are_checked_after_a_switch_to_timestamp(python: Python, root: Path, cache: Path) -> None:
    """Entries written in the mode `unchecked-hash` are checked in other modes."""

    def run(mode: str) -> str:
        program = (
            f"import pycachehook; pycachehook.install({str(cache)!r}, invalidation_mode={mode!r}, in_tree='ignore'); "
            "import m1; print(m1.value)"
        )
        return python("-c", program, PYTHONPATH=str(root)).stdout

    assert run("unchecked-hash") == "1\n"
    (root / "m1.py").write_text("value = 8\n", encoding="utf-8")
    assert run("unchecked-hash") == "1\n"
    assert run("timestamp") == "8\n"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs FIFOs")
@pytest.mark.parametrize("kind", ["fifo", "directory", "device"])
@pytest.mark.parametrize("named", ["variable", "keyword"])
def test_configuration_that_is_no_file(kind: str, named: str, python: Python, tmp_path: Path) -> None:
    """A FIFO, a directory or a device as configuration file is refused without waiting."""
    path = tmp_path / "options.toml"
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    else:
        path = type(path)("/dev/zero")
    keyword = f"config={str(path)!r}" if named == "keyword" else ""
    program = f"""
import pycachehook
try:
    pycachehook.install({keyword})
except pycachehook.ConfigError as error:
    print(error)
"""
    variables = {"PYCACHEHOOK_CONFIG": str(path)} if named == "variable" else {}
    text = python.within(variables)("-c", program).stdout
    assert text.startswith(f"The configuration file {path} cannot be read: ")


def run_config(python: Python, path: Path, **options: Any) -> str:
    """Return the result of installing with the configuration file."""
    program = f"""
import pycachehook
try:
    print(pycachehook.install(config={str(path)!r}, **{options!r}).options.layout)
except pycachehook.ConfigError as error:
    print(error)
"""
    return python("-c", program).stdout


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs owners and modes")
@pytest.mark.parametrize("which", ["file", "directory"])
def test_configuration_that_others_may_write(which: str, python: Python, tmp_path: Path) -> None:
    """A configuration file that other users can write to is refused; the message names the repair."""
    path = tmp_path / "place" / "options.toml"
    path.parent.mkdir()
    path.write_text('[tool.pycachehook]\nlayout = "shared"\nallow_shared = true\n', encoding="utf-8")
    assert run_config(python, path) == "shared\n"
    loose = path if which == "file" else path.parent
    loose.chmod(0o777)
    text = run_config(python, path)
    assert text.startswith(f"The configuration file {path} is not trusted: ")
    assert f"`chmod go-w {loose}`" in text
    assert run_config(python, path, allow_shared=True) == "shared\n"
    loose.chmod(0o755)
    assert run_config(python, path) == "shared\n"


def test_threads_that_install_and_uninstall(python: Python, tmp_path: Path) -> None:
    """There is one finder at most, and what was in `sys` before is restored."""
    program = f"""
import sys, threading
import pycachehook
sys.setswitchinterval(1e-6)
before = sys.meta_path[:], sys.pycache_prefix, sys.dont_write_bytecode
caches = [{str(tmp_path / "a")!r}, {str(tmp_path / "b")!r}]
gate, failures = threading.Barrier(6), []

def work(number):
    try:
        for turn in range(30):
            gate.wait()
            hook = pycachehook.install(caches[number % 2])
            if number == 0:
                hook.uninstall()
            elif number == 1:
                pycachehook.uninstall()
            gate.wait()
            finders = [each for each in sys.meta_path if type(each).__name__ == "CachingFinder"]
            if len(finders) > 1:
                failures.append(len(finders))
    except BaseException as error:
        failures.append(repr(error))
        gate.abort()

threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
pycachehook.uninstall()
print(failures, (sys.meta_path, sys.pycache_prefix, sys.dont_write_bytecode) == before)
"""
    assert python("-c", program).stdout == "[] True\n"
