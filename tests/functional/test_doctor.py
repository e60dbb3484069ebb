"""`pycachehook doctor`: reports what is wrong with an environment, and its advice repairs it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import venv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import Python, clean_environment
from pycachehook.commands.enable import caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import PrivateMounts

pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def environment(make_environment: Callable[..., Python]) -> Python:
    """Return an environment with this project in it."""
    return make_environment()


class Patient:
    """An enabled environment, and what `doctor` reports about it."""

    def __init__(self, python: Python, home: Path, cache: Path) -> None:
        self.python = Python(python.executable, HOME=str(home))
        self.cache = cache
        (self.purelib,) = Path(python.executable).parent.parent.glob("lib/python*/site-packages")

    def findings(self, *options: str, **environment: str) -> list[dict[str, Any]]:
        """Return the findings of `doctor`; the exit code says whether there are any."""
        process = self.python.within(environment)(*options, "-m", "pycachehook", "doctor", "--json", check=False)
        found: list[dict[str, Any]] = json.loads(process.stdout)["findings"]
        assert (process.returncode, process.stderr) == (bool(found), "")
        return found

    def the_finding(self, *options: str, **environment: str) -> dict[str, Any]:
        """Return the only finding."""
        (found,) = self.findings(*options, **environment)
        assert all(found[name] for name in ("what", "costs", "mend"))
        return found

    def mend(self, finding: dict[str, Any]) -> None:
        """Run the command that the finding advises."""
        path = f"{Path(self.python.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = clean_environment(**self.python.environment, PATH=path)
        subprocess.run(["sh", "-c", finding["mend"]], env=environment, check=False, capture_output=True)


@pytest.fixture(scope="module")
def healthy(environment: Python, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, bytes]]:
    """Enable the hook; return a cache with what `doctor` imports, and the activation files of a cache beside it."""
    folder = tmp_path_factory.mktemp("healthy")
    patient = Patient(environment, folder, folder / "cache")
    before = set(patient.purelib.rglob("*pycachehook*"))
    patient.python("-m", "pycachehook", "enable", "--cache-dir", patient.cache, "--in-tree", "ignore")
    patient.python("-c", "import pycachehook.cli.main, pycachehook.commands.doctor, pycachehook.commands.run")
    patient.findings()
    assert patient.findings() == []
    files = {path: path.read_bytes() for path in set(patient.purelib.rglob("*pycachehook*")) - before}
    return patient.cache.rename(folder / "filled"), files


@pytest.fixture
def patient(environment: Python, healthy: tuple[Path, dict[Path, bytes]], tmp_path: Path) -> Iterator[Patient]:
    """Return an environment without findings."""
    filled, files = healthy
    patient = Patient(environment, tmp_path, filled.parent / "cache")
    shutil.copytree(filled, patient.cache)
    for path, data in files.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    yield patient
    for path in files:
        path.unlink(missing_ok=True)
    shutil.rmtree(patient.cache)


def test_healthy(patient: Patient) -> None:
    """Without findings `doctor` says so, and the exit code is 0."""
    assert patient.python("-m", "pycachehook", "doctor").stdout == "nothing is wrong here\n"


def test_not_enabled(patient: Patient) -> None:
    """Missing activation files are a finding, and its advice installs them."""
    patient.python("-m", "pycachehook", "disable")
    finding = patient.the_finding()
    assert finding["what"] == "The hook is not enabled in this environment."
    patient.python("-m", "pycachehook", "enable", "--cache-dir", patient.cache)
    assert patient.findings() == []


def test_an_activation_file_is_missing(patient: Patient) -> None:
    """The finding names the one activation file that is missing."""
    name = caller()
    (patient.purelib / name).unlink()
    found = patient.findings()
    assert name in found[0]["what"]
    patient.python("-m", "pycachehook", "enable", "--cache-dir", patient.cache)
    assert patient.findings() == []


def test_another_version(patient: Patient) -> None:
    """The finding names activation files of another version, and its advice writes them again."""
    path = patient.purelib / "_pycachehook_startup.py"
    path.write_text(path.read_text(encoding="utf-8").replace("VERSION = '", "VERSION = '0."), encoding="utf-8")
    finding = patient.the_finding()
    assert "written by version 0." in finding["what"]
    patient.mend(finding)
    assert not [each for each in patient.findings() if "version" in each["what"]]


def test_environment_variables(patient: Patient, tmp_path: Path) -> None:
    """Environment variables that prevent reading or writing the cache are findings."""
    for variables, what in {
        ("PYCACHEHOOK_DISABLE",): "PYCACHEHOOK_DISABLE is set.",
        ("PYTHONDONTWRITEBYTECODE",): "PYTHONDONTWRITEBYTECODE is set.",
        ("PYCACHEHOOK_LAYUOT",): "There is no option PYCACHEHOOK_LAYUOT.",
    }.items():
        assert patient.the_finding(**dict.fromkeys(variables, "1"))["what"] == what
    assert patient.the_finding("-B")["what"] == "Python runs with -B."
    assert patient.findings("-B", PYCACHEHOOK_FORCE_WRITE="1") == []
    other = str(tmp_path / "other")
    assert other in patient.the_finding(PYTHONPYCACHEPREFIX=other)["what"]


def test_refused_directory(patient: Patient) -> None:
    """A cache that other users can write to is refused; the reason names the command that repairs it."""
    patient.cache.chmod(0o777)
    finding = patient.the_finding()
    assert f"chmod go-w {patient.cache}" in finding["what"]
    patient.mend({"mend": f"chmod go-w {patient.cache}"})
    assert patient.findings() == []


def test_bad_entries(patient: Patient) -> None:
    """Bad entries are counted by verdict, and the advice removes them."""
    patient.python("-m", "pycachehook", "precompile", "--module", "colorsys")
    entry = next(patient.cache.rglob("colorsys.*.pyc"))
    data = bytearray(entry.read_bytes())
    data[-1] ^= 1
    entry.write_bytes(data)
    finding = patient.the_finding()
    assert "entries are bad: 1 corrupt." in finding["what"]
    patient.mend(finding)
    assert not entry.exists()
    assert patient.findings() == []


def test_stale_pycs_in_the_tree(patient: Patient) -> None:
    """Installed pycs that CPython would reject, because packaging changed modification times, are a finding."""
    sources = sorted((patient.purelib / "pip").rglob("*.py"))
    patient.python("-m", "compileall", "-q", patient.purelib / "pip", PYCACHEHOOK_DISABLE="1")
    assert patient.findings() == []
    for source in sources:
        os.utime(source, (1, 1))
    try:
        finding = patient.the_finding()
    finally:
        for folder in list((patient.purelib / "pip").rglob("__pycache__")):
            shutil.rmtree(folder)
    assert finding["what"].startswith(f"{len(sources)} of ")
    assert finding["mend"] == "pycachehook precompile"


def test_another_finder_in_front(patient: Patient, tmp_path: Path) -> None:
    """A finder that another tool has put before this package's finder is named."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import sys\nclass Mine:\n    @staticmethod\n    def find_spec(*_): return None\nsys.meta_path.insert(0, Mine)\n",
        encoding="utf-8",
    )
    assert "sitecustomize.Mine stands in front" in patient.the_finding(PYTHONPATH=str(tmp_path / "site"))["what"]


def test_an_archive_that_is_not_used(patient: Patient, tmp_path: Path) -> None:
    """The finding names the archive, and building it again removes the finding."""
    source, out = tmp_path / "app", tmp_path / "app.pyca"
    source.mkdir()
    (source / "one.py").touch()
    found = patient.the_finding(PYCACHEHOOK_ARCHIVES=str(out))
    assert found["what"].startswith(f"The archive {out} cannot be opened: ")
    build = ("-m", "pycachehook", "archive", "build", "--invalidation-mode", "unchecked-hash", "--path", source, out)
    patient.python(*build)
    assert patient.findings(PYCACHEHOOK_ARCHIVES=str(out)) == []
    (source / "two.py").touch()
    found = patient.the_finding(PYCACHEHOOK_ARCHIVES=str(out))
    assert "is not used for application" in found["what"]
    patient.python(*build)
    assert patient.findings(PYCACHEHOOK_ARCHIVES=str(out)) == []


@pytest.mark.slow
def test_orphans_and_outdated_entries_are_no_findings(patient: Patient, tmp_path: Path) -> None:
    """Orphans and outdated entries are notes, not findings: `prune` or the next import deals with them."""
    source = tmp_path / "app"
    source.mkdir()
    for name in ("gone", "edited"):
        (source / f"{name}.py").write_text("VALUE = 1\n", encoding="utf-8")
    patient.python("-m", "pycachehook", "precompile", source)
    (source / "gone.py").unlink()
    (source / "edited.py").write_text("VALUE = 2\n", encoding="utf-8")
    process = patient.python("-m", "pycachehook", "doctor", "--json")
    found = json.loads(process.stdout)
    assert found["findings"] == []
    edited, gone = found["notes"]
    assert edited["what"].startswith("1 of ")
    assert "can be pruned" in gone["what"]
    for note in (gone, edited):
        patient.mend(note)
    patient.python("-m", "pycachehook", "precompile", source)
    assert json.loads(patient.python("-m", "pycachehook", "doctor", "--json").stdout)["notes"] == []
    assert patient.python("-m", "pycachehook", "doctor").stdout == "nothing is wrong here\n"


def test_cache_directory_that_cannot_be_made(patient: Patient, tmp_path: Path) -> None:
    """A missing cache directory is a finding only if a start cannot create it."""
    assert patient.findings(PYCACHEHOOK_CACHE_DIR=str(tmp_path / "new" / "cache")) == []
    finding = patient.the_finding(PYCACHEHOOK_CACHE_DIR="/dev/null/cache")
    assert "/dev/null" in finding["what"]
    patient.python("-m", "pycachehook", "disable")
    found = patient.findings(HOME="/nonexistent")
    assert any("the home directory /nonexistent does not exist" in each["what"] for each in found)
    new = str(tmp_path / "newer" / "cache")
    assert len(patient.findings(PYCACHEHOOK_CACHE_DIR=new)) == 1
    assert not (tmp_path / "newer").exists()
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for path in ("/dev/null/cache", str(tmp_path / "dangling")):
        found = patient.findings(PYCACHEHOOK_CACHE_DIR=path)
        assert any(path.removesuffix("/cache") in each["what"] for each in found)
    assert not (tmp_path / "nowhere").exists()


def test_read_only_root(patient: Patient, private_mounts: PrivateMounts, tmp_path: Path) -> None:
    """On a read-only root file system a missing cache is a finding, and a filled one is not."""
    (tmp_path / "ro").mkdir()
    patient.python("-m", "pycachehook", "disable")
    options = {"PYCACHEHOOK_CACHE_DIR": str(tmp_path / "ro" / "cache"), "PYCACHEHOOK_IN_TREE": "ignore"}
    doctor = ("-m", "pycachehook", "doctor", "--json")
    for filled in (False, True):
        if filled:
            patient.python.within(options)("-m", "pycachehook", "precompile", "--module", "json")
        found = json.loads(
            private_mounts(patient.python.within(options), *doctor, read_only=[tmp_path / "ro"], check=False).stdout
        )
        told = [each["what"] for each in found["findings"] if "not enabled" not in each["what"]]
        assert bool(told) is not filled
        assert filled or "cannot be created" in told[0]


def test_container_that_root_fills(patient: Patient, private_mounts: PrivateMounts) -> None:
    """A cache that root filled and that a user can only read is no finding."""
    Path(patient.python.executable).parent.parent.chmod(0o755)
    patient.python("-m", "pycachehook", "precompile", "--module", "json", "--module", "argparse")
    process = private_mounts(
        patient.python,
        "-m",
        "pycachehook",
        "doctor",
        user=65534,
        reach=[patient.cache],
        check=False,
        HOME="/nonexistent",
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "nothing is wrong here\n", "")


def test_links_in_place_of_entries(patient: Patient, tmp_path: Path) -> None:
    """Entries that are symbolic links are a finding; copies of the linked files are not."""
    patient.python("-m", "pycachehook", "precompile", "--module", "json")
    farm = tmp_path / "farm"
    shutil.copytree(patient.cache, farm, copy_function=os.symlink)
    options = {"PYCACHEHOOK_CACHE_DIR": str(farm), "PYCACHEHOOK_READ_ONLY": "1"}
    finding = next(each for each in patient.findings(**options) if "links" in each["what"])
    assert "are not read through links" in finding["what"]
    command = finding["mend"].partition(",")[0].replace("DIR", str(tmp_path / "copies"))
    patient.mend({"mend": command})
    assert patient.findings(**{**options, "PYCACHEHOOK_CACHE_DIR": str(tmp_path / "copies")}) == []


def test_root_is_told_chown(patient: Patient) -> None:
    """Root is advised to change the owner of another user's entries, not to remove them."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    patient.python("-m", "pycachehook", "precompile", "--module", "colorsys")
    entry = next(patient.cache.rglob("colorsys.*.pyc"))
    os.chown(entry, 65534, 65534)
    finding = patient.the_finding()
    assert finding["what"].startswith("1 of ")
    assert finding["mend"].startswith(f"chown -R 0 {patient.cache}")
    patient.mend(finding)
    assert entry.exists()
    assert patient.findings() == []


def test_cost_counts_bytecode_in_the_tree(patient: Patient) -> None:
    """The advice to compile counts only sources without usable bytecode, in-tree bytecode included."""
    patient.python("-m", "pycachehook", "enable", "--cache-dir", patient.cache, "--in-tree", "installed")
    modules = list(patient.purelib.rglob("*.py"))
    costs = patient.the_finding("-B")["costs"]
    assert f"{len(modules)} of {len(modules)} modules" in costs or "modules in" in costs
    patient.python("-m", "compileall", "-q", patient.purelib, PYCACHEHOOK_DISABLE="1", check=False)
    try:
        costs = patient.the_finding("-B")["costs"]
        assert "have bytecode that is used" in costs or " 0 of " in costs
    finally:
        for folder in list(patient.purelib.rglob("__pycache__")):
            shutil.rmtree(folder)


def test_flags(patient: Patient, tmp_path: Path) -> None:
    """`doctor` and `status` judge `--cache-dir` and `--archives` as a start with these options would."""
    found = json.loads(
        patient.python(
            "-m", "pycachehook", "doctor", "--json", "--cache-dir", "/dev/null/x", "--archives", "/no", check=False
        ).stdout
    )
    assert "/dev/null" in found["findings"][0]["what"]
    assert "/no" in found["findings"][1]["what"]
    state = json.loads(patient.python("-m", "pycachehook", "status", "--json", "--cache-dir", tmp_path / "y").stdout)
    assert state["options"]["cache_dir"] == {"value": str(tmp_path / "y"), "origin": "--cache-dir"}
    assert state["start"] == {"status": "writable", "reason": None}


def test_modules_of_a_start(patient: Patient, tmp_path: Path) -> None:
    """`doctor MODULE` imports it as `python -m` would, lists what is compiled and why, and stores nothing."""
    (tmp_path / "app").mkdir()
    for name, text in {"main": "import helper\nprint('output')\n", "helper": "", "other": ""}.items():
        (tmp_path / "app" / f"{name}.py").write_text(text, encoding="utf-8")
    doctor = ("-m", "pycachehook", "doctor")
    for _ in range(2):
        process = patient.python(*doctor, "--json", "main", check=False, cwd=tmp_path / "app")
        found = json.loads(process.stdout)
        assert [(each["module"], each["reason"]) for each in found["missing"]] == [
            ("main", "absent"),
            ("helper", "absent"),
        ]
        assert (process.returncode, found["findings"]) == (1, [])
        assert not list(patient.cache.rglob("helper.*"))
    patient.python("-c", "import main", cwd=tmp_path / "app")
    process = patient.python(*doctor, "main", cwd=tmp_path / "app")
    assert process.stdout.endswith(" modules are not in the cache\n")
    assert "main: 0 of " in process.stdout
    (tmp_path / "app" / "leaves.py").write_text("raise SystemExit('left')", encoding="utf-8")
    (tmp_path / "app" / "dies.py").write_text("import os; os._exit(7)", encoding="utf-8")
    errors = {
        "nonesuch": "ModuleNotFoundError: No module named 'nonesuch'",
        "": "ValueError: Empty module name",
        "leaves": "SystemExit: left",
        "dies": "exit code 7",
    }
    for name, error in errors.items():
        process = patient.python(*doctor, name, cwd=tmp_path / "app", check=False)
        sentence = f"pycachehook: error: {name!r} could not be imported, so nothing is known about it: {error}.\n"
        assert (process.returncode, process.stderr) == (1, sentence)


def test_no_writable_directory(patient: Patient, private_mounts: PrivateMounts) -> None:
    """`doctor MODULE` needs no temporary file; a command that does says that there is no directory for it."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        trees = [Path("/tmp"), Path("/var/tmp"), Path.cwd()]
        command = ("-m", "pycachehook", *arguments)
        return private_mounts(patient.python, *command, read_only=trees, check=False, TMPDIR="")

    process = run("doctor", "wave")
    assert (process.returncode, process.stderr) == (1, "")
    assert "wave: 1 of " in process.stdout
    process = run("run", "--trace", "x.json", "-c", "0")
    assert (process.returncode, len(process.stderr.splitlines())) == (1, 1)
    assert "No usable temporary directory found" in process.stderr
    assert "set TMPDIR" in process.stderr


def test_prefix_of_no_environment(patient: Patient, tmp_path: Path) -> None:
    """For a directory without a working Python, `--prefix` is refused in one sentence."""
    (tmp_path / "bin").mkdir()
    interpreter = tmp_path / "bin" / "python"
    texts = {
        None: f"--prefix {tmp_path} is not a Python environment: there is no {interpreter}.",
        "exit 3": f"{interpreter} is no Python, or it does not start: exit code 3.",
        "echo broken >&2; exit 1": f"{interpreter} is no Python, or it does not start: broken.",
        "echo False": f"{interpreter} is no Python that pycachehook supports: 3.11 or later is needed.",
    }
    for script, text in texts.items():
        if script is not None:
            interpreter.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            interpreter.chmod(0o755)
        for command in ("doctor", "status", "enable"):
            process = patient.python("-m", "pycachehook", command, "--prefix", tmp_path, check=False)
            assert process.stderr == f"pycachehook: error: {text}\n"
            assert process.returncode in (1, 2)


def test_prefix(patient: Patient, python: Python, tmp_path: Path) -> None:
    """`--prefix` reports on another environment, even one without the package, and runs no code from `.`."""
    (tmp_path / "hostile").mkdir()
    for name in ("json.py", "pycachehook.py"):
        (tmp_path / "hostile" / name).write_text("raise SystemExit('hostile')", encoding="utf-8")
    prefix = Path(patient.python.executable).parent.parent
    command = Python(Path(python.executable).parent / "pycachehook", **patient.python.environment)
    state = json.loads(command("status", "--json", "--prefix", prefix, cwd=tmp_path / "hostile").stdout)
    assert (state["active"], state["cache_dir"]) == (True, str(patient.cache))
    assert command("doctor", f"--prefix={prefix}", cwd=tmp_path / "hostile").stdout == "nothing is wrong here\n"
    command("disable", f"--prefix={prefix}")
    found = json.loads(command("doctor", "--json", "--prefix", prefix, check=False).stdout)["findings"]
    assert [each["mend"] for each in found] == [f"{patient.python.executable} -m pycachehook enable"]
    empty = tmp_path / "empty"
    venv.EnvBuilder(symlinks=True).create(empty)
    process = command("doctor", "--json", "--prefix", empty, cwd=tmp_path / "hostile", check=False)
    found = json.loads(process.stdout)["findings"]
    assert (process.returncode, found[0]["what"]) == (1, f"pycachehook is not installed in {empty}.")
    assert found[0]["mend"] == f"uv pip install --python {empty}/bin/python pycachehook"  # there is no pip
    assert found[1]["mend"] == f"{empty}/bin/python -m pycachehook enable"
    purelib = next(empty.glob("lib/python*/site-packages"))
    (purelib / "_pycachehook_startup.py").write_text("", encoding="utf-8")  # left by an installer that removed the rest
    found = json.loads(command("doctor", "--json", "--prefix", empty, check=False).stdout)["findings"]
    assert not [each["what"] for each in found if "not active" in each["what"]]
    (purelib / "_pycachehook_startup.py").unlink()
    state = json.loads(command("status", "--json", "--prefix", empty).stdout)
    assert (state["active"], state["enabled"]) == (False, None)
    assert command("status", "--prefix", tmp_path, check=False).returncode == 2


def test_directory_of_other_data(patient: Patient, tmp_path: Path) -> None:
    """`doctor` names the contents of a directory that is no cache, and does not search below it."""
    project = tmp_path / "project"
    folder = project / "__pycache__"
    folder.mkdir(parents=True)
    (project / "data.txt").touch()
    for number in range(3):
        (folder / f"m{number}.cpython-311.pyc").write_bytes(b"damaged")
    findings = patient.findings(PYCACHEHOOK_CACHE_DIR=str(project))
    (what,) = (each["what"] for each in findings if str(project) in each["what"])
    assert f"{project} holds something else than a cache, {project / 'data.txt'}, so nothing is stored" in what
    said = json.loads(patient.python("-m", "pycachehook", "status", "--json", "--cache-dir", project).stdout)
    assert (said["start"]["status"], said["entries"], said["distributions"]) == ("disabled", 0, {})


@pytest.mark.parametrize("name", [".pycachehook", ".pycachehook/locks"])
def test_something_in_the_way_of_our_own_files(name: str, patient: Patient, tmp_path: Path) -> None:
    """A file or link in place of one of the package's own directories is a finding that says what it is."""
    for kind in ("fifo", "link"):
        cache = tmp_path / kind
        way = cache / name
        way.parent.mkdir(parents=True)
        if kind == "fifo":
            os.mkfifo(way)
        else:
            way.symlink_to("/usr")
        finding = patient.the_finding(PYCACHEHOOK_CACHE_DIR=str(cache))
        assert finding["what"].startswith(f"Nothing can be stored in {cache}: {way} is ")
        patient.mend(finding)
        assert patient.findings(PYCACHEHOOK_CACHE_DIR=str(cache)) == []


def test_full_file_system(patient: Patient, private_mounts: PrivateMounts, tmp_path: Path) -> None:
    """A file system without space, or without inodes, is a finding."""
    small = tmp_path / "small"
    small.mkdir()
    for option, what in (("size=16k", "KiB"), ("nr_inodes=1", "no inode")):
        program = (
            "import subprocess, sys\n"
            f"subprocess.run(['mount', '-t', 'tmpfs', '-o', 'mode=755,{option}', 'tmpfs', {str(small)!r}], check=True)\n"
            "from pycachehook.cli.main import main\n"
            f"sys.exit(main(['doctor', '--cache-dir', {str(small)!r}]))\n"
        )
        done = private_mounts(patient.python, "-c", program, check=False)
        assert done.returncode == 1
        first = done.stdout.splitlines()[0]
        assert first.startswith(f"The file system of {small} has ")
        assert first.endswith(f"{what} left.")
