"""Running a program: it sees what it sees under `python`, and its main module is cached, too."""

from __future__ import annotations

import importlib.util
import json
import py_compile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Mapping
    from typing import TypeAlias

    from conftest import Python

    Tree: TypeAlias = Callable[[Mapping[str, str]], Path]

PROBE = """
import json, sys
import side
found = {
    "argv": sys.argv, "path": sys.path, "name": __name__, "file": globals().get("__file__"),
    "package": __package__, "doc": __doc__, "spec": __spec__ and [__spec__.name, __spec__.origin, __spec__.parent],
    "main": vars(sys.modules["__main__"]) is globals(), "code": sys._getframe().f_code.co_filename,
    "side": side.__file__,
    "modules": sorted(name for name in sys.modules if name.partition(".")[0] in ("side", "package", "program")),
}
print(json.dumps(found))
"""

PROGRAMS: dict[str, list[str]] = {
    "script": ["program.py"],
    "absolute script": ["{root}/program.py"],
    "script by dots": ["./package/../program.py"],
    "script below": ["package/side_script.py"],
    "script without a suffix": ["program"],
    "link to a script": ["link.py"],
    "compiled script": ["compiled.pyc"],
    "directory": ["folder"],
    "archive": ["archive.zip"],
    "module": ["-m", "program"],
    "package": ["-m", "package"],
    "module in a package": ["-m", "package.module"],
    "string": ["-c", PROBE],
}


@pytest.fixture
def root(tree: Tree) -> Path:
    """Return a directory with programs of all kinds."""
    folder = {"__main__.py": PROBE, "side.py": ""}
    root = tree({
        "program.py": PROBE,
        "program": PROBE,
        "side.py": "",
        "package/__init__.py": "",
        "package/__main__.py": '"""Documented."""\n' + PROBE,
        "package/module.py": PROBE,
        "package/side_script.py": PROBE,
        "package/side.py": "",
        **{f"folder/{name}": text for name, text in folder.items()},
    })  # fmt: skip
    (root / "link.py").symlink_to("package/side_script.py")
    py_compile.compile(str(root / "program.py"), str(root / "compiled.pyc"), doraise=True)
    with zipfile.ZipFile(root / "archive.zip", "w") as archive:
        for name, text in folder.items():
            archive.writestr(name, text)
    return root


class Runs:
    """Runs programs below `root`, under the hook and without it."""

    def __init__(self, python: Python, root: Path, cache: Path) -> None:
        self.python, self.root, self.cache = python, root, cache

    def stock(self, *program: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a program as `python` does."""
        return self.python(*program, cwd=self.root, check=check)

    def ours(self, *program: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program under the hook."""
        command = ("-m", "pycachehook", "run", "--cache-dir", self.cache)
        return self.python(*command, *program, cwd=self.root, check=check, **environment)

    def both(self, *program: str, check: bool = True) -> tuple[subprocess.CompletedProcess[str], ...]:
        """Run a program as `python` does, then twice under the hook: compiled, and from the cache."""
        return self.stock(*program, check=check), *(self.ours(*program, check=check) for _ in range(2))


@pytest.fixture
def runs(python: Python, root: Path, cache: Path) -> Runs:
    """Return the object that runs programs."""
    return Runs(python, root, cache)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_program_sees_what_it_sees_under_python(kind: str, runs: Runs) -> None:
    """Arguments, search path, the main module's attributes and the modules loaded are those under `python` itself."""
    program = [each.replace("{root}", str(runs.root)) for each in PROGRAMS[kind]]
    stock, *ours = runs.both(*program, "--help", "-m", "--cache-dir", "", "ä b")
    assert [json.loads(each.stdout) for each in ours] == [json.loads(stock.stdout)] * 2


@pytest.mark.parametrize("program", [["program.py"], ["folder"], ["-m", "program"], ["-c"]], ids=" ".join)
@pytest.mark.parametrize(
    "expression",
    [
        'sorted(name for name in globals() if name.startswith("__"))',
        'type(__builtins__), hasattr(__builtins__, "print")',
        'type(__loader__).__name__.replace("CachingLoader", "SourceFileLoader")',
    ],
    ids=["names", "builtins", "loader"],
)
def test_names_of_the_main_module(expression: str, program: list[str], runs: Runs) -> None:
    """The main module has the same names as under `python`, with the same meanings."""
    text = f"print({expression})"
    for path in (runs.root / "program.py", runs.root / "folder" / "__main__.py"):
        path.write_text(text, encoding="utf-8")
    stock, *ours = runs.both(*program, *([text] if program == ["-c"] else []))
    assert [each.stdout for each in ours] == [stock.stdout] * 2


@pytest.mark.parametrize("program", [["program.py"], ["-m", "program"], ["-m", "package"], ["folder"]], ids=" ".join)
def test_main_module_is_cached(program: list[str], runs: Runs, tmp_path: Path) -> None:
    """The main module is stored like any other, even under -B, and is a hit the next time."""
    for _ in range(2):
        runs.ours(*program, PYTHONDONTWRITEBYTECODE="1", PYCACHEHOOK_STATS=f"{tmp_path}/stats")
    first, second = map(json.loads, (tmp_path / "stats").read_text(encoding="utf-8").splitlines())
    assert first["stored"] == first["compiled"] >= 2
    assert second["compiled"] == 0
    name = "__main__" if program[-1] in ("package", "folder") else "program"
    assert list(Path(f"{runs.cache}{runs.root}").rglob(f"{name}.*.pyc"))
    assert not list(runs.root.rglob("*/__pycache__"))


@pytest.mark.parametrize("no_force_write", [False, True])
def test_no_force_write(no_force_write: bool, runs: Runs) -> None:
    """Under -B `run` writes unless --no-force-write is given."""
    more = ["--no-force-write"] if no_force_write else []
    process = runs.ours(*more, "program.py", PYTHONDONTWRITEBYTECODE="1")
    assert bool(list(runs.cache.rglob("program.*.pyc"))) is not no_force_write
    assert process.stderr.startswith("pycachehook: warning: Python was told") is no_force_write


@pytest.mark.parametrize("mode", ["checked-hash", "unchecked-hash", "timestamp"])
def test_scripts_that_share_an_entrys_name(mode: str, tree: Tree, runs: Runs) -> None:
    """A script runs its own code, even if a module beside it has the same name except for the suffix."""
    tree({"app.py": "print('module')\n", "app.wsgi": "import app; app; print('script')\n"})
    outputs = [runs.ours("--invalidation-mode", mode, name).stdout for name in ("app.py", "app.wsgi")]
    assert outputs == ["module\n", "module\nscript\n"]


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("raise SystemExit", 0),
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('stopped')", 1),
        ("import sys; sys.exit()", 0),
    ],
)
@pytest.mark.parametrize("how", ["script", "string"])
def test_exit_codes(how: str, ending: str, code: int, runs: Runs) -> None:
    """The exit code and the message about it are the program's."""
    (runs.root / "program.py").write_text(ending, encoding="utf-8")
    program = ["program.py"] if how == "script" else ["-c", ending]
    found = [(each.returncode, each.stdout, each.stderr) for each in runs.both(*program, check=False)]
    assert found == [(code, "", "stopped\n" if "stopped" in ending else "")] * 3


@pytest.mark.parametrize(
    "text",
    [
        "def f():\n    raise ValueError('wrong')\nf()\n",
        "x = (\n",
        "import nonesuch\nnonesuch\n",
        "import broken\nbroken\n",
        "try:\n    1 / 0\nexcept ZeroDivisionError as error:\n    raise KeyError from error\n",
        "raise ExceptionGroup('two', [ValueError(), KeyError()])\n",
        "raise OSError('from the program')\n",
        "from pycachehook import ConfigError\nraise ConfigError('from the program')\n",
    ],
    ids=["raise", "syntax", "import", "import of broken", "cause", "group", "os", "ours"],
)
def test_tracebacks(text: str, runs: Runs) -> None:
    """A program's error shows the traceback that it shows under `python`, the first time and from the cache."""
    (runs.root / "program.py").write_text(text, encoding="utf-8")
    (runs.root / "broken.py").write_text("1 / 0\n", encoding="utf-8")
    stock, *ours = runs.both("program.py", check=False)
    assert stock.stderr
    assert [(each.returncode, each.stderr) for each in ours] == [(1, stock.stderr)] * 2


@pytest.mark.parametrize(
    ("program", "message", "code"),
    [
        (["missing.py"], "There is no script missing.py.", 2),
        (["nothing"], "There is no __main__.py in nothing.", 1),
        (["-m", "missing"], "There is no module missing.", 1),
        (["-m", "missing.sub"], "There is no module missing.sub.", 1),
        (["-m", "program.sub"], "There is no module program.sub.", 1),
        (["-m", "nothing"], "There is no module nothing.__main__.", 1),
        (["-m", "_struct"], "_struct has no Python code that can be run ({_struct}).", 1),
        (["-m", "sys"], "sys has no Python code that can be run (built-in).", 1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_no_such_program(program: list[str], message: str, code: int, runs: Runs) -> None:
    """A missing program is one sentence, with the exit code of `python`."""
    (runs.root / "nothing").mkdir()
    spec = importlib.util.find_spec("_struct")
    assert spec is not None
    process = runs.ours(*program, check=False)
    assert process.returncode == code
    assert process.stderr == f"pycachehook: error: {message.format(_struct=spec.origin)}\n"


def test_error_inside_a_package_is_the_programs_own(runs: Runs) -> None:
    """An error in the package of a module is shown unchanged, and not reported as a missing module."""
    (runs.root / "package" / "__init__.py").write_text("import nonesuch\nnonesuch\n", encoding="utf-8")
    process = runs.ours("-m", "package.module", check=False)
    assert process.returncode == 1
    assert process.stderr.endswith("ModuleNotFoundError: No module named 'nonesuch'\n")


def test_safe_path(runs: Runs) -> None:
    """Under -P no directory of the program is added to the search path."""
    (runs.root / "program.py").write_text("import json, sys; print(json.dumps(sys.path))", encoding="utf-8")
    path = json.loads(runs.ours("program.py", PYTHONSAFEPATH="1").stdout)
    assert path == json.loads(runs.stock("-P", "program.py").stdout)
    assert str(runs.root) not in path
