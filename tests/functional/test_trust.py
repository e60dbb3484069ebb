"""No other user's bytecode runs: every rule of trust, with real owners, modes and users."""

from __future__ import annotations

import importlib.util
import json
import marshal
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypedDict

import pytest

from .conftest import NOBODY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from conftest import Python

    from .conftest import PrivateMounts

pytestmark = pytest.mark.full

ROOT = 0
STRANGER = 4242  # a user who is neither root nor the one who runs the program
GROUP = 4343  # a group of several users

# Installs the hook, imports modules, and prints the results. The modules that the first write needs are loaded before.
PROGRAM = """
import json, os, sys
from filelock import lock_descriptor, unlock_descriptor
import pycachehook, pycachehook.on_miss.compiling

sys.path.insert(0, sys.argv[1])
cache, options, names = json.loads(sys.argv[2])
os.umask(options.pop("umask", 0o022))
hook = pycachehook.install(cache, **options)
values = []
for name in names:
    try:
        values.append(__import__(name).VALUE)
    except OSError as error:
        values.append(type(error).__name__)
state = {"user": os.getuid(), "status": hook.status, "reason": hook.reason, "values": values}
print(json.dumps({**state, **hook.stats.as_dict()}))
"""


class Report(TypedDict):
    """The output of the program."""

    user: int
    status: str
    reason: str | None
    values: list[str]
    hits: int
    hits_by_place: dict[str, int]
    compiled: int
    stored: int
    misses: dict[str, int]
    errors: int


class World:
    """A directory in which the owner and mode of every path is known.

    It contains a source `module.py` that everybody can read.
    """

    def __init__(self, area: Path, environment: Python, private_mounts: PrivateMounts) -> None:
        self.area = area
        self.sources = area / "sources"
        self._environment = environment
        self._private_mounts = private_mounts
        self.sources.mkdir()
        self.source("module")

    def source(self, name: str, *, mode: int = 0o644, owner: int = ROOT, group: int = ROOT) -> None:
        """Write a module whose `VALUE` is "source"."""
        path = self.sources / f"{name}.py"
        path.write_text("VALUE = 'source'\n", encoding="utf-8")
        os.chown(path, owner, group)
        path.chmod(mode)

    def entry(self, cache: Path, name: str = "module") -> Path:
        """Return the path of a module's entry."""
        return cache / str(self.sources)[1:] / f"{name}.{sys.implementation.cache_tag}.pyc"

    def plant(self, cache: Path, owner: int, *, group: int | None = None, mode: int = 0o644) -> Path:
        """Plant a valid entry that sets `VALUE` to "entry", unlike its source."""
        source, path = self.sources / "module.py", self.entry(cache)
        for folder in reversed(path.parents):
            if not folder.exists():
                folder.mkdir()
                os.chown(folder, owner, owner)
                folder.chmod(0o755)
        code = compile("VALUE = 'entry'", str(source), "exec")
        stamp = (3).to_bytes(4, "little") + importlib.util.source_hash(source.read_bytes())
        path.write_bytes(importlib.util.MAGIC_NUMBER + stamp + marshal.dumps(code))
        os.chown(path, owner, owner if group is None else group)
        path.chmod(mode)
        return path

    def python(self, user: int, *arguments: str | Path, home: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python as `user`, by default without a home directory."""
        return self._private_mounts(
            self._environment, *arguments, reach=[self.area], user=user, HOME=str(home or "/nowhere")
        )

    def run(self, user: int, cache: Path | None, *names: str, home: Path | None = None, **options: object) -> Report:
        """Run the program as `user`; without names it imports `module`."""
        settings = json.dumps([None if cache is None else str(cache), options, names or ["module"]])
        process = self.python(user, "-c", PROGRAM, self.sources, settings, home=home)
        assert process.stderr == ""
        report: Report = json.loads(process.stdout)
        assert report["user"] == user
        return report

    def everything(self) -> list[tuple[object, ...]]:
        """Return all paths below the directory, with owners, modes, sizes and times of the last change."""
        return [
            (path, status.st_ino, status.st_uid, status.st_gid, status.st_mode, status.st_size, status.st_ctime_ns)
            for path in sorted([self.area, *self.area.rglob("*")])
            for status in [path.lstat()]
        ]


@pytest.fixture
def world(tmp_path: Path, environment: Python, private_mounts: PrivateMounts) -> World:
    """Return a directory in which the owner and mode of every path is known."""
    area = tmp_path / "area"
    area.mkdir()
    area.chmod(0o755)
    return World(area, environment, private_mounts)


class Node(NamedTuple):
    """A directory, or a link if `to` is set."""

    path: str
    owner: int
    mode: int = 0o755
    group: int | None = None  # the owner's private one
    to: str | None = None


class Case(NamedTuple):
    """A directory tree, the user of its `cache`, and the expected result.

    The reason of a refusal names `blamed`, if any, for `fault`.
    """

    user: int
    nodes: tuple[Node, ...]
    cache: str = "cache"
    status: str = "writable"
    blamed: str = ""
    fault: str = ""

    def build(self, world: World) -> Path:
        """Make the tree, with an entry of the user in the cache if it exists; return the cache directory."""
        for node in self.nodes:
            path = world.area / node.path
            if node.to is None:
                path.mkdir()
            else:
                path.symlink_to(node.to)
            os.chown(path, node.owner, node.owner if node.group is None else node.group, follow_symlinks=False)
            if node.to is None:
                path.chmod(node.mode)
        cache = world.area / self.cache
        if cache.is_dir():
            world.plant(cache, self.user)
        return cache


def refused(user: int, *nodes: Node, cache: str = "cache", blamed: str = "cache", fault: str) -> Case:
    """Return a case in which the cache is refused."""
    return Case(user, nodes, cache, "disabled", blamed, fault)


PLACE = Node("place", NOBODY)
ACCEPTED = {
    "own": Case(NOBODY, (Node("cache", NOBODY),)),
    "own, for nobody else's eyes": Case(NOBODY, (Node("cache", NOBODY, 0o700),)),
    "own, for a group's eyes": Case(NOBODY, (Node("cache", NOBODY, 0o750, GROUP),)),
    "own, writable by the private group": Case(NOBODY, (Node("cache", NOBODY, 0o775),)),
    "root's": Case(NOBODY, (Node("cache", ROOT),), status="read-only"),
    "root's, for root": Case(ROOT, (Node("cache", ROOT),)),
    "below a writable directory of the private group": Case(
        NOBODY, (Node("above", NOBODY, 0o775), Node("above/cache", NOBODY)), "above/cache"
    ),
    "below root's sticky directory": Case(
        NOBODY, (Node("above", ROOT, 0o1777), Node("above/cache", NOBODY)), "above/cache"
    ),
    "below root's sticky directory, for root": Case(
        ROOT, (Node("above", ROOT, 0o1777), Node("above/cache", ROOT)), "above/cache"
    ),
    "below root's sticky directory for a group": Case(
        NOBODY, (Node("above", ROOT, 0o1775, GROUP), Node("above/cache", NOBODY)), "above/cache"
    ),
    "below an own sticky directory": Case(
        NOBODY, (Node("above", NOBODY, 0o1777), Node("above/cache", NOBODY)), "above/cache"
    ),
    "own link": Case(NOBODY, (PLACE, Node("cache", NOBODY, to="place"))),
    "root's link": Case(NOBODY, (PLACE, Node("cache", ROOT, to="place"))),
    "own link up and down": Case(
        NOBODY, (PLACE, Node("a", NOBODY), Node("a/link", NOBODY, to="../place/../place")), "a/link"
    ),
    "own link in a sticky directory": Case(
        NOBODY, (PLACE, Node("above", ROOT, 0o1777), Node("above/link", NOBODY, to="../place")), "above/link"
    ),
    "below an own link to an own link": Case(
        NOBODY,
        (PLACE, Node("place/cache", NOBODY), Node("one", NOBODY, to="two"), Node("two", NOBODY, to="place")),
        "one/cache",
    ),
}
MISSING = {
    "in root's sticky directory": Case(NOBODY, (Node("above", ROOT, 0o1777),), "above/cache"),
    "two levels below an own directory": Case(NOBODY, (PLACE,), "place/a/b"),
    "below an own link": Case(NOBODY, (PLACE, Node("link", NOBODY, to="place")), "link/cache"),
    "root's": Case(ROOT, (), "a/b"),
}
THEIRS = f"is owned by uid {STRANGER}"
OPEN = "is writable by everybody"
SHARED = f"is writable by group {GROUP}"
ROOTS_GROUP = "is writable by group 0"
LINK = f"is a link owned by uid {STRANGER}"
REFUSED = {
    "a stranger's": refused(NOBODY, Node("cache", STRANGER), fault=THEIRS),
    "a user's, for root": refused(ROOT, Node("cache", NOBODY), fault=f"is owned by uid {NOBODY}"),
    "own, writable by everybody": refused(NOBODY, Node("cache", NOBODY, 0o777), fault=OPEN),
    "own, writable by others but the group": refused(NOBODY, Node("cache", NOBODY, 0o707), fault=OPEN),
    "own, writable by others without entering": refused(NOBODY, Node("cache", NOBODY, 0o702), fault=OPEN),
    "own, writable by a group": refused(NOBODY, Node("cache", NOBODY, 0o775, GROUP), fault=SHARED),
    "own, sticky": refused(NOBODY, Node("cache", NOBODY, 0o1777), fault=OPEN),
    "root's, writable by everybody": refused(NOBODY, Node("cache", ROOT, 0o777), fault=OPEN),
    "root's, writable by a group": refused(NOBODY, Node("cache", ROOT, 0o775, GROUP), fault=SHARED),
    "root's, writable by root's group": refused(NOBODY, Node("cache", ROOT, 0o775), fault=ROOTS_GROUP),
    "root's, writable by root's group, for root": refused(ROOT, Node("cache", ROOT, 0o775), fault=ROOTS_GROUP),
    "below root's, writable by root's group": refused(
        NOBODY,
        Node("above", ROOT, 0o775),
        Node("above/cache", NOBODY),
        cache="above/cache",
        blamed="above",
        fault=ROOTS_GROUP,
    ),
    "root's, sticky": refused(NOBODY, Node("cache", ROOT, 0o1777), fault=OPEN),
    "root's, writable by everybody, for root": refused(ROOT, Node("cache", ROOT, 0o777), fault=OPEN),
    "below a stranger's": refused(
        NOBODY, Node("above", STRANGER), Node("above/cache", NOBODY), cache="above/cache", blamed="above", fault=THEIRS
    ),
    "below a stranger's sticky one": refused(
        NOBODY,
        Node("above", STRANGER, 0o1777),
        Node("above/cache", NOBODY),
        cache="above/cache",
        blamed="above",
        fault=THEIRS,
    ),
    "below a user's, for root": refused(
        ROOT,
        Node("above", NOBODY),
        Node("above/cache", ROOT),
        cache="above/cache",
        blamed="above",
        fault=f"is owned by uid {NOBODY}",
    ),
    "two levels below one writable by everybody": refused(
        NOBODY,
        Node("above", NOBODY, 0o777),
        Node("above/a", NOBODY),
        Node("above/a/cache", NOBODY),
        cache="above/a/cache",
        blamed="above",
        fault=OPEN,
    ),
    "below one writable by a group": refused(
        NOBODY,
        Node("above", ROOT, 0o775, GROUP),
        Node("above/cache", NOBODY),
        cache="above/cache",
        blamed="above",
        fault=SHARED,
    ),
    "missing, below one writable by everybody": refused(
        NOBODY, Node("above", NOBODY, 0o777), cache="above/cache", blamed="above", fault=OPEN
    ),
    "a stranger's link": refused(NOBODY, PLACE, Node("cache", STRANGER, to="place"), fault=LINK),
    "below a stranger's link": refused(
        NOBODY,
        PLACE,
        Node("place/cache", NOBODY),
        Node("link", STRANGER, to="place"),
        cache="link/cache",
        blamed="link",
        fault=LINK,
    ),
    "a user's link, for root": refused(
        ROOT, Node("place", ROOT), Node("cache", NOBODY, to="place"), fault=f"is a link owned by uid {NOBODY}"
    ),
    "own link to a stranger's link": refused(
        NOBODY,
        PLACE,
        Node("link", STRANGER, to="place"),
        Node("cache", NOBODY, to="link"),
        blamed="link",
        fault=LINK,
    ),
    "own link to a stranger's": refused(
        NOBODY, Node("theirs", STRANGER), Node("cache", NOBODY, to="theirs"), blamed="theirs", fault=THEIRS
    ),
    "own link to below a stranger's": refused(
        NOBODY,
        Node("theirs", STRANGER),
        Node("theirs/place", NOBODY),
        Node("cache", NOBODY, to="theirs/place"),
        blamed="theirs",
        fault=THEIRS,
    ),
    "own link to one writable by everybody": refused(
        NOBODY, Node("open", NOBODY, 0o777), Node("cache", NOBODY, to="open"), blamed="open", fault=OPEN
    ),
    "a name that a shell would split": refused(
        NOBODY,
        Node("it's a $(place); yes", NOBODY, 0o777),
        cache="it's a $(place); yes",
        blamed="it's a $(place); yes",
        fault=OPEN,
    ),
}


def cases(of: dict[str, Case]) -> pytest.MarkDecorator:
    """Return the parametrization by these cases."""
    return pytest.mark.parametrize("case", of.values(), ids=of)


@cases(ACCEPTED)
@pytest.mark.alone
def test_accepted_directory(case: Case, world: World) -> None:
    """A directory that only this user or root can write to is used; it is writable if this user owns it."""
    report = world.run(case.user, case.build(world))
    assert (report["status"], report["values"], report["hits"]) == (case.status, ["entry"], 1)
    assert (report["misses"], report["errors"]) == ({}, 0)
    assert (report["reason"] is None) == (case.status == "writable")


@cases(MISSING)
def test_missing_directory_is_made(case: Case, world: World) -> None:
    """A directory missing below a trusted one is created for the user, and trusted at the next start."""
    cache = case.build(world)
    for stored in (1, 0):
        report = world.run(case.user, cache)
        assert (report["status"], report["values"], report["stored"]) == ("writable", ["source"], stored)
    assert {path.stat().st_uid for path in [cache, *cache.rglob("*")]} == {case.user}


@cases(REFUSED)
def test_refused_directory(case: Case, world: World) -> None:
    """A directory into which other users could put bytecode is neither read nor written; the reason says why.

    The commands that the reasons name, run in turn, make the directory accepted.
    """
    cache = case.build(world)
    planted = cache.exists()
    before = world.everything()
    report = world.run(case.user, cache)
    assert (report["status"], report["values"], report["compiled"]) == ("disabled", ["source"], 1)
    assert (report["hits"], report["stored"]) == (0, 0)
    assert world.everything() == before
    blamed = world.area / case.blamed
    status = blamed.lstat()
    mode = f"{stat.S_IMODE(status.st_mode):04o}"
    reason = report["reason"] or ""
    assert reason.startswith(f"{blamed} {case.fault} (owner {status.st_uid}, group {status.st_gid}, mode {mode})")
    assert "cache_dir" in reason
    assert "allow_shared" in reason
    commands: list[str] = []
    while report["status"] == "disabled" and len(commands) < 3:
        (command,) = re.findall(r"fix it with `(.*?)`", report["reason"] or "")
        assert command not in commands
        commands.append(command)
        subprocess.run(["sh", "-c", command], cwd=world.area, check=True, timeout=60)
        report = world.run(case.user, cache)
    assert report["status"] != "disabled"
    assert report["values"] == ["entry" if planted else "source"]


@cases(REFUSED)
def test_allow_shared(case: Case, world: World) -> None:
    """With allow_shared such a directory is accepted, and a missing one is created."""
    cache = case.build(world)
    there = cache.exists()
    report = world.run(case.user, cache, allow_shared=True)
    assert report["status"] != "disabled"
    assert report["values"] == ["entry" if there else "source"]
    assert (report["hits"], report["stored"], report["errors"]) == (there, not there, 0)


class Entry(NamedTuple):
    """An entry in the directory of `folder`, and whether `user` runs it."""

    user: int
    folder: int
    owner: int
    mode: int
    group: int | None
    trusted: bool


ENTRIES = {
    "own": Entry(NOBODY, NOBODY, NOBODY, 0o644, None, trusted=True),
    "own, private": Entry(NOBODY, NOBODY, NOBODY, 0o600, None, trusted=True),
    "own, writable by the private group": Entry(NOBODY, NOBODY, NOBODY, 0o664, None, trusted=True),
    "root's": Entry(NOBODY, NOBODY, ROOT, 0o644, None, trusted=True),
    "root's in root's": Entry(NOBODY, ROOT, ROOT, 0o644, None, trusted=True),
    "root's, for root": Entry(ROOT, ROOT, ROOT, 0o644, None, trusted=True),
    "own, writable by everybody": Entry(NOBODY, NOBODY, NOBODY, 0o666, None, trusted=False),
    "own, writable by others but the group": Entry(NOBODY, NOBODY, NOBODY, 0o646, None, trusted=False),
    "own, writable by a group": Entry(NOBODY, NOBODY, NOBODY, 0o664, GROUP, trusted=False),
    "root's, writable by everybody": Entry(NOBODY, NOBODY, ROOT, 0o666, None, trusted=False),
    "a stranger's": Entry(NOBODY, NOBODY, STRANGER, 0o644, None, trusted=False),
    "a stranger's in root's": Entry(NOBODY, ROOT, STRANGER, 0o644, None, trusted=False),
    "own in root's, writable by everybody": Entry(NOBODY, ROOT, NOBODY, 0o666, None, trusted=False),
    "a user's, for root": Entry(ROOT, ROOT, NOBODY, 0o644, None, trusted=False),
    "root's, writable by everybody, for root": Entry(ROOT, ROOT, ROOT, 0o666, None, trusted=False),
    "root's, writable by root's group": Entry(NOBODY, NOBODY, ROOT, 0o664, None, trusted=False),
    "root's, writable by root's group, for root": Entry(ROOT, ROOT, ROOT, 0o664, None, trusted=False),
}


def plant(entry: Entry, world: World) -> tuple[Path, Path]:
    """Return a trusted cache directory, and the entry in it."""
    cache = world.area / "cache"
    cache.mkdir()
    os.chown(cache, entry.folder, entry.folder)
    world.plant(cache, entry.folder)
    return cache, world.plant(cache, entry.owner, group=entry.group, mode=entry.mode)


SOME = ("own", "root's in root's", "root's, for root", "a stranger's", "a stranger's in root's", "a user's, for root")


@pytest.mark.parametrize(
    ("name", "mode"), [*((name, "checked-hash") for name in ENTRIES), *((name, "unchecked-hash") for name in SOME)]
)
def test_entry_in_a_trusted_directory(name: str, mode: str, world: World) -> None:
    """An entry that other users could have written is `untrusted`, does not run, and is replaced if possible."""
    entry = ENTRIES[name]
    cache, path = plant(entry, world)
    writable = entry.user == entry.folder
    first, second = (world.run(entry.user, cache, invalidation_mode=mode) for _ in range(2))
    assert first["status"] == second["status"] == ("writable" if writable else "read-only")
    if entry.trusted:
        assert [first["values"], first["misses"], first["stored"]] == [["entry"], {}, 0]
        assert second["values"] == ["entry"]
        return
    assert (first["values"], first["misses"], first["stored"]) == (["source"], {"untrusted": 1}, int(writable))
    assert (second["values"], second["misses"]) == (["source"], {} if writable else {"untrusted": 1})
    status = path.stat()
    if writable:
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (entry.user, 0o644)
    else:
        assert (status.st_uid, stat.S_IMODE(status.st_mode)) == (entry.owner, entry.mode)


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if not entry.trusted])
def test_entry_under_allow_shared(name: str, world: World) -> None:
    """With allow_shared an entry that other users could have written runs."""
    cache, _ = plant(ENTRIES[name], world)
    report = world.run(ENTRIES[name].user, cache, allow_shared=True)
    assert (report["values"], report["hits"], report["misses"]) == (["entry"], 1, {})


@pytest.mark.parametrize("layout", ["mirror", "shared"])
def test_source_that_a_group_may_read(layout: str, world: World) -> None:
    """An entry of a group-readable source is readable for that group if possible, otherwise for its owner."""
    for user, name in ((NOBODY, "theirs"), (ROOT, "ours")):
        world.source(name, mode=0o640, owner=user, group=GROUP)
        cache = world.area / f"cache-{name}"
        cache.mkdir()
        os.chown(cache, user, user)
        assert world.run(user, cache, name, layout=layout, in_tree="ignore")["status"] == "writable"
        entries = [path for path in cache.rglob("*.pyc") if f"/{name}.py".encode() in path.read_bytes()]
        assert len(entries) == 1
        status = entries[0].stat()
        expected = (0o640, GROUP) if user == ROOT else (0o600, NOBODY)
        assert (stat.S_IMODE(status.st_mode), status.st_gid) == expected


def modes(paths: Iterable[Path]) -> set[int]:
    """Return the permission bits of these paths."""
    return {stat.S_IMODE(path.stat().st_mode) for path in paths}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o027, 0o077], ids=oct)
@pytest.mark.parametrize("default", [False, True], ids=["given", "default"])
def test_modes_of_what_is_made(default: bool, umask: int, world: World) -> None:
    """Directories have mode 0755, the default cache 0700, files that of the source, locks 0600, less the umask."""
    home = world.area / "home"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    cache = home / ".cache" / "pycachehook" if default else home / "a" / "b"
    report = world.run(NOBODY, None if default else cache, umask=umask, home=home)
    assert (report["status"], report["stored"]) == ("writable", 1)
    inside = list(cache.rglob("*"))
    assert modes([cache, cache.parent]) == {(0o700 if default else 0o755) & ~umask}
    assert modes(path for path in inside if path.is_dir()) == {0o755 & ~umask}
    locks = [path for path in inside if path.parent.name == "locks"]
    assert modes(locks) <= {0o600 & ~umask}
    assert modes(path for path in inside if path.is_file() and path not in locks) == {0o644 & ~umask}
    assert world.entry(cache) in inside


READABLE = [f"readable_{number}" for number in range(5)]


def build_image(world: World, umask: int = 0o022) -> Path:
    """Fill a cache owned by root with the entries of all sources."""
    image = world.area / "image"
    names = sorted(path.stem for path in world.sources.glob("*.py"))
    report = world.run(ROOT, image, *names, umask=umask)
    assert report["stored"] == len(names)
    return image


@pytest.mark.parametrize("user", [NOBODY, STRANGER])
def test_image_built_by_root(user: int, world: World) -> None:
    """A cache that root filled serves an unprivileged user: nothing is compiled or changed."""
    for name in READABLE:
        world.source(name)
    image = build_image(world)
    before = world.everything()
    report = world.run(user, image, *READABLE)
    assert (report["status"], report["values"]) == ("read-only", ["source"] * len(READABLE))
    assert (report["hits_by_place"]["store"], report["compiled"], report["errors"]) == (len(READABLE), 0, 0)
    assert str(image) in (report["reason"] or "")
    assert world.everything() == before


def test_image_that_only_root_may_read(world: World) -> None:
    """Other users cannot read a cache that root filled under umask 077; they compile without an error."""
    report = world.run(NOBODY, build_image(world, 0o077))
    assert (report["status"], report["values"], report["compiled"], report["errors"]) == ("read-only", ["source"], 1, 0)


@pytest.mark.parametrize(("mode", "group"), [(0o600, ROOT), (0o640, GROUP), (0o400, ROOT), (0o660, GROUP)])
def test_private_source(mode: int, group: int, world: World) -> None:
    """A user who cannot read a source can neither import it nor read its bytecode."""
    world.source("private", mode=mode, group=group)
    image = build_image(world)
    entry = world.entry(image, "private")
    report = world.run(NOBODY, image, "module", "private")
    assert (report["values"], report["hits"], report["compiled"]) == (["source", "PermissionError"], 1, 0)
    program = "import sys\ntry: open(sys.argv[1])\nexcept OSError as error: print(type(error).__name__)"
    assert world.python(NOBODY, "-c", program, entry).stdout == "PermissionError\n"
    assert stat.S_IMODE(entry.stat().st_mode) == (mode | 0o200) & 0o644


def test_source_that_only_its_owner_may_read(world: World) -> None:
    """The owner of a private source compiles it if only root can read root's entry."""
    world.source("private", mode=0o600, owner=NOBODY, group=NOBODY)
    report = world.run(NOBODY, build_image(world), "private")
    assert (report["values"], report["misses"], report["errors"]) == (["source"], {"io-error": 1}, 0)


UNUSABLE = {
    "a stranger's": REFUSED["a stranger's"],
    "below one writable by everybody": REFUSED["two levels below one writable by everybody"],
    "missing in root's": Case(NOBODY, (), "cache"),
    "a link to nowhere": Case(NOBODY, (Node("cache", NOBODY, to="nowhere"),)),
    "a link to itself": Case(NOBODY, (Node("cache", NOBODY, to="cache"),)),
    "a file": Case(NOBODY, (), "sources/module.py"),
    "below a file": Case(NOBODY, (), "sources/module.py/cache"),
}

# Imports one module that has an in-tree pyc, and one that has none.
DISABLED_PROGRAM = """
import json, sys
import pycachehook

sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = own = json.loads(sys.argv[4])
hook = pycachehook.install(sys.argv[2], in_tree="all")
seen = [[hook.status, sys.dont_write_bytecode, sys.pycache_prefix]]
import module, plain
stats = hook.stats.as_dict()
if sys.argv[3]:
    hook = pycachehook.install(sys.argv[3], in_tree="all")
else:
    hook.uninstall()
seen.append([hook.status, sys.dont_write_bytecode, sys.pycache_prefix])
print(json.dumps([[module.VALUE, plain.VALUE], stats, seen]))
"""


@pytest.mark.parametrize("own", [False, True], ids=["writing", "-B"])
@pytest.mark.parametrize("then", ["uninstalled", "another directory"])
@cases(UNUSABLE)
def test_disabled(case: Case, then: str, own: bool, world: World) -> None:
    """A disabled hook writes nothing, reads in-tree pycs, and suppresses Python's writes until it is uninstalled."""
    world.source("plain")
    world.python(ROOT, "-m", "compileall", "-q", world.sources / "module.py")
    for path in [world.sources, *world.sources.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)  # the user who could write to it
    cache = case.build(world)
    other = world.area / "other"
    other.mkdir()
    os.chown(other, NOBODY, NOBODY)
    before = world.everything()
    good = str(other) if then == "another directory" else ""
    process = world.python(NOBODY, "-c", DISABLED_PROGRAM, world.sources, cache, good, json.dumps(own))
    assert process.stderr == ""
    values, stats, seen = json.loads(process.stdout)
    assert values == ["source"] * 2
    assert stats["hits_by_place"] == {"archive": 0, "store": 0, "in_tree": stats["hits"]}
    assert (stats["hits"], stats["compiled"], stats["stored"], stats["errors"]) == (1, 1, 0, 0)
    assert world.everything() == before
    status = "disabled" if not good else "read-only" if own else "writable"
    assert seen == [["disabled", True, None], [status, own, good or None]]
