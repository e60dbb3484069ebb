"""The memory of a pull is bounded, whatever the archive's size."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pycachehook.bundles import push as pushing
from pycachehook.bundles.compression import compress
from pycachehook.bundles.push import push

from .conftest import digest

if TYPE_CHECKING:
    from conftest import Python

    from .conftest import Keys

pytestmark = pytest.mark.full
if not Path("/proc/self/status").exists():
    pytest.skip("needs /proc", allow_module_level=True)

LIMIT = 100_000  # KiB
PULL = r"""
import re, sys
from pycachehook.cli.main import main
code = main(sys.argv[1:])
print(re.search(r"VmHWM:\s+(\d+) kB", open("/proc/self/status").read())[1])  # getrusage() counts the parent, too
sys.exit(code)
"""


@pytest.mark.parametrize("size", [48, pytest.param(2000, marks=pytest.mark.slow)])
def test_memory(size: int, tmp_path: Path, keys: Keys, python: Python, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that pulls an archive of `size` MB takes less than 100 MB, the mapped part of the file included."""
    from benchmarks.bundles import MB, make_archive

    archive = make_archive(tmp_path, size * MB)
    assert archive.stat().st_size > size * MB
    monkeypatch.setattr(pushing, "compress", functools.partial(compress, level=1))  # minutes less for 2 GB
    push(str(archive), str(tmp_path / "place"), str(keys.secret))
    dest = tmp_path / "sources" / "pulled.pyca"  # where the archive's roots are the same
    done = python("-c", PULL, "archive", "pull", tmp_path / "place", dest, "--key", keys.public, "--json")
    said, memory = done.stdout.splitlines()
    assert json.loads(said)["sha256"] == digest(dest)
    assert int(memory) < LIMIT
