"""A wheel made by `enable --wheel`: its installation activates, its removal deactivates, with pip and with uv."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import clean_environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

pytestmark = pytest.mark.full

PROBE = """
import sys
import probe
import pycachehook
hook = pycachehook.active()
image = sys.modules["_pycachehook_startup"].from_image() is not None if hook else None
print(type(probe.__spec__.loader).__name__, hook and hook.options.layout, hook and hook.options.cache_dir, image)
"""
STOCK = "SourceFileLoader None None None\n"


@pytest.fixture
def made(environment: Python, tmp_path: Path, cache: Path) -> Path:
    """Return a wheel with a cache directory and a layout; the environment that made it is unchanged."""
    options = ("--cache-dir", cache, "--layout", "shared")
    said = environment("-m", "pycachehook", "enable", "--wheel", tmp_path / "links", *options).stdout
    (path,) = (tmp_path / "links").iterdir()
    assert said.splitlines()[0] == f"wrote {path}"
    assert "no" in environment("-m", "pycachehook", "status").stdout.splitlines()[0]
    (tmp_path / "probe.py").write_text("", encoding="utf-8")
    return path


def test_the_same_bytes(made: Path, environment: Python, cache: Path, tmp_path: Path) -> None:
    """The same options make the same wheel; its record lists every member; a dry run writes nothing."""
    options = ("--cache-dir", cache, "--layout", "shared")
    environment("-m", "pycachehook", "enable", "--wheel", tmp_path / "again", *options)
    assert (tmp_path / "again" / made.name).read_bytes() == made.read_bytes()
    with zipfile.ZipFile(made) as wheel:
        (record,) = (name for name in wheel.namelist() if name.endswith("/RECORD"))
        assert [line.partition(",")[0] for line in wheel.read(record).decode().splitlines()] == wheel.namelist()
    environment("-m", "pycachehook", "enable", "--dry-run", "--wheel", tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_pip(made: Path, wheel: Path, make_environment: Callable[..., Python], cache: Path, tmp_path: Path) -> None:
    """`pip install` activates with image and options, `pip uninstall` deactivates; `doctor` has no finding."""
    python = make_environment()
    assert python("-c", PROBE, cwd=tmp_path).stdout == STOCK
    python("-m", "pip", "install", "--quiet", "--no-index", "--find-links", made.parent, "pycachehook-activation")
    assert python("-c", PROBE, cwd=tmp_path).stdout == f"CachingLoader shared {cache} True\n"
    assert "written by version" not in python("-m", "pycachehook", "doctor", check=False).stdout
    assert "image" not in python("-m", "pycachehook", "doctor", check=False).stdout
    disabled = python("-m", "pycachehook", "disable", "--dry-run")
    assert "pycachehook-activation is still installed" in disabled.stderr
    python("-m", "pip", "uninstall", "--quiet", "--yes", "pycachehook-activation")
    assert python("-c", PROBE, cwd=tmp_path).stdout == STOCK
    purelib = Path(sysconfig.get_path("purelib", vars={"base": str(Path(python.executable).parent.parent)}))
    assert not list(purelib.glob("pycachehook*.pth"))


def test_uv(made: Path, wheel: Path, cache: Path, tmp_path: Path) -> None:
    """A project that requires the wheel is activated in every new environment of uv, and otherwise not."""
    uv = shutil.which("uv", path=f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}")
    if uv is None:
        pytest.skip("needs uv: pip install uv")
    project = tmp_path / "project"
    project.mkdir()
    (project / "probe.py").write_text("", encoding="utf-8")
    text = '[project]\nname = "sums"\nversion = "1"\nrequires-python = ">=3.11,<3.18"\n'
    configured = text + 'dependencies = ["pycachehook-activation"]\n'
    environment = clean_environment(
        UV_FIND_LINKS=f"{wheel.parent},{made.parent}", HOME=str(tmp_path), UV_CACHE_DIR=str(tmp_path / "uv")
    )
    environment.pop("VIRTUAL_ENV", None)

    def run(*words: str) -> str:
        command = [uv, *words]
        done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    active = f"CachingLoader shared {cache} True\n"
    for dependencies, expected in ((configured, active), (text + 'dependencies = ["pycachehook"]\n', STOCK)):
        (project / "pyproject.toml").write_text(dependencies, encoding="utf-8")
        run("sync", "--quiet")
        assert (project / "uv.lock").read_text(encoding="utf-8").count("pycachehook-activation") == 3 * (
            expected == active
        )
        assert run("run", "--quiet", "python", "-c", PROBE) == expected
        shutil.rmtree(project / ".venv")
        assert run("run", "--quiet", "python", "-c", PROBE) == expected
        assert run("run", "--quiet", "--isolated", "python", "-c", PROBE) == expected
