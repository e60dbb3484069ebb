"""What the tests of the documentation share: a shell in an environment of its own."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import PROJECT, MakeOnce, build_wheel, clean_environment, copy_environment, make_bare_environment

PLUGIN = PROJECT / "src" / "pytest-pycachehook"


@pytest.fixture(scope="session")
def wheels(wheel: Path, make_once: MakeOnce) -> Path:
    """Return a directory with the wheels of this project: the package, and its plugin for pytest."""

    def build(folder: Path) -> None:
        build_wheel(PLUGIN, folder)
        shutil.copy(wheel, folder)

    return make_once("wheels", build)


@pytest.fixture
def environment(tmp_path: Path, wheels: Path, make_once: MakeOnce) -> Iterator[dict[str, str]]:
    """Return the variables of a shell in a new virtual environment, whose installers find this project's wheel."""
    home, folder = tmp_path / "home", tmp_path / "environment"
    home.mkdir()
    copy_environment(make_once("environment", make_bare_environment), folder)
    links = f"{wheels} {os.environ.get('PIP_FIND_LINKS', '')}".strip()
    found = clean_environment(HOME=str(home), PATH=f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}")
    found = {name: value for name, value in found.items() if not name.startswith(("VIRTUAL_ENV", "XDG_"))}
    with tempfile.TemporaryDirectory() as temporary:  # of a short path: sockets are made there
        yield {
            **found,
            "PIP_FIND_LINKS": links,
            "UV_FIND_LINKS": str(wheels),
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "TMPDIR": temporary,
        }
