"""The processes that compile: their output, their end, and their use of a cache."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import clean_environment
from pycachehook.commands.precompile import BROKEN, FAILED, outcome_of_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

FILES = 24


@pytest.fixture
def warning_root(tree: Callable[..., Path]) -> Path:
    """Return a tree of sources, each of which causes a compiler warning."""
    return tree({f"m_{number:02}.py": f"print({number} is {number})\n" for number in range(FILES)})


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("command", ["precompile", "archive build"])
def test_warnings_come_after_the_progress(
    command: str, jobs: str, warning_root: Path, python: Python, tmp_path: Path
) -> None:
    """The command prints one line for each warning at the end; with `--json` they are part of the object."""
    where = ["--cache-dir", str(tmp_path / "cache"), str(warning_root)]
    if command == "archive build":
        where = ["--path", str(warning_root), str(tmp_path / "a.pyca")]
    words = ["-m", "pycachehook", *command.split(), "-j", jobs, *where]
    expected = [f'{warning_root}/m_{number:02}.py:1: SyntaxWarning: "is" with ' for number in range(FILES)]
    done = python(*words)
    lines = done.stderr.splitlines()
    assert [line[: len(start)] for line, start in zip(lines, expected, strict=True)] == expected
    if command == "archive build":
        said = python(*words, "--json")
        assert said.stderr == ""
        assert json.loads(said.stdout)["warnings"] == lines


def test_warnings_that_are_errors(warning_root: Path, python: Python, cache: Path) -> None:
    """The interpreter's `-W` options apply to the processes too."""
    words = ("-m", "pycachehook", "precompile", "--json", "-j", "2", "--cache-dir", cache, warning_root)
    assert len(json.loads(python("-W", "error", *words, check=False).stdout)["failed"]) == FILES


@pytest.mark.parametrize("option", [("-X", "no_debug_ranges"), ("-O",), ("-OO",)])
def test_options_of_the_interpreter(
    option: tuple[str, ...], warning_root: Path, python: Python, tmp_path: Path
) -> None:
    """The result depends on the interpreter's options, not on the number of processes."""
    found = []
    for jobs in ("1", "2"):
        cache = tmp_path / jobs
        words = (
            "-m",
            "pycachehook",
            "precompile",
            "-j",
            jobs,
            "--in-tree",
            "ignore",
            "--cache-dir",
            cache,
            warning_root,
        )
        python(*option, *words)
        found.append({path.relative_to(cache): path.read_bytes() for path in cache.rglob("m_*.pyc")})
        assert len(found[-1]) == FILES
    assert found[0] == found[1]


def test_a_source_that_ends_the_process(tree: Callable[..., Path], python: Python, cache: Path, tmp_path: Path) -> None:
    """A codec that ends the process causes one failure, and all other sources are compiled."""
    root = tree({f"m_{number:02}.py": "V = 1\n" for number in range(FILES)})
    (root / "m_05.py").write_text("# coding: deadly\n", encoding="utf-8")
    site = tmp_path / "site"
    site.mkdir()
    codec = "import codecs, os\ncodecs.register(lambda name: os._exit(7) if name == 'deadly' else None)\n"
    (site / "sitecustomize.py").write_text(codec, encoding="utf-8")
    words = ("-m", "pycachehook", "precompile", "--json", "-j", "2", "--cache-dir", cache, root)
    said = json.loads(python(*words, check=False, PYTHONPATH=str(site)).stdout)
    assert said["failed"] == [
        {"path": str(root / "m_05.py"), "error": "the process that compiled it ended (exit code 7)"}
    ]
    assert said["compiled"] == FILES - 1


BLOCKING = """
import os, signal, sys
def wait(event, arguments):
    if event == "compile" and "m_" in str(arguments[1]):
        with open(os.environ["STARTED"], "w") as file:  # which a test reads
            file.write(f"{os.getpid():7}")
        signal.pause()
sys.addaudithook(wait)
"""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs signals and FIFOs")
@pytest.mark.parametrize("whole_group", [True, False])
@pytest.mark.parametrize("command", ["precompile", "archive build"])
def test_interrupted(command: str, whole_group: bool, tree: Callable[..., Path], tmp_path: Path) -> None:
    """Ctrl-C, which reaches every process of the terminal, gives one line and exit code 130, and all processes end."""
    root = tree({f"m_{number:02}.py": "" for number in range(FILES)})
    site, started = tmp_path / "site", tmp_path / "started"
    site.mkdir()
    os.mkfifo(started)
    (site / "sitecustomize.py").write_text(BLOCKING, encoding="utf-8")
    where = ["--cache-dir", tmp_path / "cache", root]
    if command == "archive build":
        where = ["--path", root, tmp_path / "a.pyca"]
    words = [sys.executable, "-m", "pycachehook", *command.split(), "-j", "2", *map(str, where)]
    environment = clean_environment(PYTHONPATH=str(site), STARTED=str(started), HOME=str(tmp_path))
    pipe = subprocess.PIPE
    process = subprocess.Popen(words, env=environment, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    with started.open(encoding="utf-8") as file:
        worker = int(file.read(7))
    (os.killpg if whole_group else os.kill)(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "pycachehook: error: interrupted\n")
    assert not Path(f"/proc/{worker}").exists()
    assert [each.name for each in tmp_path.iterdir() if each.name.endswith((".tmp", ".pyca"))] == []


def test_broken_on_purpose(tmp_path: Path) -> None:
    """A source that cannot be compiled is no failure only in the test directories of the standard library."""
    stdlib = sysconfig.get_path("stdlib")
    for name in ("test/tokenizedata/badsyntax_pep3120.py", "lib2to3/tests/data/py2.py", "idlelib/idle_test/x.py"):
        assert outcome_of_error(f"{stdlib}/{name}", SyntaxError()) == BROKEN
        assert outcome_of_error(f"{stdlib}/{name}", PermissionError()) == FAILED
    for path in ("json/x.py", "test.py", "site-packages/pack/tests/x.py"):
        assert outcome_of_error(f"{stdlib}/{path}", SyntaxError()) == FAILED
    assert outcome_of_error(str(tmp_path / "test" / "x.py"), SyntaxError()) == FAILED


@pytest.mark.full
def test_an_untouched_python(python: Python, tmp_path: Path) -> None:
    """The whole standard library, with its test data, compiles without a failure."""
    stdlib = sysconfig.get_path("stdlib")
    words = ("precompile", "--json", "--cache-dir", tmp_path / "cache", "--exclude", "*/site-packages/*", stdlib)
    said = json.loads(python("-m", "pycachehook", *words).stdout)
    assert said["failed"] == []
    assert said["compiled"] + said["valid"] > 1000


@pytest.mark.parametrize("layout", ["mirror", "shared"])
@pytest.mark.parametrize("filler", ["import", "precompile", "CPython"])
def test_archive_takes_code_from_the_cache(
    layout: str, filler: str, tree: Callable[..., Path], python: Python, tmp_path: Path
) -> None:
    """A build with a cache gives the same bytes as one without, and compiles no cached source."""
    stdlib = Path(sysconfig.get_path("stdlib"))
    names = ("argparse", "decimal", "typing", "enum", "dataclasses", "ast", "inspect", "tarfile", "pydoc", "turtle")
    root = tree({f"{name}_.py": (stdlib / f"{name}.py").read_text(encoding="utf-8") for name in names})
    (root / "constants_.py").write_text("A = 1.5, 1j, b'', (), ((1, 2), 'x y'), frozenset({1, 'a'})\nB = A in {1, 2}\n")
    cache = tmp_path / "cache"
    options = {"PYCACHEHOOK_LAYOUT": layout, "PYCACHEHOOK_CACHE_DIR": str(cache)}
    modules = ", ".join(path.stem for path in sorted(root.iterdir()))
    cold = build(python, root, tmp_path / "cold.pyca", **{**options, "PYCACHEHOOK_CACHE_DIR": str(tmp_path / "none")})
    if filler == "precompile":
        python.within(options)("-m", "pycachehook", "precompile", root)
    elif filler == "import":
        path = f"import sys; sys.path.insert(0, {str(root)!r})\n"
        python.within(options)("-m", "pycachehook", "run", "-c", f"{path}import {modules}")
    else:
        python("-c", f"import {modules}", PYTHONPATH=str(root), PYTHONPYCACHEPREFIX=str(cache))
    warm = build(python, root, tmp_path / "warm.pyca", **options)
    assert cold == warm
    assert not (tmp_path / "none").exists()


def test_archive_does_not_compile_what_is_cached(
    tree: Callable[..., Path], python: Python, cache: Path, tmp_path: Path
) -> None:
    """With every source cached the compiler is not called; an entry that does not match is not used."""
    root = tree({f"m_{number}.py": f"V = {number}\n" for number in range(4)})
    options = {"PYCACHEHOOK_CACHE_DIR": str(cache)}
    python.within(options)("-m", "pycachehook", "precompile", root)
    (root / "m_1.py").write_text("V = 'changed'\n", encoding="utf-8")
    entry = next(cache.rglob("m_2.*"))
    entry.write_bytes(entry.read_bytes()[:-1] + b"?")
    entry = next(cache.rglob("m_3.*"))
    entry.chmod(0o666)
    program = f"""if True:
        import sys
        from pycachehook.cli.main import main
        compiled = []
        sys.addaudithook(lambda event, args: event == "compile" and compiled.append(args[1]))
        main(["archive", "build", "-j", "1", "--path", {str(root)!r}, {str(tmp_path / "a.pyca")!r}])
        print(sorted(str(each)[-6:] for each in compiled if {str(root)!r} in str(each)))
    """
    assert python.within(options)("-c", program).stdout.splitlines()[-1] == "['m_1.py', 'm_2.py', 'm_3.py']"


def build(python: Python, root: Path, out: Path, **environment: str) -> bytes:
    """Build an archive under one fixed name, move it to `out`, and return its bytes."""
    whole = out.parent / "archive.pyca"
    python.within(environment)("-m", "pycachehook", "archive", "build", "--path", root, whole)
    whole.rename(out)
    return out.read_bytes()
