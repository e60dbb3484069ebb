"""Test decisions about owners and modes; `tests/functional/test_trust.py` has those with real disks and users."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pycachehook import trust

FILE, FOLDER = stat.S_IFREG, stat.S_IFDIR


def status(mode: int, uid: int = 0, gid: int = 0) -> os.stat_result:
    """Return the status of a file with this mode and owner."""
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


@pytest.mark.parametrize("mode", [FILE | 0o644, FILE | 0o600, FOLDER | 0o755, FOLDER | 0o700, FILE | 0o444])
@pytest.mark.parametrize("uid", [0, 1234])
def test_files_of_trusted_owners(mode: int, uid: int) -> None:
    """A file of a trusted owner that nobody else can write to has no fault."""
    assert trust.fault_of(status(mode, uid), (0, 1234)) is None


@pytest.mark.parametrize("mode", [FILE | 0o666, FILE | 0o646, FILE | 0o622, FOLDER | 0o777, FOLDER | 0o1777])
def test_files_that_others_may_write_to(mode: int) -> None:
    """The sticky bit is no excuse, because it protects a directory's contents, not the directory itself."""
    assert trust.fault_of(status(mode), (0,)) is not None


def test_files_of_others() -> None:
    """Another user's file is at fault, whatever its mode; without a list of owners no file is."""
    fault = trust.fault_of(status(FILE | 0o600, 4321), (0, 1234))
    assert fault is not None
    assert "4321" in fault
    assert trust.fault_of(status(FILE | 0o666, 4321), ()) is None


def test_trusted_owners_are_root_and_this_user() -> None:
    """Without unmapped ids, root and this user are trusted."""
    if trust.unmapped() is not None:
        pytest.skip("some ids are not mapped here")
    assert {os.geteuid()} <= {*trust.trusted_owners()} <= {0, os.geteuid()}


def test_examine_a_chain_of_links(tmp_path: Path) -> None:
    """A path through trusted links is examined at its end; a link that others can change is refused."""
    (tmp_path / "real").mkdir(mode=0o755)
    (tmp_path / "first").symlink_to("real")
    (tmp_path / "second").symlink_to(tmp_path / "first")
    owners = trust.trusted_owners()
    fault, found, _ = trust.examine(str(tmp_path / "second"), owners)
    assert (fault, found.st_ino) == (None, (tmp_path / "real").stat().st_ino)
    (tmp_path / "real").chmod(0o777)
    fault, _, _ = trust.examine(str(tmp_path / "second"), owners)
    assert fault is not None
    assert str(tmp_path / "real") in fault


def test_examine_a_loop_of_links(tmp_path: Path) -> None:
    """Links that form a loop are refused, and the examination ends."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    fault, _, _ = trust.examine(str(tmp_path / "a"), trust.trusted_owners())
    assert fault == f"{tmp_path / 'a'} is not trusted: too many links."
