"""The activation files: active at every start of an environment after `enable`, without a trace after `disable`."""

from __future__ import annotations

import json
import shutil
import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from conftest import Python

    from .conftest import Measure

pytestmark = pytest.mark.full

OTHERS, CALLER = ("pycachehook.pth", "pycachehook.start")[:: -1 if sys.version_info < (3, 18) else 1]
FILES = ["_pycachehook_startup.py", CALLER]

APPLICATION = {
    "probe.py": "LOADER = type(__spec__.loader).__name__\n",
    "app.py": "import probe\n\nprint(probe.LOADER)\n",
    "workers.py": """
        import multiprocessing, sys

        def loader():
            import probe
            return probe.LOADER

        if __name__ == "__main__":
            with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
                print(pool.apply(loader))
    """,
}
OURS, STOCK = "CachingLoader\n", "SourceFileLoader\n"

# The modules that a start has loaded in addition to a bare one, before and after its first import of a source module.
ALLOWED_AT_START = {"_pycachehook_startup"}
ALLOWED = ALLOWED_AT_START | {
    "pycachehook",
    "pycachehook._compat",
    "pycachehook.cache_dir",
    "pycachehook.events",
    "pycachehook.finder",
    "pycachehook.runtime",
    "pycachehook.loader",
    "pycachehook.own_modules",
    "pycachehook.path_search",
    "pycachehook.paths",
    "pycachehook.pyc",
    "pycachehook.store",
    "pycachehook.system",
    "pycachehook.trust",
}


@pytest.fixture
def application(tree: Callable[[Mapping[str, str]], Path]) -> Path:
    """Return a directory with an application that prints which loaders load its modules."""
    return tree({name: text.replace("\n        ", "\n") for name, text in APPLICATION.items()})


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a path for the cache directory of all tests, which `enable` records."""
    return tmp_path_factory.mktemp("activation") / "cache"


@pytest.fixture
def cache(shared_cache: Path) -> Iterator[Path]:
    """Return this path, where nothing is yet."""
    yield shared_cache
    shutil.rmtree(shared_cache, ignore_errors=True)


@pytest.fixture(scope="module")
def activation_files(shared_environment: Python, shared_cache: Path) -> dict[Path, bytes]:
    """Return the files that `enable` writes with this cache directory, with their contents."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    folder = Path(shared_environment("-I", "-c", ask).stdout.strip())
    before = set(listing(folder))
    shared_environment("-m", "pycachehook", "enable", "--cache-dir", shared_cache)
    written = {folder / name: data for name, data in listing(folder).items() if name not in before}
    assert sorted(path.name for path in written if path.parent == folder) == FILES
    shared_environment("-m", "pycachehook", "disable")
    return written


@pytest.fixture
def enabled(environment: Python, activation_files: Mapping[Path, bytes], cache: Path) -> Iterator[Python]:
    """Return an environment with the hook enabled."""
    for path, data in activation_files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    yield environment
    for path in activation_files:
        for each in (path, *path.parent.glob(f"__pycache__/{path.stem}.*")):
            each.unlink(missing_ok=True)


def listing(folder: Path) -> dict[str, bytes]:
    """Return all files below `folder`, except the bytecode of installed packages."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and (path.suffix != ".pyc" or "pycachehook_startup" in path.name)
    }


def has_entry(cache: Path, application: Path, name: str = "probe") -> bool:
    """Return whether the cache has an entry for a module of the application."""
    return bool(list((cache / str(application)[1:]).glob(f"{name}.*.pyc")))


@pytest.mark.parametrize(
    "arguments",
    [
        ("-c", "import probe; print(probe.LOADER)"),
        ("-m", "app"),
        ("app.py",),
        ("workers.py", "spawn"),
        ("workers.py", "forkserver"),
        ("workers.py", "fork"),
    ],
    ids=["-c", "-m", "script", "spawn", "forkserver", "fork"],
)
def test_effective_in_every_kind_of_start(
    arguments: tuple[str, ...], enabled: Python, application: Path, cache: Path
) -> None:
    """After `enable` a module is loaded by pycachehook from the cache, however the program was started."""
    for _ in range(2):
        assert enabled(*arguments, cwd=application, PYTHONPATH=str(application)).stdout == OURS
    assert has_entry(cache, application)
    assert not list(application.rglob("*.pyc"))
    enabled("-m", "pycachehook", "disable")
    assert enabled(*arguments, cwd=application, PYTHONPATH=str(application)).stdout == STOCK


def test_effective_in_console_scripts(enabled: Python, measure: Measure) -> None:
    """A console script that pip installed loads its modules through the cache."""
    scripts = Path(enabled.executable).parent
    first = measure(enabled, scripts / "pip", "--version")
    second = measure(enabled, scripts / "pip", "--version")
    state = json.loads(enabled(scripts / "pycachehook", "status", "--json").stdout)
    assert first["hits"] + first["compiled"] > 10
    assert second["compiled"] == 0
    assert second["hits"] > 10
    assert state["active"] is True


def test_active_once_though_files_run_twice(
    enabled: Python, application: Path, purelib: Callable[[Python], Path], measure: Measure
) -> None:
    """There is one finder and one line of counters, although before Python 3.15 a venv's `.pth` files run twice."""
    counter = purelib(enabled) / "zz_counter.pth"
    counter.write_text("import sys; sys.runs_of_pth = getattr(sys, 'runs_of_pth', 0) + 1\n", encoding="utf-8")
    program = (
        "import probe, sys; print(sys.runs_of_pth, sum(type(finder).__module__.startswith(('pycachehook', "
        "'_pycachehook')) for finder in sys.meta_path))"
    )
    try:
        measure(enabled, "-c", program, PYTHONPATH=str(application))  # asserts that there is one line
    finally:
        counter.unlink()
    assert measure.output == f"{1 if sys.version_info >= (3, 15) else 2} 1\n"


@pytest.mark.parametrize("options", [(), ("--invalidation-mode", "unchecked-hash"), ("--read-only",)])
def test_enable_twice_and_disable(
    options: tuple[str, ...], environment: Python, purelib: Callable[[Python], Path], cache: Path
) -> None:
    """Enabling again changes no byte, other options replace the first, and `disable` leaves the tree unchanged."""
    folder = purelib(environment)
    before = listing(folder)
    states = []
    for arguments in ((), options, options):
        environment("-m", "pycachehook", "enable", "--cache-dir", cache, *arguments)
        states.append(listing(folder))
    assert sorted(name for name in states[0] if name not in before and not name.startswith("__pycache__")) == FILES
    assert states[1] == states[2]
    assert (states[0] == states[1]) is (options == ())
    environment("-m", "pycachehook", "disable")
    assert listing(folder) == before
    assert "nothing to remove" in environment("-m", "pycachehook", "disable").stdout


def test_options_are_those_that_were_enabled(environment: Python, cache: Path, application: Path) -> None:
    """The options of `enable` are used at the next start; the environment overrides them, and `status` shows both."""
    environment("-m", "pycachehook", "enable", "--cache-dir", cache, "--invalidation-mode", "unchecked-hash")
    try:
        ask = ("-m", "pycachehook", "status", "--json")
        state = json.loads(environment(*ask).stdout)
        overridden = json.loads(environment(*ask, PYCACHEHOOK_INVALIDATION_MODE="timestamp").stdout)
        environment("app.py", cwd=application)
    finally:
        environment("-m", "pycachehook", "disable")
    (entry,) = cache.rglob("probe.*.pyc")
    assert (state["cache_dir"], state["invalidation_mode"]) == (str(cache), "unchecked-hash")
    assert overridden["options"]["invalidation_mode"] == {
        "value": "timestamp",
        "origin": "PYCACHEHOOK_INVALIDATION_MODE",
    }
    assert entry.read_bytes()[4:8] == b"\1\0\0\0"


def test_default_cache_is_that_of_the_user_who_starts(environment: Python, application: Path, tmp_path: Path) -> None:
    """Without `--cache-dir` the cache is below the home directory of the user who starts Python."""
    other = tmp_path / "other"
    other.mkdir()
    environment("-m", "pycachehook", "enable")
    try:
        assert environment("app.py", cwd=application, HOME=str(other)).stdout == OURS
    finally:
        environment("-m", "pycachehook", "disable")
    assert has_entry(other / ".cache" / "pycachehook", application)
    assert not has_entry(tmp_path / "home" / ".cache" / "pycachehook", application)


def test_prefix_names_another_environment(
    python: Python, environment: Python, cache: Path, application: Path, purelib: Callable[[Python], Path]
) -> None:
    """`--prefix` enables and disables the hook in another environment, not in the one that runs the command."""
    prefix = str(Path(environment.executable).parent.parent)
    python("-m", "pycachehook", "enable", "--prefix", prefix, "--cache-dir", cache)
    try:
        assert all((purelib(environment) / name).exists() for name in FILES)
        assert environment("app.py", cwd=application).stdout == OURS
        assert python("-B", "app.py", cwd=application).stdout == STOCK
    finally:
        python("-m", "pycachehook", "disable", "--prefix", prefix)
    assert not any((purelib(environment) / name).exists() for name in FILES)
    assert environment("-B", "app.py", cwd=application).stdout == STOCK


@pytest.mark.parametrize(("bare_environment", "code"), [(False, 2), (True, 1)], ids=["no environment", "not installed"])
@pytest.mark.parametrize("command", ["enable", "disable"])
def test_wrong_prefix(command: str, bare_environment: bool, code: int, python: Python, tmp_path: Path) -> None:
    """A `--prefix` without an environment, or without this package in it, is a one-sentence error."""
    prefix = tmp_path / "elsewhere"
    prefix.mkdir()
    if bare_environment:
        python("-m", "venv", "--without-pip", prefix)
    before = sorted(prefix.rglob("*"))
    process = python("-m", "pycachehook", command, "--prefix", prefix, check=False)
    assert process.returncode == code
    assert process.stderr.startswith("pycachehook: error: ")
    assert process.stderr.count("\n") == 1
    assert str(prefix) in process.stderr
    assert sorted(prefix.rglob("*")) == before


def test_silent_after_uninstall(
    make_environment: Callable[..., Python], cache: Path, application: Path, purelib: Callable[[Python], Path]
) -> None:
    """Python starts silently when the wheel was uninstalled and the activation files remain."""
    environment = make_environment()
    environment("-m", "pycachehook", "enable", "--cache-dir", cache)
    assert environment("app.py", cwd=application).stdout == OURS
    environment("-m", "pip", "uninstall", "--quiet", "--yes", "--disable-pip-version-check", "pycachehook")
    started = environment("app.py", cwd=application)
    assert all((purelib(environment) / name).exists() for name in FILES)
    assert (started.stdout, started.stderr) == (STOCK, "")


@pytest.mark.parametrize(
    ("flag", "expected"), [("-S", STOCK), ("-I", OURS), ("-E", OURS), ("-s", OURS), ("-P", OURS), ("-B", OURS)]
)
def test_interpreter_flags(
    *, flag: str, expected: str, enabled: Python, application: Path, cache: Path, measure: Measure
) -> None:
    """Only `-S` prevents the start-up files; `-I` and `-E` ignore all variables except the kill switch."""
    program = f"import sys; sys.path.insert(0, {str(application)!r}); import probe; print(probe.LOADER)"
    arguments = (flag, "-c", program)
    if expected == STOCK:
        started = enabled("-B", *arguments, PYCACHEHOOK_STATS=str(measure.file))
        assert (started.stdout, started.stderr) == (expected, "")
        assert not measure.file.exists()
    elif flag in ("-E", "-I"):
        started = enabled(*arguments, PYCACHEHOOK_STATS=str(measure.file), PYCACHEHOOK_LAYOUT="nonesuch")
        assert (started.stdout, measure.file.exists()) == (expected, False)
        assert enabled(*arguments, PYCACHEHOOK_DISABLE="1").stdout == STOCK
    else:
        stats = measure(enabled, *arguments)
        assert measure.output == expected
        assert stats["compiled"] > 0
    assert has_entry(cache, application) is (expected == OURS and flag != "-B")


@pytest.mark.parametrize("value", ["1", "true", "yes", "anything"])
def test_kill_switch(value: str, enabled: Python, application: Path, cache: Path, measure: Measure) -> None:
    """Under `PYCACHEHOOK_DISABLE` nothing is installed, not even by `install()`, and CPython works as usual."""
    settings = {"PYCACHEHOOK_DISABLE": value, "PYCACHEHOOK_STATS": str(measure.file), "PYTHONPATH": str(application)}
    program = "import sys, pycachehook; pycachehook.install(); import probe; print(probe.LOADER, sys.pycache_prefix)"
    started = enabled.within(settings)("-c", program)
    assert started.stdout == f"{STOCK.strip()} None\n"
    assert started.stderr == ""
    assert not measure.file.exists()
    assert not cache.exists() or not has_entry(cache, application)
    assert list(application.rglob("__pycache__/probe.*.pyc"))


@pytest.mark.parametrize("value", ["", "0", "false", "no"])
def test_kill_switch_that_is_off(value: str, enabled: Python, application: Path) -> None:
    """A kill switch that is empty, or has a value for "no", has no effect."""
    assert enabled("app.py", cwd=application, PYCACHEHOOK_DISABLE=value).stdout == OURS


@pytest.mark.parametrize(
    "setting",
    [
        "PYCACHEHOOK_INVALIDATION_MODE=hash",
        "PYCACHEHOOK_LAYOUT=shred",
        "PYCACHEHOOK_READ_ONLY=perhaps",
        "PYCACHEHOOK_IN_TREE=burn",
        "PYCACHEHOOK_RULES=[{",
        "PYCACHEHOOK_RULES=[{match = '*'}]",
        "PYCACHEHOOK_LOCK_TIMEOUT=soon",
        "PYCACHEHOOK_FORCE_WRITE=2",
        "PYCACHEHOOK_CONFIG=/nowhere/at/all.toml",
        "PYCACHEHOOK_CACHE_DIR=/dev/null/below",
        "PYCACHEHOOK_CACHE_DIR=/dev/null",
        "PYCACHEHOOK_CACHE_DIR=/proc/1/nowhere",
        "PYCACHEHOOK_STRICT=1",
        "PYCACHEHOOK_STATS=/nowhere/at/all/stats",
        "PYCACHEHOOK_STATS=/",
        "PYCACHEHOOK_LOG=/nowhere/at/all/log",
        "PYCACHEHOOK_NO_SUCH_OPTION=1",
    ],
)
def test_wrong_variable_is_silent_at_start(setting: str, enabled: Python, application: Path, cache: Path) -> None:
    """A wrong variable never prints or raises at start-up: the program runs."""
    if setting == "PYCACHEHOOK_STRICT=1":  # with a fault that strict would raise
        cache.mkdir(exist_ok=True)
        cache.chmod(0o777)
    name, _, value = setting.partition("=")
    started = enabled.within({name: value})("app.py", cwd=application)
    assert started.stdout in (OURS, STOCK)
    assert started.stderr == ""


def test_wrong_variable_is_explained_where_asked(enabled: Python, application: Path) -> None:
    """With `PYCACHEHOOK_LOG` a start that fails says why, in one line that names the variable."""
    settings = {"PYCACHEHOOK_INVALIDATION_MODE": "hash", "PYCACHEHOOK_LOG": "stderr"}
    started = enabled.within(settings)("app.py", cwd=application)
    assert started.stdout == STOCK
    assert started.stderr.count("\n") == 1
    assert "not active" in started.stderr
    assert "PYCACHEHOOK_INVALIDATION_MODE" in started.stderr


@pytest.fixture
def bare_start(environment: Python, purelib: Callable[[Python], Path]) -> Iterator[None]:
    """Return start-up files that load nothing, because Python itself loads modules to run such files.

    Some systems' `sitecustomize` loads more; here there is none.
    """
    files = {"aa_first.pth": "import sys; sys.modules.setdefault('sitecustomize', sys)\n"}
    if sys.version_info >= (3, 18):
        files["aa_second.start"] = "sys:getrecursionlimit\n"
    for name, text in files.items():
        (purelib(environment) / name).write_text(text, encoding="utf-8")
    yield
    for name in files:
        (purelib(environment) / name).unlink()


@pytest.mark.usefixtures("bare_start")
@pytest.mark.parametrize(("program", "allowed"), [("pass", ALLOWED_AT_START), ("import probe", ALLOWED)])
@pytest.mark.alone
def test_modules_loaded_by_activation(program: str, allowed: set[str], enabled: Python, application: Path) -> None:
    """In addition to a bare start, activation loads exactly the listed modules, most of them at the first import."""
    script = application / "loaded.py"
    script.write_text(program + "\nimport sys\nprint(*sorted(sys.modules), sep='\\n')\n", encoding="utf-8")
    for _ in range(2):  # the second start has nothing to store
        active = set(enabled(script).stdout.split())
    enabled("-m", "pycachehook", "disable")
    bare = set(enabled(script).stdout.split())
    assert bare <= active
    assert active - bare == allowed


def test_importtime_shows_nothing_of_the_package(enabled: Python, application: Path) -> None:
    """`-X importtime` lists only the start-up module, because the other modules come from the image."""
    for _ in range(2):  # the first one has misses
        shown = enabled("-X", "importtime", "app.py", cwd=application).stderr
        names = {line.rpartition("|")[2].strip() for line in shown.splitlines()}
        assert {name for name in names if "pycachehook" in name} == {"_pycachehook_startup"}
    loaded = enabled("-c", "import sys, probe; print(*sys.modules)", cwd=application).stdout.split()
    assert not [name for name in loaded if name.startswith("pycachehook.") and name.count(".") > 1]


def test_tools_that_ask_for_the_loader_s_type(enabled: Python) -> None:
    """A tool that looks up the exact type of a loader in a table, as distlib in pip does, works."""
    program = (
        "from pip._vendor.distlib.resources import finder; print(finder('pip._vendor.distlib').find('util.py').name)"
    )
    assert enabled("-c", program, PYCACHEHOOK_DISABLE="1").stdout == "util.py\n"
    assert enabled("-c", program).stdout == "util.py\n"


def test_the_caller_activates(enabled: Python, application: Path, purelib: Callable[[Python], Path]) -> None:
    """Only the file that calls the start-up module activates; without it Python starts as usual."""
    assert enabled("app.py", cwd=application).stdout == OURS
    (purelib(enabled) / CALLER).unlink()
    assert enabled("-B", "app.py", cwd=application).stdout == STOCK


@pytest.mark.skipif(sys.version_info < (3, 15), reason="needs a Python that reads .start files")
def test_start_files_are_not_read_where_they_cost(enabled: Python) -> None:
    """From 3.15 on a `.start` file makes `site` load `pkgutil` and `re`, so before 3.18 `enable` writes none."""
    loaded = enabled("-c", "import sys; print(*sorted({'pkgutil', 're'} & set(sys.modules)))").stdout
    enabled("-m", "pycachehook", "disable")
    assert loaded == enabled("-c", "import sys; print(*sorted({'pkgutil', 're'} & set(sys.modules)))").stdout


def test_disabled_start_writes_nothing(enabled: Python, application: Path, cache: Path) -> None:
    """With a cache directory that others may write to, the program runs and nothing is written."""
    cache.mkdir(exist_ok=True)
    cache.chmod(0o777)
    before = sorted(cache.rglob("*"))
    started = enabled("app.py", cwd=application)
    assert (started.stdout, started.stderr) == (OURS, "")
    assert sorted(cache.rglob("*")) == before
    assert not list(application.rglob("*.pyc"))


def test_the_start_up_image_under_unchecked_hash(make_environment: Callable[..., Python], cache: Path) -> None:
    """The image is validated by pip's record, not by each source: a source edited in place has no effect."""
    environment = make_environment()
    package = Path(environment("-c", "import pycachehook; print(pycachehook.__path__[0])").stdout.strip())
    source, show = package / "finder.py", "import colorsys, pycachehook.finder as f; print(hasattr(f, 'edited'))"
    text = source.read_text()
    for mode, seen in (("checked-hash", "True\n"), ("unchecked-hash", "False\n")):
        environment("-m", "pycachehook", "enable", "--cache-dir", cache, "--invalidation-mode", mode)
        source.unlink()  # otherwise the hard-linked file in pip's cache could be edited with it
        source.write_text(f"{text}\nedited = True\n")
        assert environment("-c", show).stdout == seen
        source.write_text(text)
    (record,) = package.parent.glob("pycachehook-*.dist-info/RECORD")
    source.write_text(f"{text}\nedited = True\n")
    record.write_text(record.read_text().replace("pycachehook/finder.py,sha256=", "pycachehook/finder.py,sha256=x"))
    assert environment("-c", show).stdout == "True\n"
    environment("-m", "pycachehook", "enable", "--cache-dir", cache, "--invalidation-mode", "unchecked-hash")
    source.write_text(text)  # also different from the recorded hash
    assert environment("-c", show).stdout == "False\n"


def test_the_start_up_image_with_the_record_of_an_older_version(
    make_environment: Callable[..., Python], cache: Path
) -> None:
    """The image works after `pip install --target --upgrade`, which leaves the record of the old version behind."""
    environment = make_environment()
    package = Path(environment("-c", "import pycachehook; print(pycachehook.__path__[0])").stdout.strip())
    environment("-m", "pycachehook", "enable", "--cache-dir", cache, "--invalidation-mode", "unchecked-hash")
    for name, line in (("__init__", "__version__ = '999'"), ("finder", "newer = True")):
        source = package / f"{name}.py"
        text = source.read_text()
        source.unlink()  # otherwise the hard-linked file in pip's cache could be edited with it
        source.write_text(f"{text}\n{line}\n")
    show = "import colorsys, pycachehook, pycachehook.finder as f; print(pycachehook.__version__, hasattr(f, 'newer'))"
    assert environment("-c", show).stdout == "999 True\n"


def make_wheel(folder: Path, version: str, modules: Mapping[str, str]) -> Path:
    """Write a wheel of the distribution `tinydemo`, and return its path."""
    path = folder / f"tinydemo-{version}-py3-none-any.whl"
    info = f"tinydemo-{version}.dist-info"
    files = {
        "tinydemo/__init__.py": "",
        **{f"tinydemo/{name}.py": text for name, text in modules.items()},
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tinydemo\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in (*files, f"{info}/RECORD"))
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return path


def demo_files(folder: Path) -> dict[str, list[str]]:
    """Return the names of all files and directories of `tinydemo` in an environment, with the lines of its RECORD."""
    paths = sorted(path for top in folder.glob("tinydemo*") for path in (top, *top.rglob("*")))
    return {
        str(path.relative_to(folder)): [
            line.rpartition(",")[0].rpartition(",")[0] for line in path.read_text(encoding="utf-8").splitlines()
        ]
        if path.name == "RECORD"
        else []
        for path in paths
    }


def test_pip_leaves_the_same_files_as_without_the_hook(
    environment: Python, purelib: Callable[[Python], Path], cache: Path, tmp_path: Path
) -> None:
    """Installing, using, upgrading and uninstalling with pip leave the same RECORD lines and files, enabled or not."""
    folder = purelib(environment)
    first = make_wheel(tmp_path, "1", {"m1": "value = 1\n", "m2": "value = 2\n"})
    second = make_wheel(tmp_path, "2", {"m1": "value = 11\n", "m3": "value = 33\n"})
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    use = "import tinydemo.m1; print(tinydemo.m1.value)"
    steps: tuple[tuple[tuple[str | Path, ...], str], ...] = (
        ((*pip, "install", "--no-deps", "--no-index", first), ""),
        (("-c", use), "1\n"),
        ((*pip, "install", "--no-deps", "--no-index", "--upgrade", second), ""),
        (("-c", use), "11\n"),
        ((*pip, "uninstall", "--yes", "tinydemo"), ""),
        ((*pip, "install", "--no-deps", "--no-index", "--no-compile", first), ""),
        ((*pip, "uninstall", "--yes", "tinydemo"), ""),
    )
    found: dict[bool, list[dict[str, list[str]]]] = {False: [], True: []}
    for enabled, states in found.items():
        if enabled:
            environment("-m", "pycachehook", "enable", "--cache-dir", cache)
        for arguments, output in steps:
            assert environment(*arguments).stdout == output
            states.append(demo_files(folder))
    missing = environment("-c", "import tinydemo", check=False)
    environment("-m", "pycachehook", "disable")
    assert found[True] == found[False]
    assert found[True][-1] == {}
    assert "ModuleNotFoundError" in missing.stderr


@pytest.mark.parametrize("compiled", [True, False])
def test_removing_the_package_leaves_nothing_to_import(
    compiled: bool, make_environment: Callable[..., Python], cache: Path, application: Path, wheel: Path
) -> None:
    """After pip has removed this package from an enabled environment, `import pycachehook` fails as for any absent one."""
    environment = make_environment()
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    if compiled:
        environment(*pip, "install", "--no-deps", "--force-reinstall", wheel)
    environment("-m", "pycachehook", "enable", "--cache-dir", cache)
    for arguments in (("app.py",), ("-m", "pycachehook", "status"), ("-m", "pycachehook", "doctor"), ("app.py",)):
        environment(*arguments, cwd=application, check=False)
    environment(*pip, "uninstall", "--yes", "pycachehook")
    process = environment("-c", "import pycachehook", check=False)
    assert "ModuleNotFoundError: No module named 'pycachehook'" in process.stderr
    started = environment("-B", "app.py", cwd=application)
    assert (started.stdout, started.stderr) == (STOCK, "")
