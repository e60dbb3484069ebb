"""Editable installs of four build backends: the project's own sources are imported, with all edits."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Workbench

pytestmark = [pytest.mark.full, pytest.mark.slow]

PROJECT = '[project]\nname = "edited"\nversion = "1"\n'


def built_by(requirement: str, backend: str, more: str = "") -> str:
    """Return a `pyproject.toml`."""
    return f'{PROJECT}\n[build-system]\nrequires = ["{requirement}"]\nbuild-backend = "{backend}"\n\n{more}'


BACKENDS = {
    "setuptools-pth": {"pyproject.toml": built_by("setuptools", "setuptools.build_meta")},
    "setuptools-finder": {
        "pyproject.toml": built_by(
            "setuptools",
            "setuptools.build_meta",
            '[tool.setuptools]\npackages = ["edited"]\npackage-dir = { edited = "src/edited" }\n',
        )
    },
    "hatchling-pth": {"pyproject.toml": built_by("hatchling", "hatchling.build")},
    "hatchling-finder": {
        "pyproject.toml": built_by("hatchling", "hatchling.build", "[tool.hatch.build]\ndev-mode-exact = true\n")
    },
    "scikit-build-core": {
        "pyproject.toml": built_by(
            "scikit-build-core", "scikit_build_core.build", '[tool.scikit-build]\neditable.mode = "redirect"\n'
        ),
        "CMakeLists.txt": "cmake_minimum_required(VERSION 3.15)\nproject(edited LANGUAGES NONE)\n",
    },
    "meson-python": {
        "pyproject.toml": built_by("meson-python", "mesonpy"),
        "meson.build": """
            project('edited', version: '1')
            import('python').find_installation(pure: true).install_sources(
                'src/edited/__init__.py', 'src/edited/deep.py', subdir: 'edited')
        """,
    },
}
# Backends whose finders precede this package's and load modules themselves. meson-python's stores no bytecode at all.
LOADERS = {"scikit-build-core": "_ScikitBuildLoaderWrapper", "meson-python": "SourceFileLoader"}


@pytest.mark.parametrize("backend", BACKENDS)
def test_edits_run(backend: str, bench: Workbench) -> None:
    """The package is imported from its sources; an edit of the same length in the same second is detected."""
    bench.write(
        {
            **BACKENDS[backend],
            "src/edited/__init__.py": "from .deep import WORD\n",
            "src/edited/deep.py": "WORD = 'one'\n",
            "elsewhere/app.py": """
                INSTALL
                import plain, edited
                print(plain.WORD, edited.WORD, edited.__file__, type(edited.__loader__).__name__)
            """,
        }
    )
    arguments = ("-m", "pip", "install", "--quiet", "--no-build-isolation", "--no-deps", "--editable", ".")
    bench(*arguments, PYTHON_LAZY_IMPORTS="normal")  # pip does not start with lazy imports enabled everywhere
    bench.counted()
    loader = LOADERS.get(backend, "CachingLoader")
    for word in ("one", "two"):
        source = bench.tree / "src" / "edited" / "deep.py"
        for each in (source, bench.tree / "elsewhere" / "plain.py"):
            each.write_text(f"WORD = {word!r}\n", encoding="utf-8")
        if backend in LOADERS:  # the standard loader compares modification times in whole seconds
            os.utime(source, (ord(word[0]),) * 2)
        expected = f"{word} {word} {source.parent / '__init__.py'} {loader}\n"
        assert bench("elsewhere/app.py") == expected
        counted = bench.counted()
        assert counted["stored"] >= 1, counted
        assert bench("elsewhere/app.py") == expected
        counted = bench.counted()
        assert counted["compiled"] == 0, counted
        assert counted["from_store"] >= 1, counted
    assert bench.entries() - {"app"} == ({"plain"} if backend == "meson-python" else {"plain", "__init__", "deep"})
    bench.assert_clean()
