"""An archive in a real environment: the modules loaded from it, what it does not hide, and when it is not used."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycachehook
from conftest import pip_install

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Python

    Tree = Callable[[Mapping[str, str]], Path]

# Of the standard library and of what an environment has from the start, most of what no test imports.
LEFT_OUT = tuple(
    f"*/{name}/*"
    for name in (
        *(
            "test",
            "tests",
            "lib2to3",
            "idlelib",
            "pip",
            "setuptools",
            "pkg_resources",
            "turtledemo",
            "tkinter",
            "distutils",
        ),
        *("encodings", "unittest", "xml", "xmlrpc", "pydoc_data", "multiprocessing", "ensurepip", "ctypes", "curses"),
        *("sqlite3", "wsgiref", "dbm", "msilib"),
    )
)
IMPORT = """
import json, sys
opened = []
sys.addaudithook(lambda name, args: opened.append(str(args[0])) if name in ("open", "os.listdir", "os.scandir") else None)
import jinja2.ext, jinja2.sandbox, json.tool, logging.config
import pycachehook
hook = pycachehook.active()
files = [name for name in opened if name.endswith((".py", ".pyc")) and "pycachehook" not in name]
print(json.dumps({**hook.stats.as_dict(), "reason": hook.reason, "status": hook.status, "files": files}))
"""


@pytest.fixture(scope="module")
def shared(make_environment: Callable[..., Python]) -> Python:
    """Return an environment with real packages; tests that change it must undo the change."""
    return make_environment("jinja2")


@pytest.fixture(scope="module")
def archive(shared: Python, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an `unchecked-hash` archive of the environment."""
    return build(shared, tmp_path_factory.mktemp("archive") / "env.pyca", "unchecked-hash")


def build(python: Python, out: Path, mode: str, *arguments: str | Path) -> Path:
    """Build an archive of the interpreter's environment, without modules that no test imports."""
    left_out = [word for glob in LEFT_OUT for word in ("--exclude", glob)]
    command = ("-m", "pycachehook", "archive", "build", "--invalidation-mode", mode)
    python(*command, *left_out, *arguments, out)
    return out


def start(python: Python, archive: Path, cache: Path, code: str = IMPORT, **environment: str) -> Any:
    """Run `code` under the hook with the archive, and return its output."""
    options = ("--archives", archive, "--cache-dir", cache)
    process = python.within(environment)("-m", "pycachehook", "run", *options, "-c", code, check=False)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


def test_no_file_is_opened(shared: Python, archive: Path, cache: Path) -> None:
    """If everything is in the archive, no source, pyc or directory is read."""
    said = start(shared, archive, cache)
    assert (said["compiled"], said["misses"], said["files"], said["reason"]) == (0, {}, [], None)
    assert said["hits_by_place"]["archive"] > 50
    assert not list(cache.rglob("jinja2"))


def test_an_application_with_its_environment(shared: Python, tree: Tree, cache: Path, tmp_path: Path) -> None:
    """One archive can contain an application and its environment."""
    root = tree(MODULES)
    out = build(shared, tmp_path / "both.pyca", "unchecked-hash", "--environment", "--path", root)
    code = IMPORT.replace("import jinja2.ext", f"sys.path.append({str(root)!r}); import pk.one, jinja2.ext")
    said = start(shared, out, cache, code)
    assert (said["compiled"], said["misses"], said["files"], said["reason"]) == (0, {}, [], None)


def test_a_cache_directory_is_not_needed(shared: Python, archive: Path) -> None:
    """An archive is used without a cache directory."""
    said = start(shared, archive, Path("/proc/self/nowhere"))
    assert (said["status"], said["compiled"]) == ("disabled", 0)


@pytest.mark.alone
def test_by_activation_and_environment(shared: Python, archive: Path, tmp_path: Path) -> None:
    """`enable` accepts the option, and the variable can contain several files."""
    home = {"HOME": str(tmp_path)}
    shared.within(home)("-m", "pycachehook", "enable", "--archives", archive, "--pause-gc")
    try:
        said = json.loads(shared.within(home)("-c", IMPORT).stdout)
        assert (said["compiled"], said["misses"]) == (0, {})
        status = json.loads(shared.within(home)("-m", "pycachehook", "status", "--json").stdout)
        assert status["options"]["archives"]["value"] == [str(archive)]
        assert status["archives"] == [{"path": str(archive), "used": True, "reason": None, "bundle": None}]
        both = {"PYCACHEHOOK_ARCHIVES": f"{tmp_path / 'none.pyca'}:{archive}", **home}
        said = json.loads(shared.within(both)("-c", IMPORT).stdout)
        assert (said["compiled"], said["misses"], said["status"]) == (0, {}, "writable")
        assert "none.pyca cannot be opened" in said["reason"]
        refused = shared.within(both)("-m", "pycachehook", "run", "--strict", "-c", "", check=False)
        assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    finally:
        shared.within(home)("-m", "pycachehook", "disable")


def distribution(folder: Path, version: str) -> str:
    """Make a wheel of a distribution with one module; return its path."""
    import zipfile

    path = folder / f"comesandgoes-{version}-py3-none-any.whl"
    info = f"comesandgoes-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as whole:
        whole.writestr("comesandgoes.py", f"VERSION = {version!r}\n")
        whole.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: comesandgoes\nVersion: {version}\n")
        whole.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        names = ("comesandgoes.py", f"{info}/METADATA", f"{info}/WHEEL", f"{info}/RECORD")
        whole.writestr(f"{info}/RECORD", "".join(f"{name},,\n" for name in names))
    return str(path)


def test_pip_is_noticed(shared: Python, archive: Path, cache: Path, tmp_path: Path) -> None:
    """After installing, upgrading and removing a package the next start imports the current files."""
    code = """
import json, pycachehook
try:
    from comesandgoes import VERSION
except ImportError:
    VERSION = None
import jinja2
print(json.dumps([VERSION, pycachehook.active().stats.hits_by_place["archive"] > 0, pycachehook.active().reason]))
"""
    executable = Path(shared.executable)
    assert start(shared, archive, cache, code)[0] is None
    pip_install(executable, distribution(tmp_path, "1.0"))
    version, stdlib_is_used, reason = start(shared, archive, cache, code)
    assert (version, stdlib_is_used) == ("1.0", True)
    assert "not used for purelib" in reason
    again = build(shared, tmp_path / "again.pyca", "unchecked-hash")
    version, _, reason = start(shared, again, cache, code)
    assert (version, reason) == ("1.0", None)
    pip_install(executable, distribution(tmp_path, "2.0"))
    assert start(shared, again, cache, code)[0] == "2.0"
    shared("-m", "pip", "uninstall", "--yes", "--quiet", "comesandgoes")
    assert start(shared, again, cache, code)[0] is None
    assert start(shared, archive, cache, code)[2] is None


def test_another_environment_at_another_path(
    shared: Python, archive: Path, cache: Path, tmp_path: Path, purelib: Callable[[Python], Path]
) -> None:
    """One archive serves two environments, and the code in each names its own sources."""
    folder = tmp_path / "second"
    venv.EnvBuilder(symlinks=True).create(folder)
    second = type(shared)(folder / "bin" / "python")
    shutil.rmtree(purelib(second))
    shutil.copytree(purelib(shared), purelib(second), ignore=shutil.ignore_patterns("__pycache__"))
    said = start(second, archive, cache)
    assert (said["compiled"], said["files"], said["reason"]) == (0, [], None)
    code = """
import inspect, json, traceback
import jinja2
try:
    jinja2.Template("{% nonsense %}")
except Exception as error:
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
print(json.dumps([jinja2.__file__, jinja2.Template.__new__.__code__.co_filename, inspect.getsource(jinja2)[:10], frames]))
"""
    places = start(second, archive, cache, code)
    assert places[2] == '"""Jinja i'
    assert all(place.startswith(str(purelib(second))) for place in (*places[:2], *places[3][1:3]))


MODULES = {"app.py": "import pk.one\nprint(pk.one.NAME)\n", "pk/__init__.py": "", "pk/one.py": "NAME = 'one'\n"}


def run_app(python: Python, root: Path, out: Path, cache: Path, **environment: str) -> str:
    """Run the application with its archive and return its output."""
    options = ("--archives", out, "--cache-dir", cache)
    return python.within(environment)("-m", "pycachehook", "run", *options, root / "app.py").stdout.strip()


@pytest.mark.parametrize("mode", ["checked-hash", "unchecked-hash"])
def test_edits_and_additions(python: Python, tree: Tree, cache: Path, tmp_path: Path, mode: str) -> None:
    """Under checked-hash edits and added modules are noticed; under unchecked-hash the promise of no changes holds."""
    root, out = tree(MODULES), tmp_path / "app.pyca"
    python("-m", "pycachehook", "archive", "build", "--path", root, "--invalidation-mode", mode, out)
    assert run_app(python, root, out, cache) == "one"
    (root / "pk/one.py").write_text("NAME = 'new'\n")
    assert run_app(python, root, out, cache) == ("new" if mode == "checked-hash" else "one")
    process = python("-m", "pycachehook", "archive", "verify", "--sources", out, check=False)
    assert process.returncode == 1
    assert "application/pk/one.py: stale-source" in process.stdout
    (root / "pk/one.py").write_text("from pk.two import NAME\n")
    (root / "pk/two.py").write_text("NAME = 'two'\n")
    assert run_app(python, root, out, cache) == ("two" if mode == "checked-hash" else "one")
    front = tmp_path / "front"
    (front / "pk").mkdir(parents=True)
    (front / "pk/__init__.py").touch()
    (front / "pk/one.py").write_text("NAME = 'in front'\n")
    (root / "app.py").write_text(f"import sys; sys.path.insert(0, {str(front)!r})\n{MODULES['app.py']}")
    python("-m", "pycachehook", "archive", "build", "--path", root, "--invalidation-mode", mode, out)
    assert run_app(python, root, out, cache) == "in front"


def test_the_first_archive_wins(python: Python, tree: Tree, cache: Path, tmp_path: Path) -> None:
    """The first archive is used, even if it checks sources and the second does not."""
    root, checked, unchecked = tree(MODULES), tmp_path / "checked.pyca", tmp_path / "unchecked.pyca"
    python("-m", "pycachehook", "archive", "build", "--path", root, "--invalidation-mode", "unchecked-hash", unchecked)
    (root / "pk/one.py").write_text("NAME = 'new'\n")
    python("-m", "pycachehook", "archive", "build", "--path", root, checked)
    for archives, name in (((checked, unchecked), "new"), ((unchecked, checked), "one")):
        assert run_app(python, root, Path(":".join(map(str, archives))), cache) == name


def test_a_module_made_by_the_program_itself(python: Python, tree: Tree, cache: Path, tmp_path: Path) -> None:
    """A new module whose name is not in the archive is found; after `invalidate_caches` the root is checked again."""
    text = """
import pathlib, importlib, sys
here = pathlib.Path(__file__).parent
(here / "made.py").write_text("NAME = 'made'")
import made
importlib.invalidate_caches()
import pycachehook
hook = pycachehook.active()
print(made.NAME, "no longer what it was" in hook.reason)
"""
    root, out = tree({"app.py": text}), tmp_path / "app.pyca"
    python("-m", "pycachehook", "archive", "build", "--path", root, "--invalidation-mode", "unchecked-hash", out)
    assert run_app(python, root, out, cache) == "made True"


def test_two_edits_in_a_second_of_a_module_that_came_later(
    python: Python, tree: Tree, cache: Path, tmp_path: Path
) -> None:
    """Edits of a module that is not in the archive are noticed, because it has a hash-based entry in the cache."""
    root, out = tree({"app.py": "import pk.made\nprint(pk.made.NAME)\n", "pk/__init__.py": ""}), tmp_path / "app.pyca"
    python("-m", "pycachehook", "archive", "build", "--path", root, "--invalidation-mode", "unchecked-hash", out)
    made = root / "pk/made.py"
    for name in ("one", "two"):
        made.write_text(f"NAME = '{name}'\n")
        os.utime(made, (10**9, 10**9))
        assert run_app(python, root, out, cache) == name


def test_a_tools_own_path_hook(python: Python, tree: Tree, cache: Path, tmp_path: Path) -> None:
    """If a tool has its own finders for directories, they are used instead of the archive."""
    text = """
import sys
from importlib.machinery import FileFinder, SourceFileLoader

class Loader(SourceFileLoader):
    def get_data(self, path):
        return b"NAME = 'the tool'"
    def get_code(self, name):
        return self.source_to_code(self.get_data(self.path), self.path)

sys.path_hooks.insert(0, FileFinder.path_hook((Loader, [".py"])))
sys.path_importer_cache.clear()
import pk.one
print(pk.one.NAME)
"""
    root, out = tree({**MODULES, "app.py": text}), tmp_path / "app.pyca"
    python("-m", "pycachehook", "archive", "build", "--path", root, "--invalidation-mode", "unchecked-hash", out)
    assert run_app(python, root, out, cache) == "the tool"


def test_a_recorded_start_of_odd_modules(python: Python, tree: Tree, tmp_path: Path) -> None:
    """Recording executes no lazy module, and accepts objects in `sys.modules` that are not modules."""
    text = """
import importlib.util, sys
spec = importlib.util.find_spec("lazy")
spec.loader = importlib.util.LazyLoader(spec.loader)
module = sys.modules["lazy"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
class Odd:
    __spec__ = object()
sys.modules["odd"] = Odd()
"""
    root, profile = tree({"app.py": text, "lazy.py": "print('run')\n"}), tmp_path / "profile"
    process = python("-m", "pycachehook", "run", "--record", profile, root / "app.py")
    assert (process.stdout, process.stderr) == ("", "")
    assert str(root / "lazy.py") in profile.read_text().splitlines()


def test_a_recorded_start(python: Python, tree: Tree, tmp_path: Path) -> None:
    """`run --record` writes the sources in the order of their use, and an archive contains them first."""
    text = "import outer\nimport pk.one\n"
    sources = {
        **MODULES,
        "aside.py": "",
        "app.py": text,
        "outer/__init__.py": "from outer import inner",
        "outer/inner.py": "",
    }
    root, profile, out = tree(sources), tmp_path / "profile", tmp_path / "a"
    python("-m", "pycachehook", "run", "--record", profile, root / "app.py")
    used = ["outer/__init__.py", "outer/inner.py", "pk/__init__.py", "pk/one.py"]
    ours = [line for line in profile.read_text().splitlines() if line.startswith(str(root))]
    assert ours == [str(root / name) for name in used]
    python("-m", "pycachehook", "archive", "build", "--path", root, "--profile", profile, out)
    said = json.loads(python("-m", "pycachehook", "archive", "list", "--json", out).stdout)
    assert [each["source"] for each in said["entries"]] == [*used, "app.py", "aside.py"]
    assert said["entries"][3]["bytes"] < said["start_bytes"]


def test_explain_and_rules(python: Python, tree: Tree, cache: Path, tmp_path: Path) -> None:
    """`explain` names the archive member; a rule that excludes a source excludes it from the archive, too."""
    root, out = tree(MODULES), tmp_path / "app.pyca"
    python("-m", "pycachehook", "archive", "build", "--path", root, "--invalidation-mode", "unchecked-hash", out)
    options = {"PYCACHEHOOK_ARCHIVES": str(out), "PYCACHEHOOK_CACHE_DIR": str(cache), "PYTHONPATH": str(root)}
    said = json.loads(python.within(options)("-m", "pycachehook", "explain", "--json", "pk.one").stdout)
    assert said["outcome"] == "loaded from archive"
    assert said["places"][0]["path"] == f"{out}/application/pk/one.{sys.implementation.cache_tag}.pyc"
    (root / "new.py").touch()
    said = json.loads(python.within(options)("-m", "pycachehook", "explain", "--json", "pk.one").stdout)
    assert (said["places"][0]["verdict"], "no longer what it was" in said["places"][0]["detail"]) == ("absent", True)
    (root / "new.py").unlink()
    excluded = {**options, "PYCACHEHOOK_RULES": '[{match = "*/one.py", enabled = false}]'}
    code = "import pk.one, pycachehook; print(type(pk.one.__loader__).__name__, type(pk.__loader__).__name__)"
    shown = python.within(excluded)("-m", "pycachehook", "run", "-c", code).stdout.strip()
    assert shown == "SourceFileLoader CachingLoader"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("archive", "list", "/nowhere/a.pyca"), "The archive /nowhere/a.pyca cannot be opened: "),
        (("archive", "verify", __file__), "is damaged, or is no archive of this format."),
        (("archive", "build", "--path", "/nowhere", "a.pyca"), "/nowhere does not exist."),
        (("archive", "build", "--path", ".", "/nowhere/a.pyca"), "The archive /nowhere/a.pyca cannot be written: "),
        (
            ("archive", "build", "--profile", "/nowhere/p", "--path", ".", "a"),
            "The profile /nowhere/p cannot be read: ",
        ),
    ],
)
def test_bad_input(python: Python, tree: Tree, arguments: tuple[str, ...], expected: str) -> None:
    """Wrong input is reported in one sentence, and no file is left behind."""
    root = tree(MODULES)
    process = python("-m", "pycachehook", *arguments, check=False, cwd=root)
    assert (process.returncode, process.stderr.count("\n"), process.stdout) == (1, 1, "")
    assert expected in process.stderr
    assert sorted(each.name for each in root.iterdir() if each.name != "__pycache__") == ["app.py", "pk"]


def test_unprivileged_and_read_only(
    python: Python, tree: Tree, tmp_path: Path, private_mounts: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """An archive built by root serves another user in a tree mounted read-only."""
    root, out = tree(MODULES), tmp_path / "app.pyca"
    python("-m", "pycachehook", "archive", "build", "--path", root, "--invalidation-mode", "unchecked-hash", out)
    tmp_path.chmod(0o755)
    ours = Path(pycachehook.__file__).parent
    code = """
import sys; sys.path.insert(0, sys.argv[1])
import pycachehook
hook = pycachehook.install(archives=[sys.argv[2]], cache_dir="/nowhere/cache")
import pk.one
print(pk.one.NAME, hook.stats.hits_by_place["archive"], hook.stats.compiled)
"""
    process = private_mounts(
        python, "-c", code, root, out, read_only=[tmp_path], reach=[tmp_path, ours.parent], user=12345
    )
    assert process.stdout.strip() == "one 2 0"


def test_builds_are_the_same_whatever_the_hash_seed(python: Python, tree: Tree, tmp_path: Path) -> None:
    """The bytes of an archive do not depend on the order of sets or on the number of processes."""
    many = {
        f"m{number}.py": f"names = {{'a', 'b', 'c', 'd{number}'}}\nprint('a' in {{'x', 'y', 'z'}})\n"
        for number in range(30)
    }
    root, out = tree({**MODULES, **many}), tmp_path / "app.pyca"
    built = set()
    for seed, jobs in (("0", "1"), ("1", "2"), ("2", "4")):
        python("-m", "pycachehook", "archive", "build", "--path", root, "-j", jobs, out, PYTHONHASHSEED=seed)
        built.add(out.read_bytes())
    assert len(built) == 1


def test_builds_are_the_same_whatever_strings_are_interned(python: Python, tree: Tree, tmp_path: Path) -> None:
    """The bytes of an archive do not depend on the strings that the process had before, and interned."""
    source = """
def first(mode): return mode in {"read_only", "write_only"}, [each for each in mode], table["from_here":"to_there"]
def second(mode): return mode in {"read_only", "write_only"}, "*", lambda: 1.5, table["from_here":"to_there"]
class Outer:
    class Inner: pass
"""
    root, out = tree({**MODULES, "sets.py": source}), tmp_path / "app.pyca"
    program = """
import sys
names = ["read_only", "write_only", "from_here", "to_there", "Outer.Inner"] if "names" in sys.argv else []
kept = [sys.intern("".join(list(name))) for name in names]
if "names" in sys.argv:
    sys.intern("*"), sys.intern((lambda: 1).__code__.co_name)
sys.argv[1:] = sys.argv[2:]
from pycachehook.cli.main import main
sys.exit(main())
"""
    built = set()
    for which in ("none", "names"):
        python("-c", program, which, "archive", "build", "--path", root, "-j", "1", out)
        built.add(out.read_bytes())
    assert len(built) == 1


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="needs a file system where a name is any bytes")
def test_a_name_that_is_not_utf8(python: Python, tree: Tree, tmp_path: Path) -> None:
    """A source that an archive cannot name is skipped with the reason; the others are in the archive."""
    root = tree({"named.py": ""})
    (root / os.fsdecode(b"n\xff.py")).write_text("")
    process = python("-m", "pycachehook", "archive", "build", "--path", root, tmp_path / "app.pyca")
    skipped, summary = process.stdout.splitlines()
    assert skipped.endswith("n\\udcff.py: skipped: its path is not UTF-8, as names in an archive are")
    assert "1 entry" in summary
    assert summary.endswith("1 skipped")


@pytest.mark.full
def test_builds_are_the_same_with_and_without_cache_entries(
    python: Python, tree: Tree, cache: Path, tmp_path: Path
) -> None:
    """Entries that other processes wrote, some at imports, give the same bytes as compiling the sources anew."""
    root = tree({})
    for name in ("asyncio", "email", "json", "logging"):
        shutil.copytree(Path(os.__file__).with_name(name), root / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = ("-m", "pycachehook", "archive", "build", "--path", root, "--force")
    compiled, cached = tmp_path / "1" / "app.pyca", tmp_path / "2" / "app.pyca"
    compiled.parent.mkdir()
    cached.parent.mkdir()
    python(*build, compiled, PYCACHEHOOK_CACHE_DIR=str(tmp_path / "none"), PYTHONHASHSEED="1")
    program = f"import sys; sys.path.insert(0, {str(root)!r}); import asyncio, email.parser, json, logging.config"
    python("-m", "pycachehook", "run", "-c", program, PYCACHEHOOK_CACHE_DIR=str(cache), PYTHONHASHSEED="2")
    python("-m", "pycachehook", "precompile", root, PYCACHEHOOK_CACHE_DIR=str(cache), PYTHONHASHSEED="3")
    python(*build, cached, PYCACHEHOOK_CACHE_DIR=str(cache), PYTHONHASHSEED="4")
    assert cached.read_bytes() == compiled.read_bytes()


def test_a_spec_found_before_an_edit(python: Python, tree: Tree, cache: Path, tmp_path: Path) -> None:
    """An archive that checks sources compares the source when the module is executed, not when it was found."""
    text = """
import importlib.util, pathlib, sys
here = pathlib.Path(__file__).parent
names = []
for lazy in (False, True):
    (here / "made.py").write_text("NAME = 'old'")
    spec = importlib.util.find_spec("made")
    if lazy:
        spec.loader = importlib.util.LazyLoader(spec.loader)
    made = sys.modules["made"] = importlib.util.module_from_spec(spec)
    if lazy:
        spec.loader.exec_module(made)
    (here / "made.py").write_text("NAME = 'new'")
    if not lazy:
        spec.loader.exec_module(made)
    names.append(made.NAME)
    del sys.modules["made"]
print(*names)
"""
    root, out = tree({"app.py": text, "made.py": "NAME = 'old'"}), tmp_path / "app.pyca"
    python("-m", "pycachehook", "archive", "build", "--path", root, out)
    assert run_app(python, root, out, cache) == "new new"
