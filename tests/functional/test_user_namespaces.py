"""Trust in user namespaces in which most users are not mapped, as in sandboxes and rootless containers."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Python

    from .conftest import PrivateMounts

pytestmark = [pytest.mark.full, pytest.mark.alone]

USER = 54321
STRANGER = 4242

PROGRAM = """
import json, os, sys
import pycachehook
hook = pycachehook.install(sys.argv[1], in_tree="ignore")
sys.path.insert(0, sys.argv[2])
import module
print(json.dumps({"uid": os.geteuid(), "root": os.stat("/").st_uid, "status": hook.status, "reason": hook.reason,
                  "value": module.VALUE, "stored": hook.stats.stored, "hits": hook.stats.hits}))
"""
UNMAPPED = ("unshare", "--user")
AS_NOBODY = ("unshare", "--user", "--map-user=65534")
AS_ONESELF = ("unshare", "--user", f"--map-user={USER}", f"--map-group={USER}")
AS_ROOT = ("unshare", "--user", "--map-root-user")


@pytest.fixture
def run(environment: Python, private_mounts: PrivateMounts, public: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that imports a module in a namespace, as USER, and returns the result."""
    if subprocess.run(["setpriv", f"--reuid={USER}", *UNMAPPED, "true"], check=False).returncode != 0:
        pytest.skip("users cannot make user namespaces here")
    sources = public / "sources"
    sources.mkdir()
    (sources / "module.py").write_text("VALUE = 'source'\n", encoding="utf-8")

    def run(cache: Path, wrapper: tuple[str, ...], user: int = USER) -> dict[str, Any]:
        process = private_mounts(environment, "-c", PROGRAM, cache, sources, user=user, wrapper=wrapper)
        found: dict[str, Any] = json.loads(process.stdout)
        return found

    return run


def owned(path: Path, owner: int, mode: int = 0o755) -> Path:
    """Make a directory that belongs to `owner`, and return it."""
    path.mkdir()
    os.chown(path, owner, owner)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("owner", [USER, STRANGER, 0], ids=["own", "a stranger's", "root's"])
@pytest.mark.parametrize("wrapper", [UNMAPPED, AS_NOBODY], ids=["unmapped", "as nobody"])
def test_overflow_uid_is_nobody(wrapper: tuple[str, ...], owner: int, run: Any, public: Path) -> None:
    """If this process has the id that stands for unmapped ids, no directory counts as its own."""
    found = run(owned(public / "cache", owner), wrapper)
    assert (found["uid"], found["status"], found["value"], found["stored"]) == (65534, "disabled", "source", 0)
    assert "stands for every user who is not mapped into this user namespace" in found["reason"]
    assert "fix it with" not in found["reason"]


@pytest.mark.parametrize("wrapper", [AS_ONESELF, AS_ROOT], ids=["as oneself", "as root"])
def test_own_cache_below_unmapped_directories(wrapper: tuple[str, ...], run: Any, public: Path) -> None:
    """A user's own cache works below directories of an unmapped root, sticky ones included."""
    for above in (public, owned(public / "sticky", 0, 0o1777)):
        cache = owned(above / "cache", USER)
        first, second = run(cache, wrapper), run(cache, wrapper)
        assert (first["root"], first["status"], first["reason"]) == (65534, "writable", None)
        assert (first["stored"] > 0, second["stored"], second["hits"] > first["hits"]) == (True, 0, True)


@pytest.mark.parametrize("wrapper", [AS_ONESELF, AS_ROOT], ids=["as oneself", "as root"])
@pytest.mark.parametrize("owner", [STRANGER, 0], ids=["a stranger's", "root's"])
def test_unmapped_cache(owner: int, wrapper: tuple[str, ...], run: Any, public: Path) -> None:
    """A cache directory of an unmapped user is refused, even of root, because the owner is unknown."""
    found = run(owned(public / "cache", owner), wrapper)
    assert (found["status"], found["value"], found["stored"]) == ("disabled", "source", 0)
    assert "is owned by uid 65534" in found["reason"]
    assert "chown" not in found["reason"]


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o757], ids=oct)
def test_below_an_unmapped_directory_that_others_may_write(mode: int, run: Any, public: Path) -> None:
    """A cache below an unmapped directory that group or others can write to is refused."""
    cache = owned(owned(public / "above", 0, mode) / "cache", USER)
    found = run(cache, AS_ONESELF)
    assert (found["status"], found["stored"]) == ("disabled", 0)


@pytest.mark.parametrize("linked", ["cache", "above"])
def test_unmapped_link(linked: str, run: Any, public: Path) -> None:
    """A link of an unmapped user is refused, at the cache directory and above it."""
    owned(owned(public / "place", USER) / "cache", USER)
    link = public / linked
    link.symlink_to(public / "place" / "cache" if linked == "cache" else public / "place")
    os.chown(link, STRANGER, STRANGER, follow_symlinks=False)
    found = run(link if linked == "cache" else link / "cache", AS_ONESELF)
    assert (found["status"], found["stored"]) == ("disabled", 0)
    assert "is a link owned by uid 65534" in found["reason"]


def test_unmapped_entry(run: Any, public: Path) -> None:
    """An entry of an unmapped user does not run, and is replaced."""
    cache = owned(public / "cache", USER)
    run(cache, AS_ONESELF)
    (entry,) = cache.rglob("module.*.pyc")
    os.chown(entry, STRANGER, STRANGER)
    assert run(cache, AS_ONESELF)["stored"] == 1
    assert entry.stat().st_uid == USER


def test_group_in_a_namespace(run: Any, public: Path) -> None:
    """A group id equal to the user id is no private group in a namespace, where a user chooses the mapping."""
    assert run(owned(public / "outside", USER, 0o775), ())["status"] == "writable"
    found = run(owned(public / "cache", USER, 0o775), AS_ONESELF)
    assert (found["status"], "is writable by group" in found["reason"]) == ("disabled", True)


def test_nobody_where_all_ids_are_mapped(run: Any, public: Path) -> None:
    """Outside such namespaces the same id is an ordinary user."""
    assert run(owned(public / "cache", 65534), (), user=65534)["status"] == "writable"
