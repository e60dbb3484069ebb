"""`pycachehook precompile`: imports use the entries that it has written."""

from __future__ import annotations

import filecmp
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycachehook.cli.main import main
from pycachehook.commands.precompile import usable_processors

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Python

PACKAGES = ("jinja2", "attrs", "rich")
IMPORT = """
import json, pycachehook
hook = pycachehook.active()
import jinja2.ext, attr, attrs, rich.progress, rich.console
print(json.dumps(hook.stats.as_dict()))
"""


@pytest.fixture(scope="module")
def environment(make_environment: Callable[..., Python]) -> Python:
    """Return an environment with real packages and the hook enabled in it; no test changes it."""
    return make_environment(*PACKAGES)


def precompile(python: Python, *arguments: str | Path, code: int = 0, **environment: str) -> dict[str, Any]:
    """Run the command and return its JSON output."""
    process = python.within(environment)("-m", "pycachehook", "precompile", "--json", *arguments, check=False)
    assert (process.returncode, process.stderr if code == 0 else "") == (code, "")
    said: dict[str, Any] = json.loads(process.stdout)
    return said


@pytest.mark.alone
@pytest.mark.slow
def test_a_whole_environment(environment: Python, cache: Path, tmp_path: Path) -> None:
    """Afterwards imports compile nothing and miss nothing, and a second run compiles nothing."""
    python = environment
    home = {"HOME": str(tmp_path)}
    options = ("--cache-dir", cache, "--in-tree", "ignore")
    left_out = ("--exclude", "*/test/*", "--exclude", "*/tests/*", "--exclude", "*/lib2to3/*")
    python("-m", "pycachehook", "enable", *options)
    try:
        first = precompile(python.within(home), *left_out)
        assert (first["cache_dir"], first["failed"]) == (str(cache), [])
        assert first["compiled"] > 1000 > first["valid"], "the command itself has compiled some, as it is active here"
        said = json.loads(python.within(home)("-c", IMPORT, PYCACHEHOOK_READ_ONLY="1").stdout)
        assert (said["compiled"], said["misses"], said["errors"]) == (0, {}, 0)
        assert said["hits"] == said["hits_by_place"]["store"] > 100
        again = precompile(python.within(home), *left_out)
        assert again == {**first, "compiled": 0, "valid": first["valid"] + first["compiled"]}
    finally:
        python("-m", "pycachehook", "disable")


def same_trees(one: Path, other: Path) -> bool:
    """Return whether two directories contain the same files with the same bytes."""
    names = [{path.relative_to(each) for path in each.rglob("*.pyc")} for each in (one, other)]
    assert names[0] == names[1]
    equal, different, errors = filecmp.cmpfiles(one, other, names[0], shallow=False)
    assert (different, errors) == ([], [])
    return len(equal) > 0


def test_the_same_bytes_whoever_compiles(make_environment: Callable[..., Python], tmp_path: Path) -> None:
    """The bytes depend on neither the number of processes, the hash seed, nor earlier compilations."""
    environment, names = make_environment("jinja2"), ("jinja2", "markupsafe", "importlib_metadata", "filelock")
    trees = [tmp_path / name for name in ("one", "two", "three")]
    distributions = [word for name in names for word in ("--distribution", name)]
    precompile(environment, "--cache-dir", trees[0], "-j", "1", *distributions, PYTHONHASHSEED="1")
    precompile(environment, "--cache-dir", trees[1], "-j", "4", *distributions, PYTHONHASHSEED="2")
    for name in reversed(names):
        precompile(environment, "--cache-dir", trees[2], "--distribution", name, PYTHONHASHSEED="3")
    assert same_trees(trees[0], trees[1])
    assert same_trees(trees[0], trees[2])


@pytest.fixture
def root(tree: Callable[[Mapping[str, str]], Path], no_hook: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a tree of sources, one of which does not compile, and none of which may run."""
    sources = {f"pack/part_{number}.py": "raise SystemError\n" for number in range(30)}
    root = tree(
        {"pack/__init__.py": "raise SystemError\n", **sources, "pack/broken.py": "x = 1\ny = = 2\n", "single.py": ""}
    )
    monkeypatch.syspath_prepend(str(root))
    return root


@pytest.fixture
def run(root: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Return a function that runs the command in this process."""

    def run(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
        assert main(["precompile", "--json", "--cache-dir", str(cache), *map(str, arguments)]) == code
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        del said["cache_dir"]
        return said

    return run


def test_what_does_not_compile(run: Callable[..., dict[str, Any]], root: Path) -> None:
    """A source with a syntax error is reported with its line, the others are compiled, and the exit code is 1."""
    for jobs in ("1", "3"):
        said = run(root, "-j", jobs, code=1)
        (failed,) = said["failed"]
        assert failed["path"] == str(root / "pack" / "broken.py")
        assert failed["error"].startswith("line 2: ")
    assert (said["compiled"], said["valid"]) == (0, 32)
    assert run(root, "--exclude", "*/broken.py") == {"compiled": 0, "valid": 32, "excluded": 0, "failed": []}


def test_modules_and_files(run: Callable[..., dict[str, Any]], root: Path) -> None:
    """A module, a package with all its modules, or a file is compiled as named, and never imported."""
    assert run("--module", "single")["compiled"] == 1
    assert run("--module", "pack", "--exclude", "*/broken.py")["compiled"] == 31
    assert run(root / "single.py", root / "pack" / "part_1.py") == {
        "compiled": 0,
        "valid": 2,
        "excluded": 0,
        "failed": [],
    }
    assert "pack" not in sys.modules


def test_rules_hold(run: Callable[..., dict[str, Any]], root: Path, tmp_path: Path) -> None:
    """A source that a rule excludes is not compiled, and one with its own cache directory is stored there."""
    other = tmp_path / "other"
    rules = f'[{{match = "*/part_1*.py", enabled = false}}, {{match = "*/part_2*.py", cache_dir = "{other}"}}]'
    said = run(root, "--rules", rules, "--exclude", "*/broken.py")
    assert (said["compiled"], said["excluded"]) == (21, 11)
    assert len(list(other.rglob("part_2*.pyc"))) == 11


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["/no/such/path"], "/no/such/path does not exist."),
        (["--distribution", "no-such"], "There is no distribution no-such in this environment."),
        (["--module", "no_such"], "There is no module no_such on sys.path, to which PYTHONPATH adds."),
        (["--module", "sys"], "sys has no source (built-in)."),
    ],
    ids=lambda each: each[-1] if isinstance(each, list) else "",
)
def test_what_is_not_there(
    arguments: list[str], sentence: str, root: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An argument that does not exist is reported in one sentence."""
    assert main(["precompile", "--cache-dir", str(cache), *arguments]) == 1
    assert capsys.readouterr().err == f"pycachehook: error: {sentence}\n"


@pytest.mark.parametrize("number", ["0", "-1", "two"])
def test_wrong_number_of_processes(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An invalid number of processes is reported in one sentence."""
    with pytest.raises(SystemExit) as caught:
        main(["precompile", "-j", number])
    assert caught.value.code == 2
    assert f"'{number}' is not a number of processes" in capsys.readouterr().err


def test_cache_that_cannot_be_written_to(root: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cache that is refused is an error, and nothing is compiled."""
    cache.mkdir()
    cache.chmod(0o777)
    assert main(["precompile", "--cache-dir", str(cache), str(root)]) == 1
    assert "is writable by everybody" in capsys.readouterr().err
    assert list(cache.iterdir()) == []


def test_for_people(root: Path, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json one line is printed for each failure, and one for the total."""
    assert main(["precompile", "--cache-dir", str(cache), str(root)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{root / 'pack' / 'broken.py'}: line 2: ")
    assert lines[1:] == [f"{cache}: 32 compiled, 0 valid already, 1 failed"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes have no affinity here")
def test_usable_processors(python: Python) -> None:
    """A process that may run on one processor only counts one."""
    command = "import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); from pycachehook.commands.precompile import usable_processors as u; print(u())"
    assert python("-c", command).stdout == "1\n"
    assert 1 <= usable_processors() <= len(os.sched_getaffinity(0))


GROUPS = Path("/sys/fs/cgroup")
QUOTAS = {"cgroup.controllers": ("", "cpu.max", "50000 100000"), "cpu": ("cpu", "cpu.cfs_quota_us", "50000")}


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can make control groups")
def test_processors_of_a_control_group(python: Python) -> None:
    """The processor share of a control group counts, as in containers."""
    hierarchy = next((quota for name, quota in QUOTAS.items() if (GROUPS / name).exists()), None)
    if hierarchy is None or not os.access(GROUPS / hierarchy[0], os.W_OK):
        pytest.skip("there is no hierarchy of control groups that could be written to")
    group = GROUPS / hierarchy[0] / f"pycachehook-test-{os.getpid()}"
    group.mkdir()
    try:
        if not (group / hierarchy[1]).exists():
            pytest.skip("the cpu controller is not on for control groups here")
        (group / hierarchy[1]).write_text(hierarchy[2], encoding="ascii")
        command = (
            f"open('{group}/cgroup.procs', 'w').write('0')\n"
            "from pycachehook.commands.precompile import usable_processors; print(usable_processors())"
        )
        assert python("-c", command).stdout == "1\n"
    finally:
        group.rmdir()
