"""The command line: exit codes, and one sentence for each error of the user."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import textwrap
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import _pytest.config
import filelock
import importlib_metadata
import pytest

import pycachehook
import pycachehook.commands.enable
import pycachehook.commands.run
import pycachehook.commands.status
import pycachehook.on_miss.compiling  # before a hook is installed
from conftest import clean_environment
from pycachehook.cli.main import main
from pycachehook.commands.enable import FILES, caller
from pycachehook.hook import loader as loader_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Python


pytestmark = pytest.mark.usefixtures("no_hook", "own_argv")


@pytest.fixture
def own_modules(capsys: pytest.CaptureFixture[str]) -> None:
    """Load all modules that `status` needs, before a hook could cache them."""
    assert main(["status", "--json"]) == 0
    assert importlib_metadata.packages_distributions()
    capsys.readouterr()


@pytest.fixture
def own_argv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give a program that a test runs a separate `sys.argv`."""
    monkeypatch.setattr(sys, "argv", list(sys.argv))


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the only sentence on standard error."""
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.startswith("pycachehook: error: ")
    assert errors.endswith(".\n")
    assert errors.count("\n") == 1
    return errors.removeprefix("pycachehook: error: ").rstrip("\n")


COMMANDS = {"run": ["-c", "raise SystemExit(99)"], "status": [], "enable": []}
WRONG_FLAGS = [
    ("cache_dir", "", "must be the path of a directory."),
    ("layout", "Shared", "must be mirror or shared."),
    ("invalidation_mode", "hash", "must be checked-hash, unchecked-hash or timestamp."),
    ("in_tree", "write", "must be installed, all, hashed or ignore."),
    ("lock_timeout", "soon", "must be a number of seconds from 0 to 86400."),
    ("lock_timeout", "-1", "must be a number of seconds from 0 to 86400."),
    ("rules", "[{", "write [{match = "),
    ("rules", "3", "must be a list of tables, not 3."),
    ("rules", '[{match = "a"}]', "it needs one of enabled, "),
]


@pytest.mark.parametrize("wrong", WRONG_FLAGS, ids=lambda wrong: f"{wrong[0]}={wrong[1]}")
@pytest.mark.parametrize("how", ["flag", "variable"])
def test_wrong_option(
    wrong: tuple[str, str, str], how: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong value is exit code 2, and one sentence with the flag or the variable, and what is allowed."""
    name, value, allowed = wrong
    flag, variable = f"--{name.replace('_', '-')}", f"PYCACHEHOOK_{name.upper()}"
    if how == "variable":
        monkeypatch.setenv(variable, value or " ")
    assert main(["run", *([f"{flag}={value}"] if how == "flag" else []), "-c", "raise SystemExit(99)"]) == 2
    text = complaint(capsys)
    assert text.startswith(name)
    assert f"({flag if how == 'flag' else variable})" in text
    assert allowed in text
    assert pycachehook.active() is None


@pytest.mark.parametrize("name", ["read_only", "force_write", "allow_shared", "strict"])
def test_wrong_switch(name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A switch in the environment with a wrong value is an error that names it, for every command."""
    variable = f"PYCACHEHOOK_{name.upper()}"
    monkeypatch.setenv(variable, "maybe")
    for command, arguments in COMMANDS.items():
        assert main([command, *arguments]) == 2
        allowed = "true or false (1, yes, on; 0, no, off)"
        assert complaint(capsys) == f"{name} = 'maybe' ({variable}) is not valid: it must be {allowed}."


FAULTY_FILES: dict[str, tuple[bytes | None, str]] = {
    "missing": (None, "cannot be read: No such file or directory."),
    "malformed": (b"[tool.pycachehook\n", "is not valid TOML: "),
    "binary": (b"\xff\xfe\0", "is not valid TOML: "),
    "no table": (b"[project]\n", "has no table [tool.pycachehook]."),
    "unknown": (b"[tool.pycachehook]\ncachedir = 3\n", "is not an option: the options are cache_dir, "),
    "wrong": (b"[tool.pycachehook]\nlayout = 3\n", "is not valid: it must be mirror or shared."),
    "directory": (b"", "cannot be read: Is a directory."),
}


@pytest.mark.parametrize("kind", FAULTY_FILES)
@pytest.mark.parametrize("how", ["flag", "variable"])
@pytest.mark.parametrize("command", COMMANDS)
def test_faulty_configuration_file(
    command: str, kind: str, how: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unusable configuration file is exit code 2, and one sentence with its path and the problem."""
    path = tmp_path / "options.toml"
    content, expected = FAULTY_FILES[kind]
    if kind == "directory":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.MonkeyPatch.context() as environment:
        if how == "variable":
            environment.setenv("PYCACHEHOOK_CONFIG", str(path))
        arguments = ["--config", str(path)] if how == "flag" else []
        assert main([command, *arguments, *COMMANDS[command]]) == 2
    text = complaint(capsys)
    assert str(path) in text
    assert expected in text


@pytest.mark.parametrize("command", ["run", "enable"])
def test_cache_dir_that_is_a_file(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A cache directory that is a file is exit code 2, with its origin, before anything is installed or written."""
    path = tmp_path / "file"
    path.touch()
    assert main([command, "--cache-dir", str(path), *COMMANDS[command]]) == 2
    expected = f"cache_dir = '{path}' (--cache-dir) is not valid: it is a file, and must be a directory."
    assert complaint(capsys) == expected
    assert pycachehook.active() is None


@pytest.mark.parametrize("words", [[], ["-m"], ["-c"]])
def test_nothing_to_run(words: list[str], cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`run` without a program is exit code 2, and creates no cache directory."""
    assert main(["run", "--cache-dir", str(cache), *words]) == 2
    assert complaint(capsys) == "Nothing to run: give a SCRIPT, -m MODULE or -c CODE."
    assert not cache.exists()


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        (["missing.py"], 2, "There is no script missing.py."),
        (["-m", "no_such_module"], 1, "There is no module no_such_module."),
    ],
)
def test_missing_program(
    words: list[str], code: int, expected: str, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A missing program is one sentence: wrong usage for the path of a script, a failure for the name of a module."""
    assert main(["run", "--cache-dir", str(cache), *words]) == code
    assert complaint(capsys) == expected


def test_strict_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Under --strict a fault of the environment is exit code 1, and the program does not run."""
    tmp_path.joinpath("shared").mkdir()
    tmp_path.joinpath("shared").chmod(0o777)
    assert main(["run", "--strict", "--cache-dir", f"{tmp_path}/shared", "-c", "raise SystemExit(99)"]) == 1
    assert "is writable by everybody" in complaint(capsys)


def test_fault_is_a_warning(tmp_path: Path, python: Python) -> None:
    """Without --strict a fault of the environment is one sentence of warning, and the program runs."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o777)
    process = python("-m", "pycachehook", "run", "--cache-dir", tmp_path / "shared", "-c", "print('done')")
    assert process.stdout == "done\n"
    assert process.stderr.startswith(f"pycachehook: warning: {tmp_path}/shared is writable by everybody")
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "expected"),
    [
        ([], 2, "pycachehook: error: no command was given. See `pycachehook --help`.\n"),
        (["nonesuch"], 2, "there is no command 'nonesuch'. See `pycachehook --help`.\n"),
        (["run", "--nonesuch", "x"], 2, ""),
        (["status", "--nonesuch"], 2, "unrecognized arguments: --nonesuch"),
        (["disable", "--cache", "x"], 2, "unrecognized arguments: --cache x"),
        (["run", "--lock-timeout"], 2, "argument --lock-timeout: expected one argument"),
        (["--version"], 0, f"pycachehook {pycachehook.__version__}"),
        (["--help"], 0, "example: pycachehook run"),
        *(([command, "--help"], 0, f"example: pycachehook {command}") for command in (*COMMANDS, "disable")),
    ],
)  # fmt: skip
def test_usage(words: list[str], code: int, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage is exit code 2 with one line on standard error; help and version are 0 on standard output."""
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == code
    output, errors = capsys.readouterr()
    assert expected in (errors if code else output)
    assert (output if code else errors) == ""
    assert errors.count("\n") == bool(code)


def test_every_option_has_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    """`run` and `enable` have a flag for every option, and switches can be turned off, too."""
    for command in ("run", "enable"):
        with pytest.raises(SystemExit):
            main([command, "--help"])
        text = capsys.readouterr().out
        for name in pycachehook.config.resolution.NAMES:
            assert f"--{name.replace('_', '-')}" in text
        assert "--no-read-only" in text


@pytest.mark.usefixtures("own_modules")
def test_status(cache: Path, tree: Callable[[Mapping[str, str]], Path], capsys: pytest.CaptureFixture[str]) -> None:
    """`status` shows the options with their origins, and counts the entries."""
    root = tree({"some_module.py": ""})
    main(["status", "--json"])  # loads what the command needs before the hook could cache it
    capsys.readouterr()
    with pycachehook.install(cache, in_tree="ignore"):
        loader_for("some_module", f"{root}/some_module.py").get_code("some_module")
        assert main(["status", "--json"]) == 0
        state = json.loads(capsys.readouterr().out)
        assert main(["status"]) == 0
        lines = capsys.readouterr().out.splitlines()
    size = sum(path.stat().st_size for path in cache.rglob("*.pyc"))
    expected = {
        "active": True, "version": pycachehook.__version__, "python": platform.python_version(),
        "cache_dir": str(cache), "layout": "mirror", "invalidation_mode": "checked-hash",
        "status": "writable", "writable": True, "reason": None, "entries": 1, "bytes": size,
    }  # fmt: skip
    assert {name: state[name] for name in expected} == expected
    assert state["options"]["in_tree"] == {"value": "ignore", "origin": "keyword"}
    assert set(state["options"]) == set(pycachehook.config.resolution.NAMES)
    assert state["distributions"] == {"(elsewhere)": {"entries": 1, "bytes": size}}
    assert "entries            1" in lines
    assert f"(elsewhere)         1  {size} bytes" in lines
    assert "in_tree            ignore  (keyword)" in lines


def test_status_shows_lists_as_they_are_given(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Archives are shown as paths with a separator, and rules by their number."""
    rules = [{"match": "*/one/*", "enabled": False}, {"match": "*/two/*", "read_only": True}]
    with pycachehook.install(cache, archives=["/gone/a", "/gone/b"], rules=rules):
        assert main(["status"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"archives           /gone/a{os.pathsep}/gone/b  (keyword)" in lines
    assert "rules              2 rules  (keyword)" in lines
    with pycachehook.install(cache):
        assert main(["status", "--verbose"]) == 0
    assert "archives           none  (default)" in capsys.readouterr().out.splitlines()


@pytest.mark.parametrize(
    ("value", "words"), [("default", "as without"), ("pause", "no cyclic"), ("freeze", "not visit")]
)
def test_status_says_what_gc_does(value: Any, words: str, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`status` says in words what the option `gc` does to garbage collection."""
    with pycachehook.install(cache, gc=value):
        assert main(["status"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("collector "))
    assert words in line


@pytest.mark.usefixtures("own_modules")
@pytest.mark.alone
def test_status_by_distribution(
    cache: Path, tree: Callable[[Mapping[str, str]], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Entries are counted by the distribution of their source; files that are no entries are counted separately."""
    sources = [tree({"mine.py": ""}) / "mine.py", pytest.__file__, _pytest.config.__file__, textwrap.__file__]
    with pycachehook.install(cache, in_tree="ignore"):
        for source in sources:
            loader_for("module", str(source)).get_code("module")
        (cache / "left.cpython-20.pyc").write_bytes(b"1234")
        assert main(["status", "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    counts = {name: each["entries"] for name, each in state["distributions"].items()}
    assert counts.pop("pytest") == 2
    assert counts == {"(standard library)": 1, "(other interpreters and tools)": 1, "(elsewhere)": 1}
    assert state["entries"] == 4
    sizes = [each["bytes"] for each in state["distributions"].values()]
    assert sizes == sorted(sizes, reverse=True)


def test_status_shows_the_last_runs(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last lines of PYCACHEHOOK_STATS are shown, the latest first; invalid lines are skipped."""
    file = tmp_path / "stats"
    runs = [json.dumps({"argv0": f"app{number}", "hits": number, "compiled": 1}) for number in range(20)]
    file.write_text("\n".join([*runs[:-1], "{", "[]", "{}", runs[-1], ""]))
    monkeypatch.setenv("PYCACHEHOOK_STATS", str(file))
    monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", str(cache))
    assert main(["status", "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert [run["argv0"] for run in state["last_runs"]] == [f"app{number}" for number in range(19, 12, -1)]
    assert state["last_runs"][0] == {"argv0": "app19", "hits": 19, "compiled": 1, "hit_rate": 0.95}
    assert main(["status"]) == 0
    assert "app19        19         1     95.0%" in capsys.readouterr().out.splitlines()
    file.write_text('{"argv0": "worker", "hits": 0, "compiled": 0}\n')
    assert main(["status"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].split() == ["worker", "0", "0", "-"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh", "fish", "powershell"])
def test_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The completion script knows every command."""
    pytest.importorskip("shtab", reason="shtab (extra cli) is not installed")
    with pytest.raises(SystemExit) as exit_:
        main(["--print-completion", shell])
    assert exit_.value.code == 0
    script = capsys.readouterr().out
    for name in (
        "clear",
        "help",
        "run",
        "enable",
        "precompile",
        "explain",
        "inspect",
        "verify",
        "prune",
        "doctor",
        "status",
    ):
        assert name in script


def test_completion_without_shtab(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without shtab one sentence says what is missing."""
    monkeypatch.setitem(sys.modules, "shtab", None)
    with pytest.raises(SystemExit) as exit_:
        main(["--print-completion", "bash"])
    assert exit_.value.code == 2
    assert "pip install 'pycachehook[cli]'" in capsys.readouterr().err


def test_status_changes_nothing(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an active hook `status` says so, installs none and creates no directory."""
    monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", str(cache))
    assert main(["status", "--json"]) == 0
    state = json.loads(capsys.readouterr().out)
    assert (state["active"], state["status"], state["entries"], state["bytes"]) == (False, "disabled", 0, 0)
    assert state["reason"] == pycachehook.commands.status.NOT_ACTIVE
    assert state["options"]["cache_dir"] == {"value": str(cache), "origin": "PYCACHEHOOK_CACHE_DIR"}
    assert (pycachehook.active(), cache.exists()) == (None, False)


@pytest.mark.parametrize("words", [["status"], ["status", "--json"]], ids=" ".join)
def test_nobody_reads_the_output(words: list[str], python: Python) -> None:
    """If the reader of the output is gone, the exit code is 1, without a traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        process = subprocess.run(
            [python.executable, "-m", "pycachehook", *words],
            env=clean_environment(**python.environment),
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    finally:
        os.close(writing)
    assert (process.returncode, process.stderr) == (1, "")


@pytest.fixture
def environment(tmp_path: Path, python: Python) -> Python:
    """Return a virtual environment with this package and its dependencies on its path."""
    folder = tmp_path / "environment"
    venv.EnvBuilder(symlinks=True).create(folder)
    result = type(python)(folder / "bin" / "python", **python.environment)
    modules = (pycachehook, filelock, importlib_metadata)
    places = dict.fromkeys(str(Path(str(module.__file__)).parent.parent) for module in modules)
    (purelib_of(folder) / "development.pth").write_text("\n".join(places), encoding="utf-8")
    return result


def purelib_of(folder: Path) -> Path:
    """Return the package directory of an environment."""
    (path,) = folder.glob("lib/python*/site-packages")
    return path


ACTIVE = "import pycachehook; hook = pycachehook.active(); print(hook and hook.options.cache_dir)"


def test_enable_and_disable(environment: Python, cache: Path) -> None:
    """Enabling turns the hook on in every process of the environment, disabling turns it off; both can be repeated."""
    purelib = purelib_of(Path(environment.executable).parent.parent)
    command = ("-m", "pycachehook")
    assert environment("-c", ACTIVE).stdout == "None\n"
    for _ in range(2):
        lines = environment(*command, "enable", "--cache-dir", cache).stdout.splitlines()
        assert lines == [*(f"wrote {purelib}/{name}" for name in (FILES[0], caller())), f"cache directory: {cache}"]
        assert environment("-c", ACTIVE).stdout == f"{cache}\n"
    lines = environment(*command, "disable").stdout.splitlines()
    assert sorted(lines) == sorted(f"removed {purelib}/{name}" for name in (FILES[0], caller()))
    assert environment("-c", ACTIVE).stdout == "None\n"
    assert environment(*command, "disable").stdout == f"nothing to remove in {purelib}\n"


def test_enable_says_what_it_keeps(environment: Python, cache: Path) -> None:
    """Options of an earlier `enable` are kept, replaced or new, and the command says which are kept and replaced."""
    enable = ("-m", "pycachehook", "enable")
    environment(*enable, "--cache-dir", cache, "--layout", "shared")
    lines = environment(*enable, "--cache-dir", f"{cache}2", "--in-tree", "ignore").stdout.splitlines()
    assert "kept from the earlier `enable`: layout = 'shared'" in lines
    assert f"no longer: cache_dir = {str(cache)!r}" in lines
    assert not [line for line in lines if "in_tree" in line]
    lines = environment(*enable, "--layout", "mirror").stdout.splitlines()
    assert "no longer: layout = 'shared'" in lines
    assert "kept from the earlier `enable`: in_tree = 'ignore'" in lines
    environment("-m", "pycachehook", "disable")
    assert not [line for line in environment(*enable).stdout.splitlines() if "kept" in line or "no longer" in line]


def test_enable_under_the_kill_switch_keeps_options(environment: Python, cache: Path) -> None:
    """`enable` under the kill switch keeps the recorded options, although the start loads nothing."""
    enable = ("-m", "pycachehook", "enable")
    environment(*enable, "--cache-dir", cache, "--layout", "shared")
    lines = environment(*enable, PYCACHEHOOK_DISABLE="1").stdout.splitlines()
    assert "kept from the earlier `enable`: layout = 'shared'" in lines
    assert f"kept from the earlier `enable`: cache_dir = {str(cache)!r}" in lines
    assert environment("-c", ACTIVE).stdout == f"{cache}\n"


def test_dry_run_and_quiet(environment: Python, cache: Path) -> None:
    """With --dry-run nothing is written or removed, and the paths are shown; with --quiet nothing is shown."""
    purelib = purelib_of(Path(environment.executable).parent.parent)
    before = sorted(purelib.rglob("*"))
    enable, disable = ("-m", "pycachehook", "enable", "--cache-dir", cache), ("-m", "pycachehook", "disable")
    lines = environment(*enable, "--dry-run").stdout.splitlines()
    assert lines[:2] == [f"would write {purelib / name}" for name in (FILES[0], caller())]
    assert sorted(purelib.rglob("*")) == before
    assert environment(*enable, "--quiet").stdout == ""
    enabled = sorted(purelib.rglob("*"))
    assert purelib / FILES[0] in enabled
    lines = environment(*disable, "--dry-run").stdout.splitlines()
    assert sorted(lines) == sorted(f"would remove {purelib / name}" for name in (FILES[0], caller()))
    assert sorted(purelib.rglob("*")) == enabled
    assert environment(*disable, "-q").stdout == ""
    assert purelib / FILES[0] not in purelib.rglob("*")


@pytest.mark.parametrize("kind", ["directory", "archive"])
def test_enable_warns_of_what_will_be_refused(kind: str, environment: Python, cache: Path, tmp_path: Path) -> None:
    """A directory or archive that starts will refuse is a warning, under --strict an error without any writing."""
    purelib = purelib_of(Path(environment.executable).parent.parent)
    cache.mkdir()
    options = ["--cache-dir", str(cache)]
    if kind == "directory":
        cache.chmod(0o777)
    else:
        options += ["--archives", str(tmp_path / "missing.pyca")]
    process = environment("-m", "pycachehook", "enable", "--strict", *options, check=False)
    assert (process.returncode, process.stdout) == (1, "")
    assert process.stderr.startswith("pycachehook: error: ")
    assert not (purelib / FILES[0]).exists()
    process = environment("-m", "pycachehook", "enable", "--quiet", *options)
    assert process.stdout == ""
    assert process.stderr.startswith("pycachehook: warning: ")
    assert process.stderr.count("\n") == 1
    assert (str(cache) if kind == "directory" else "missing.pyca") in process.stderr
    assert (purelib / FILES[0]).exists()


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_prefix_imports_nothing_from_the_current_directory(command: str, environment: Python, tmp_path: Path) -> None:
    """`enable --prefix` imports no file from the current directory, which may belong to another user."""
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("pycachehook", "json", "argparse", "sysconfig", "pathlib", "ast", "ctypes", "filelock"):
        (hostile / f"{name}.py").write_text("import os; os.write(2, b'taken'); os._exit(3)\n")
    prefix = Path(environment.executable).parent.parent
    program = "import sys; from pycachehook.cli.main import main; sys.exit(main())"
    process = environment("-P", "-c", program, command, "--prefix", prefix, cwd=hostile, check=False)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.parametrize("joined", [False, True])
def test_prefix(joined: bool, environment: Python, cache: Path) -> None:
    """With --prefix another environment is enabled and disabled, by its own Python."""
    prefix = str(Path(environment.executable).parent.parent)
    flag = [f"--prefix={prefix}"] if joined else ["--prefix", prefix]
    assert main(["enable", "--in-tree", "ignore", *flag, "--cache-dir", str(cache)]) == 0
    assert environment("-c", ACTIVE).stdout == f"{cache}\n"
    assert main(["enable", *flag, "--layout", "nonesuch"]) == 2
    assert environment("-c", ACTIVE).stdout == f"{cache}\n"
    assert main(["disable", *flag]) == 0
    assert environment("-c", ACTIVE).stdout == "None\n"


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_prefix_that_is_no_environment(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A prefix without a Python is exit code 2, and one sentence that names it."""
    assert main([command, "--prefix", str(tmp_path)]) == 2
    interpreter = f"{tmp_path}/bin/python"
    assert complaint(capsys) == f"--prefix {tmp_path} is not a Python environment: there is no {interpreter}."


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_prefix_without_the_package(command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An environment without this package is exit code 1, and one sentence with the command that installs it."""
    folder = tmp_path / "environment"
    venv.EnvBuilder(symlinks=True).create(folder)
    assert main([command, "--prefix", str(folder)]) == 1
    mend = f"uv pip install --python {folder}/bin/python pycachehook"  # it has no pip
    assert complaint(capsys) == f"pycachehook cannot be imported in {folder}: install it there with `{mend}`."


@pytest.mark.parametrize("command", ["enable", "disable"])
def test_files_that_cannot_be_written_or_removed(command: str, environment: Python) -> None:
    """Activation files that cannot be written or removed are exit code 1, and one sentence."""
    purelib = purelib_of(Path(environment.executable).parent.parent)
    (purelib / caller()).mkdir()
    process = environment("-m", "pycachehook", command, check=False)
    assert process.returncode == 1
    assert process.stdout == ""
    assert process.stderr.startswith("pycachehook: error: ")
    assert str(purelib) in process.stderr
    assert process.stderr.count("\n") == 1
