"""`pycachehook doctor`: says what is wrong with an environment, and what it advises mends it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import Python, clean_environment
from pycachehook.commands.enable import caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


pytestmark = pytest.mark.alone


@pytest.fixture(scope="module")
def environment(make_environment: Callable[..., Python]) -> Python:
    """Return an environment with this project in it."""
    return make_environment()


class Patient:
    """An enabled environment, and the doctor's opinion of it."""

    def __init__(self, python: Python, home: Path, cache: Path) -> None:
        self.python = Python(python.executable, HOME=str(home))
        self.cache = cache
        self.purelib = Path(self.python("-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())

    def findings(self, *options: str, **environment: str) -> list[dict[str, Any]]:
        """Return what the doctor finds; the exit code says whether it is anything."""
        process = self.python(*options, "-m", "pycachehook", "doctor", "--json", check=False, **environment)
        found: list[dict[str, Any]] = json.loads(process.stdout)["findings"]
        assert (process.returncode, process.stderr) == (bool(found), "")
        return found

    def the_finding(self, *options: str, **environment: str) -> dict[str, Any]:
        """Return the one thing that is wrong."""
        (found,) = self.findings(*options, **environment)
        assert all(found[name] for name in ("what", "costs", "mend"))
        return found

    def mend(self, finding: dict[str, Any]) -> None:
        """Do as the doctor says."""
        path = f"{Path(self.python.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = clean_environment(**self.python.environment, PATH=path)
        subprocess.run(["sh", "-c", finding["mend"]], env=environment, check=False, capture_output=True)


@pytest.fixture
def patient(environment: Python, cache: Path, tmp_path: Path) -> Iterator[Patient]:
    """Return a healthy one."""
    patient = Patient(environment, tmp_path, cache)
    patient.python("-m", "pycachehook", "enable", "--cache-dir", cache, "--in-tree", "ignore")
    patient.python("-c", "import pycachehook.cli.main, pycachehook.commands.doctor, pycachehook.commands.run")
    assert patient.findings() == []
    yield patient
    patient.python("-m", "pycachehook", "disable")


def test_healthy(patient: Patient) -> None:
    """Where nothing is wrong it says so, and the exit code is 0."""
    assert patient.python("-m", "pycachehook", "doctor").stdout == "nothing is wrong here\n"


def test_not_enabled(patient: Patient) -> None:
    """Without activation files nothing is active; what is advised mends that."""
    patient.python("-m", "pycachehook", "disable")
    finding = patient.the_finding()
    assert finding["what"] == "The hook is not enabled in this environment."
    patient.python("-m", "pycachehook", "enable", "--cache-dir", patient.cache)
    assert patient.findings() == []


def test_an_activation_file_is_missing(patient: Patient) -> None:
    """One that is missing is named."""
    name = caller()
    (patient.purelib / name).unlink()
    found = patient.findings()
    assert name in found[0]["what"]
    patient.python("-m", "pycachehook", "enable", "--cache-dir", patient.cache)
    assert patient.findings() == []


def test_another_version(patient: Patient) -> None:
    """Activation files of another version are named, and written anew by what is advised."""
    path = patient.purelib / "_pycachehook_startup.py"
    path.write_text(path.read_text(encoding="utf-8").replace("VERSION = '", "VERSION = '0."), encoding="utf-8")
    finding = patient.the_finding()
    assert "written by version 0." in finding["what"]
    patient.mend(finding)
    assert not [each for each in patient.findings() if "version" in each["what"]]


def test_environment_variables(patient: Patient, tmp_path: Path) -> None:
    """So are variables that keep the cache from being used, or filled."""
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
    """A cache that others may write to is refused; the reason names the command that mends it."""
    patient.cache.chmod(0o777)
    finding = patient.the_finding()
    assert f"chmod go-w {patient.cache}" in finding["what"]
    patient.mend({"mend": f"chmod go-w {patient.cache}"})
    assert patient.findings() == []


def test_bad_entries(patient: Patient) -> None:
    """Entries that are bad are counted by verdict, and removed by what is advised."""
    entry = next(patient.cache.rglob("runner.*.pyc"))
    data = bytearray(entry.read_bytes())
    data[-1] ^= 1
    entry.write_bytes(data)
    finding = patient.the_finding()
    assert "entries are bad: 1 corrupt." in finding["what"]
    patient.mend(finding)
    assert not entry.exists()
    assert patient.findings() == []


def test_stale_pycs_in_the_tree(patient: Patient) -> None:
    """Pycs that packages ship and that CPython would not take any more, as packaging that rewrites times leaves them."""
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
    """A finder that another tool has put in front of ours is named."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(
        "import sys\nclass Mine:\n    @staticmethod\n    def find_spec(*_): return None\nsys.meta_path.insert(0, Mine)\n",
        encoding="utf-8",
    )
    assert "sitecustomize.Mine stands in front" in patient.the_finding(PYTHONPATH=str(tmp_path / "site"))["what"]


def test_an_archive_that_is_not_used(patient: Patient, tmp_path: Path) -> None:
    """The finding says which, and building it again mends that."""
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
