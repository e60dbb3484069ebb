"""Fixtures of all tests: clean environments, real child processes, real virtual environments."""

from __future__ import annotations

import compileall
import functools
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import filelock
import hypothesis
import pytest

import pycachehook
import pycachehook.runtime  # before any test, whose end drops what it has loaded
from pycachehook.commands import startup_image

hypothesis.settings.register_profile("untimed", deadline=None)  # generous, because the machine may be busy
hypothesis.settings.register_profile("few", deadline=None, max_examples=10)  # where another interpreter takes all
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "untimed"))


def examples(number: int) -> hypothesis.settings:
    """Return settings for a property test with this number of examples, or a tenth of it in the profile `few`."""
    return hypothesis.settings(max_examples=number * hypothesis.settings().max_examples // 100)


PROJECT = Path(__file__).resolve().parent.parent

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts background processes; children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


FULL = frozenset(("wheel", "make_environment", "private_mounts"))  # fixtures whose tests are no quick ones
IN_FRONT = "TESTS_ARCHIVE"  # the variable that holds the archive of `--with-archive`
LAZY = "TESTS_LAZY_IMPORTS"  # the variable that stands for `--lazy-imports`
NOT_LAZY = {
    "PYTHON_LAZY_IMPORTS": "normal"
}  # for pip and pytest, which do not start with lazy imports enabled everywhere


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that run all tests with an archive in front of the cache, or with lazy imports."""
    parser.addoption(
        "--lazy-imports", action="store_true", help="make every import lazy (PEP 810), here and in every child"
    )
    parser.addoption(
        "--with-archive", action="store_true", help="have an archive of the test environment in front, in every child"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Build that archive before any worker starts, and switch to lazy imports."""
    if config.getoption("--lazy-imports") or LAZY in os.environ:
        os.environ[LAZY] = "1"
        sys.set_lazy_imports("all")  # type: ignore[attr-defined]  # Python 3.15
    if config.getoption("--with-archive") and IN_FRONT not in os.environ:
        folder = Path(tempfile.mkdtemp(prefix="archive-"))
        folder.chmod(0o755)  # readable for other users, too
        out = folder / "tests.pyca"
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "pycachehook",
            "archive",
            "build",
            "--invalidation-mode",
            "unchecked-hash",
            out,
        ]
        subprocess.run(
            command, env=clean_environment(), capture_output=True, check=False
        )  # some sources do not compile
        assert out.exists()
        os.environ[IN_FRONT] = str(out)


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as full what asks for an environment with packages, or for mounts."""
    for item in items:
        if not FULL.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.full)


# For a pytest that a test starts: at its end it deletes the directories of earlier sessions from the directory for
# temporary files, which can take a minute.
PYTEST_DIRECTORIES = tempfile.TemporaryDirectory(prefix="pytest-of-tests-")
os.chmod(PYTEST_DIRECTORIES.name, 0o1777)


def clean_environment(**extra: str) -> dict[str, str]:
    """Return this process's environment without variables that configure Python or pycachehook."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYCACHEHOOK_"))}
    kept["PYTEST_DEBUG_TEMPROOT"] = PYTEST_DIRECTORIES.name
    if IN_FRONT in os.environ:
        kept["PYCACHEHOOK_ARCHIVES"] = os.environ[IN_FRONT]
    if LAZY in os.environ:
        kept["PYTHON_LAZY_IMPORTS"] = "all"
    return {**kept, **extra}


class Python:
    """An interpreter to run children with: `python("-c", "...")` returns the finished process."""

    def __init__(self, executable: str | Path, **environment: str) -> None:
        self.executable = str(executable)
        self.environment = environment

    def within(self, variables: Mapping[str, str]) -> Python:
        """Return the same interpreter with more environment variables."""
        return type(self)(self.executable, **{**self.environment, **variables})

    def __call__(
        self, *arguments: str | Path, check: bool = True, cwd: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a process to its end and capture its output as text; with `check`, a failure shows the output."""
        process = subprocess.run(
            [self.executable, *map(str, arguments)],
            env=clean_environment(**{**self.environment, **environment}),
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if check:
            assert process.returncode == 0, process.stdout + process.stderr
        return process

    def start(self, *arguments: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.Popen[str]:
        """Start a process without waiting for it."""
        return subprocess.Popen(
            [self.executable, *map(str, arguments)],
            env=clean_environment(**{**self.environment, **environment}),
            cwd=cwd,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def run_tests_module(
    name: str, *arguments: str | Path, timeout: float = 900, wheel: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the project's program `python -m tests.NAME` for at most `timeout` seconds; return the process."""
    return subprocess.run(
        [sys.executable, "-m", f"tests.{name}", *map(str, arguments)],
        cwd=PROJECT,
        env=clean_environment(**({} if wheel is None else {"TESTS_WHEEL": str(wheel)})),
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )


@pytest.fixture(autouse=True)
def _alone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove the archive of `--with-archive` for a test about the behaviour without one."""
    if request.node.get_closest_marker("alone") is not None:
        monkeypatch.delenv(IN_FRONT, raising=False)


@pytest.fixture(scope="session", autouse=True)
def _bytecode_of_the_package() -> None:
    """Compile the package's own modules, as an installer does, because children count what they compile."""
    for level in (0, 1, 2):
        assert compileall.compile_dir(Path(pycachehook.__file__).parent, quiet=1, optimize=level)


@pytest.fixture(scope="session", autouse=True)
def compile_for_images_once() -> Iterator[None]:
    """Compile each module for start-up images once in a run: hundreds of tests enable an environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(startup_image, "_compile", functools.cache(startup_image._compile))
        yield


@pytest.fixture
def python(tmp_path: Path) -> Python:
    """Return the interpreter that runs the tests, with a separate home directory."""
    home = tmp_path / "home"
    home.mkdir()
    return Python(sys.executable, HOME=str(home))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Return a path for a cache directory that does not exist yet."""
    return tmp_path / "cache"


@pytest.fixture
def public() -> Iterator[Path]:
    """Return an empty directory that every user can reach, unlike pytest's own directories."""
    folder = Path(tempfile.mkdtemp(prefix="public-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def tree(tmp_path: Path) -> Callable[[Mapping[str, str]], Path]:
    """Return a function that writes sources below one directory, and returns that directory."""

    def write(sources: Mapping[str, str]) -> Path:
        root = tmp_path / "tree"
        for name, text in sources.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return root

    return write


def read_stats(path: Path) -> list[dict[str, object]]:
    """Return the lines that `PYCACHEHOOK_STATS` collected, as dicts."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def pip_install(executable: Path, *requirements: str) -> None:
    """Install packages into the environment of `executable` without bytecode, so that there is work to compile."""
    subprocess.run(
        [executable, "-m", "pip", "install", "--quiet", "--no-compile", "--disable-pip-version-check", *requirements],
        env=clean_environment(**NOT_LAZY),
        check=True,
        capture_output=True,
        text=True,
    )


MakeOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Return a function that fills a directory once in a run, in the first of xdist's workers."""
    base = tmp_path_factory.getbasetemp()
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder, done = root / name, root / f"{name}.done"
        with filelock.FileLock(root / f"{name}.lock"):
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)  # the files that a failed worker has left
                fill(folder)
                done.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def wheel(make_once: MakeOnce) -> Path:
    """Return a wheel of this project."""
    return next(make_once("wheel", lambda folder: build_wheel(PROJECT, folder)).glob("*.whl"))


def build_wheel(source: Path, folder: Path) -> None:
    """Build a wheel, in an isolated environment only if this one lacks the build requirements."""
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        *isolation,
        "--wheel-dir",
        folder,
        source,
    ]
    subprocess.run(command, env=clean_environment(**NOT_LAZY), check=True, capture_output=True, text=True)


def make_bare_environment(folder: Path) -> None:
    """Make a virtual environment with pip."""
    venv.EnvBuilder(with_pip=True, symlinks=True).create(folder)


def copy_environment(template: Path, folder: Path) -> None:
    """Copy a virtual environment and adapt its scripts, which takes a tenth of the time of making one."""
    shutil.copytree(template, folder, symlinks=True, dirs_exist_ok=True)
    for path in (folder / "pyvenv.cfg", *(folder / "bin").iterdir()):
        if not path.is_symlink():
            text = path.read_bytes()
            path.write_bytes(text.replace(os.fsencode(template), os.fsencode(folder)))


@pytest.fixture(scope="session")
def make_environment(
    wheel: Path, make_once: MakeOnce, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Python]:
    """Return a function that makes a virtual environment with this project's wheel and the named requirements."""

    def make(*requirements: str) -> Python:
        def install(folder: Path) -> None:
            copy_environment(make_once("environment", make_bare_environment), folder)
            pip_install(folder / "bin" / "python", str(wheel), *requirements)

        folder = tmp_path_factory.mktemp("environment")
        copy_environment(make_once("-".join(["environment-with-wheel", *requirements]), install), folder)
        return Python(folder / "bin" / "python")

    return make


@pytest.fixture
def import_state() -> Iterator[None]:
    """Restore every attribute of `sys` that an import or the hook may change."""
    names = ("meta_path", "path", "path_hooks")
    kept = {name: list(getattr(sys, name)) for name in names}
    modules, prefix, silent = dict(sys.modules), sys.pycache_prefix, sys.dont_write_bytecode
    importers = dict(sys.path_importer_cache)
    yield
    for name in names:
        getattr(sys, name)[:] = kept[name]
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]
    sys.path_importer_cache.clear()
    sys.path_importer_cache.update(importers)
    sys.pycache_prefix, sys.dont_write_bytecode = prefix, silent


@pytest.fixture
def no_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without any option in the environment."""
    for name in list(os.environ):
        if name.startswith("PYCACHEHOOK_"):
            monkeypatch.delenv(name)
    if IN_FRONT in os.environ:
        monkeypatch.setenv("PYCACHEHOOK_ARCHIVES", os.environ[IN_FRONT])


@pytest.fixture
def no_hook(
    import_state: None,
    no_options: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> Iterator[None]:
    """Start from defaults with an empty home directory, and leave no hook installed."""
    for name in vars(request.module).copy():
        getattr(request.module, name)  # resolves lazy imports, which the hook of the test would load and count
    for name in list(os.environ):
        if name.startswith("XDG_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("pycachehook.runtime.activation", None)
    sys.pycache_prefix, sys.dont_write_bytecode = None, False
    yield
    pycachehook.uninstall()
