"""Spread: one rank reads, one rank of each node gets the archive, and an error of one rank ends all."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import clean_environment

from .conftest import digest, left_beside, only

if TYPE_CHECKING:
    from conftest import Python

    from .conftest import Keys

pytestmark = pytest.mark.full
pytest.importorskip("mpi4py", reason="needs the extra `mpi`")

COMMAND = ["-m", "pycachehook", "archive", "spread"]


def spread(nodes: int, ranks: list[list[str | Path]]) -> subprocess.CompletedProcess[str]:
    """Run one process for each list of arguments, distributed over this many nodes."""
    scripts = sysconfig.get_path("scripts")
    mpiexec = shutil.which("mpiexec", path=f"{scripts}{os.pathsep}{os.environ['PATH']}")
    if mpiexec is None:
        pytest.skip("needs mpiexec: pip install mpich")
    command: list[str | Path] = [mpiexec]
    for number, arguments in enumerate(ranks):
        command += [*([":"] if number else []), "-n", "1", sys.executable, *COMMAND, *arguments]
    environment = clean_environment(MPIR_CVAR_NUM_CLIQUES=str(nodes))
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def test_eight_ranks_on_four_nodes(place: Path, archive: Path, tmp_path: Path, keys: Keys) -> None:
    """The first rank of each node writes, the others do not; one line reports it."""
    places = [tmp_path / f"out{rank}" / "env.pyca" for rank in range(8)]
    done = spread(4, [[place, dest, "--key", keys.public, "--json"] for dest in places])
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert (said["nodes"], said["sha256"]) == (4, digest(archive))
    written = [dest for dest in places if dest.exists()]
    assert len(written) == 4
    for dest in written:
        assert dest.read_bytes() == archive.read_bytes()
        assert not left_beside(dest)


@pytest.mark.parametrize("fault", ["source", "signature", "payload", "one node"])
def test_an_error_is_everybodys(place: Path, tmp_path: Path, keys: Keys, other_keys: Keys, fault: str) -> None:
    """All exit with 1, one says why and where, and no node has a new archive."""
    places = [tmp_path / f"out{rank}" / "env.pyca" for rank in range(3)]
    key = other_keys.public if fault == "signature" else keys.public
    source = tmp_path / "gone" if fault == "source" else place
    if fault == "payload":
        payload = only(place, "*.zst")
        payload.write_bytes(payload.read_bytes()[:-5] + b"wrong")
    if fault == "one node":
        places[2].parent.mkdir()
        places[2].parent.chmod(0o777)
    done = spread(3, [[source, dest, "--key", key] for dest in places])
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("pycachehook: error: ")]
    assert line.startswith("pycachehook: error: On node ")
    assert "Traceback" not in done.stderr
    assert not any(dest.exists() for dest in places)


def test_without_mpiexec(place: Path, archive: Path, dest: Path, keys: Keys, python: Python) -> None:
    """One process is one rank on one node; the second run changes nothing."""
    for _ in range(2):
        done = python(*COMMAND, place, dest, "--key", keys.public)
        assert done.stdout.startswith("1 node: ")
    assert dest.read_bytes() == archive.read_bytes()
