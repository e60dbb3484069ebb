"""Real faults of disks, limits and names: the right code runs, the fault is counted, and no temporary file remains."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

import pytest

from .conftest import NOBODY

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Python

    from .conftest import PrivateMounts

    Runner = Callable[..., subprocess.CompletedProcess[str]]

DISK = 512 * 1024  # bytes
MANY = [f"many_{number}" for number in range(40)]
BIG = "".join(f"TEXT_{number} = {str(number) * 500!r}\n" for number in range(80))
SOURCES = {
    **{f"{name}.py": f"VALUE = {name!r}\n" for name in ("first", "second", "third", *MANY)},
    "big.py": f"VALUE = 'big'\n{BIG}",
}

# Imports modules and records the result of each import. The modules that the first write needs are loaded before.
PRELUDE = """
import ctypes, faulthandler, importlib.util, json, os, resource, shutil, signal, socket, stat, subprocess, sys
from filelock import lock_descriptor, unlock_descriptor
import pycachehook, pycachehook.on_miss.compiling, pycachehook.own_modules

faulthandler.dump_traceback_later(30, exit=True)  # what hangs says where, and is no success
CACHE, ROOT, OUTSIDE = sys.argv[1:4]
hook = pycachehook.install(CACHE, **json.loads(sys.argv[4]))
steps, more = [], {}


def get(name):
    before = hook.stats.as_dict()
    sys.modules.pop(name, None)
    value = __import__(name).VALUE
    after = hook.stats.as_dict()
    misses = {each: count - before["misses"].get(each, 0) for each, count in after["misses"].items()}
    steps.append({
        "name": name, "value": value, "status": hook.status, "reason": hook.reason,
        "misses": [each for each, count in misses.items() for _ in range(count)],
        **{key: after[key] - before[key] for key in ("hits", "compiled", "stored", "errors")},
    })


def place(name):
    return importlib.util.cache_from_source(f"{ROOT}/{name}.py")


def make_locks():
    "Make every lock file, so that it is not the lock that fails."
    for number in range(pycachehook.on_miss.single_flight.LOCKS):
        open(f"{CACHE}/.pycachehook/locks/{number:02x}", "ab").close()


def fill(left):
    "Fill the disk up to its last `left` bytes."
    with open(f"{CACHE}/fill", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError:
            file.truncate(file.tell() - left)


def mount(*arguments):
    subprocess.run(["mount", *arguments], check=True)


def become_file(path):
    shutil.rmtree(path)
    open(path, "w").close()


def lead_out(path, to=OUTSIDE):
    shutil.rmtree(path, ignore_errors=True)
    os.symlink(to, path)


def take_descriptors(left):
    "Use up all file descriptors but `left`; return those taken."
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        for _ in range(left):
            os.close(taken.pop())
    return taken


def report():
    files = [f"{folder}/{name}" for top in (CACHE, OUTSIDE) for folder, _, names in os.walk(top) for name in names]
    temporary = [path for path in files if path.endswith(".tmp") or ".pycachehook-" in path]
    print(json.dumps({"steps": steps, "more": more, "temporary": temporary}))
"""


class Step(TypedDict):
    """The result of one import, with the counters of this import only."""

    name: str
    value: str
    status: str
    reason: str | None
    misses: list[str]
    hits: int
    compiled: int
    stored: int
    errors: int


class Child:
    """Runs a program that imports modules while faults occur; the arguments are those of `run`.

    For every fault it checks that each import gives the right value, without output and in time, and that no temporary
    file remains.
    """

    def __init__(self, run: Runner, cache: Path, root: Path, outside: Path) -> None:
        self.run = run
        self.cache = cache
        self.root = root
        self.outside = outside
        self.environment: dict[str, str] = {"PYTHONPATH": str(root)}
        self.more: Any = None  # the value of `more` in the program

    def __call__(
        self, *body: str, options: Mapping[str, object] | None = None, run: Runner | None = None
    ) -> list[Step]:
        """Return the results of the program's imports."""
        program = "\n".join((PRELUDE, *body, "report()"))
        paths = map(str, (self.cache, self.root, self.outside))
        process = (run or self.run)("-c", program, *paths, json.dumps(options or {}), **self.environment)
        assert process.stderr == ""
        report = json.loads(process.stdout)
        steps: list[Step] = report["steps"]
        self.more = report["more"]
        assert [(step["name"], step["value"]) for step in steps] == [(step["name"],) * 2 for step in steps]
        assert all(step["compiled"] == len(step["misses"]) == 1 - step["hits"] for step in steps)
        assert report["temporary"] == []
        return steps


@pytest.fixture
def child(python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path], tmp_path: Path) -> Child:
    """Return the function that runs a program whose imports meet faults."""
    outside = tmp_path / "outside"
    for folder in (cache, outside):
        folder.mkdir(mode=0o755)
    return Child(python, cache, tree(SOURCES), outside)


@pytest.fixture
def mounting(child: Child, private_mounts: PrivateMounts, python: Python) -> Child:
    """Return the same in its own mount namespace, with the cache on a small disk."""
    child.run = partial(private_mounts, python, small={child.cache: DISK})
    return child


def outcome(step: Step) -> tuple[str, list[str], int, int]:
    """Return status, misses, stored and errors."""
    return step["status"], step["misses"], step["stored"], step["errors"]


STORED = ("writable", ["absent"], 1, 0)
REFUSED = ("read-only", ["absent"], 0, 1)
NOT_TRIED = ("read-only", ["absent"], 0, 0)


def check_lasting(steps: list[Step], *words: str) -> None:
    """Check that the first entry was stored, the second write failed with a reason, and no third was tried."""
    assert [outcome(step) for step in steps] == [STORED, REFUSED, NOT_TRIED]
    assert steps[0]["reason"] is None
    reason = steps[1]["reason"]
    assert reason is not None
    assert reason.startswith("Could not ")
    assert reason.endswith(".")
    for word in words:
        assert word in reason
    assert steps[2]["reason"] == reason


NO_SPACE = "No space left on device"


@pytest.mark.full
@pytest.mark.parametrize(
    ("fault", "name", "words"),
    [
        pytest.param(
            "used = os.statvfs(CACHE); mount('-o', f'remount,nr_inodes={used.f_files - used.f_ffree}', CACHE)",
            "second",
            ("lock", NO_SPACE),
            id="no inode for a lock file",
        ),
        pytest.param(
            "make_locks(); used = os.statvfs(CACHE)\n"
            "mount('-o', f'remount,nr_inodes={used.f_files - used.f_ffree}', CACHE)",
            "second",
            ("second.", NO_SPACE),
            id="no inode for an entry",
        ),
        pytest.param("make_locks(); fill(0)", "second", ("second.", NO_SPACE), id="no space"),
        pytest.param("make_locks(); fill(8192)", "big", ("big.", NO_SPACE), id="no space for all of it"),
        pytest.param(
            "mount('-o', 'remount,ro', CACHE)", "second", ("lock", "Read-only file system"), id="remounted read-only"
        ),
    ],
)
def test_disk_that_takes_no_more(fault: str, name: str, words: tuple[str, ...], mounting: Child) -> None:
    """After a disk becomes full or read-only there is one failing write, and entries are still read."""
    *steps, again = mounting("get('first')", fault, f"get({name!r}); get('third'); get('first')")
    check_lasting(steps, *words)
    assert (again["hits"], again["errors"]) == (1, 0)


@pytest.mark.full
def test_no_space_for_the_name(mounting: Child, private_mounts: PrivateMounts, python: Python, tmp_path: Path) -> None:
    """On a disk with room for the entry but not for its name in the directory, the rename fails."""
    if shutil.which("mkfs.ext4") is None or not os.path.exists("/dev/loop-control"):
        pytest.skip("needs mkfs.ext4 and loop devices: only a directory of fixed blocks is full before the disk is")
    image, name = tmp_path / "image", "n" * 200
    image.write_bytes(bytes(DISK))
    make = ["mkfs.ext4", "-q", "-b", "1024", "-m", "0", "-N", "300", "-O", "^has_journal,^dir_index,^metadata_csum"]
    subprocess.run([*make, image], check=True, capture_output=True)
    text = ", ".join(map(str, range(250)))  # the size of an entry of two blocks
    (mounting.root / f"{name}.py").write_text(f"VALUE = {name!r}\nTEXT = {text!r}\n", encoding="utf-8")
    steps = mounting(
        f"mount('-o', 'loop,nodelalloc', {str(image)!r}, CACHE)",
        "get('first'); make_locks(); folder = os.path.dirname(place('first'))",
        "for number in range(53): os.mknod(f'{folder}/{number:08}')",  # leaves 968 - 53 * 16 = 120 bytes for names
        "fill(2048)",
        "more.update(folder=os.stat(folder).st_size, left=os.statvfs(CACHE).f_bavail)",
        f"get({name!r}); get('third')",
        "more.update(after=os.statvfs(CACHE).f_bavail)",
        "more.update(entries=[entry.partition('.')[0] for entry in os.listdir(folder) if entry.endswith('.pyc')])",
        run=partial(private_mounts, python),
    )
    assert mounting.more == {"folder": 1024, "left": 2, "after": 2, "entries": ["first"]}
    check_lasting(steps, name, NO_SPACE)


@pytest.mark.parametrize(
    ("limit", "name", "word"), [(0, "second", "second."), (1, "second", "second."), (8192, "big", "big.")]
)
def test_limit_of_file_sizes(limit: int, name: str, word: str, child: Child) -> None:
    """With `ulimit -f` an entry above the limit is not written, nor is any later one."""
    limits = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    steps = child("get('first')", limits, f"get({name!r}); get('third')")
    check_lasting(steps, word, "File too large")
    assert [path.name.partition(".")[0] for path in child.cache.rglob("*.pyc")] == ["first"]


def test_limit_of_file_sizes_at_the_first_write(child: Child) -> None:
    """With `ulimit -f 0` even the cache's marker file is not written, and no part of it remains."""
    steps = child("resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); get('first'); get('second')")
    assert [outcome(step) for step in steps] == [REFUSED, NOT_TRIED]
    assert "File too large" in (steps[0]["reason"] or "")
    assert [path for path in child.cache.rglob("*") if path.is_file() and path.parent.name != "locks"] == []


def test_strict(child: Child) -> None:
    """With `strict` a failing write raises `CacheDirError` with the reason, releases its lock, and leaves no file."""
    steps = child(
        "get('first'); resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))",
        "try: get('second')\nexcept pycachehook.CacheDirError as error: more['error'] = str(error)",
        "resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))",
        "hook = pycachehook.install(CACHE, strict=True, lock_timeout=0)",
        "get('second')",
        options={"strict": True},
    )
    assert [outcome(step) for step in steps] == [STORED, STORED]
    assert "File too large" in child.more["error"]


@pytest.mark.full
@pytest.mark.parametrize(
    ("give", "words"),
    [
        pytest.param("", ("second.", "Permission denied"), id="all of the cache"),
        pytest.param(
            "make_locks()\n"
            "for folder in (CACHE, CACHE + '/.pycachehook', CACHE + '/.pycachehook/locks'):\n"
            "    for path in (folder, *(entry.path for entry in os.scandir(folder))): os.chown(path, {0}, {0})\n"
            "os.chown(CACHE + '/tmp', 0, 0)",
            ("second.", "Permission denied"),
            id="the directory of the entry",
        ),
    ],
)
@pytest.mark.alone
def test_no_permission(
    give: str, words: tuple[str, ...], child: Child, environment: Python, private_mounts: PrivateMounts
) -> None:
    """A process that changes its user during the run stops writing where that user may not, and still reads."""
    run = partial(private_mounts, environment, reach=[child.cache, child.root, child.outside], user=0)
    become = f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY})"
    *steps, again = child(
        "get('first')", give.format(NOBODY), become, "get('second'); get('third'); get('first')", run=run
    )
    check_lasting(steps, *words)
    assert (again["hits"], again["errors"]) == (1, 0)


@pytest.mark.parametrize("left", [1, 2, 3])
def test_few_descriptors(left: int, child: Child) -> None:
    """One free file descriptor suffices for an import, as for CPython; two suffice to write the entry."""
    steps = child(
        f"get('first'); taken = take_descriptors({left}); get('second')",
        "for descriptor in taken: os.close(descriptor)",
        "get('third')",
    )
    assert [step["status"] for step in steps] == ["writable"] * 3
    assert steps[1]["stored"] + steps[1]["errors"] >= 1
    assert outcome(steps[2]) == STORED
    if left >= 2:
        assert outcome(steps[1]) == STORED


@pytest.mark.parametrize(
    ("take", "name", "misses"),
    [
        pytest.param("taken = take_descriptors(1)", "first", ["stale-source"], id="held from before"),
        pytest.param(
            "def compile_greedily(*arguments):\n    taken.extend(take_descriptors(0))\n    return source(*arguments)\n"
            "taken, compiling = [], pycachehook.own_modules.load('on_miss.compiling'); source = compiling.source_to_code\n"
            "compiling.source_to_code = compile_greedily",
            "second",
            ["absent"],
            id="taken while compiling",
        ),
    ],
)
def test_no_descriptor_for_the_entry(take: str, name: str, misses: list[str], child: Child) -> None:
    """Without a free file descriptor an entry is not written; later entries are, once there are some."""
    steps = child(
        "get('first')",
        "with open(f'{ROOT}/first.py', 'a') as file: file.write('# edited\\n')",
        take,
        f"get({name!r})",
        "for descriptor in taken: os.close(descriptor)",
        "if 'compiling' in globals(): compiling.source_to_code = source",
        "get('third')",
    )
    assert [outcome(step) for step in steps] == [STORED, ("writable", misses, 0, 1), STORED]
    assert "Too many open files" in (steps[1]["reason"] or "")
    assert f"/{name}." in (steps[1]["reason"] or "")


REMOVED = {
    "the cache": "CACHE",
    "its own files": "CACHE + '/.pycachehook'",
    "the lock files": "CACHE + '/.pycachehook/locks'",
    "the entry's directory": "os.path.dirname(place('first'))",
    "the directory above": "os.path.dirname(os.path.dirname(place('first')))",
}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077], ids=oct)
@pytest.mark.parametrize("removed", REMOVED)
def test_removed_between_imports(removed: str, umask: int, child: Child) -> None:
    """A cache, or a part of it, that is removed between imports is created again with the same modes."""
    first = f"os.umask({umask}); os.rmdir(CACHE); pycachehook.install(CACHE); get('first')"
    look = "folders = lambda: sorted([p, os.stat(p).st_mode & 0o7777] for p, _, names in os.walk(CACHE))"
    before = "more['before'] = folders()"
    steps = child(first, look, before, f"shutil.rmtree({REMOVED[removed]})", "get('second'); more['after'] = folders()")
    assert [(outcome(step), step["reason"]) for step in steps] == [(STORED, None)] * 2
    assert child.more["after"] == child.more["before"]
    assert {mode for _, mode in child.more["after"]} == {0o755 & ~umask}
    marks = (child.cache / "CACHEDIR.TAG", child.cache / ".pycachehook" / "format")
    assert [stat.S_IMODE(mark.stat().st_mode) for mark in marks] == [0o644 & ~umask] * 2


def test_our_modules_dropped(python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path]) -> None:
    """An import works and is stored after a program drops this package from `sys.modules`, as pex does."""
    program = """if True:
        import sys, pycachehook
        hook = pycachehook.install(sys.argv[1])
        for name in [name for name in sys.modules if name.startswith("pycachehook")]:
            del sys.modules[name]
        import first
        print(first.VALUE, hook.stats.stored, hook.stats.errors)
    """
    root = tree({"first.py": "VALUE = 'first'\n"})
    assert python("-c", program, cache, PYTHONPATH=str(root)).stdout == "first 1 0\n"


@pytest.mark.parametrize("removed", REMOVED)
def test_removed_while_compiling(removed: str, child: Child) -> None:
    """A cache, or a part of it, that is removed between lookup and write is created again, and the entry is stored."""
    steps = child(
        "get('first'); compiling = pycachehook.own_modules.load('on_miss.compiling'); source = compiling.source_to_code",
        "def compile_and_remove(*arguments):",
        f"    shutil.rmtree({REMOVED[removed]})",
        "    return source(*arguments)",
        "compiling.source_to_code = compile_and_remove",
        "get('second'); compiling.source_to_code = source; get('second'); get('third')",
    )
    assert [outcome(step) for step in steps] == [STORED, STORED, ("writable", [], 0, 0), STORED]


def test_default_cache_is_made_again_private(child: Child, tmp_path: Path) -> None:
    """A default cache that is removed during the run is created again with access for the user only."""
    child.cache = tmp_path / "home" / ".cache" / "pycachehook"
    steps = child(
        "hook = pycachehook.install(); get('first')",
        "shutil.rmtree(CACHE); get('second')",
    )
    assert [outcome(step) for step in steps] == [STORED] * 2
    assert stat.S_IMODE(child.cache.stat().st_mode) == 0o700


@pytest.mark.parametrize("part", REMOVED)
def test_component_that_becomes_a_file(part: str, child: Child) -> None:
    """If a directory above an entry or a lock becomes a file during the run, writing stops."""
    steps = child("get('first'); make_locks()", f"become_file({REMOVED[part]})", "get('second'); get('third')")
    if part == "the cache":
        disabled = [("disabled", ["absent"], 0, 1), ("disabled", ["untrusted"], 0, 0)]
        assert [outcome(step) for step in steps] == [STORED, *disabled]
        assert steps[1]["reason"] == steps[2]["reason"] == f"The cache directory {child.cache} is not a directory."
    else:
        check_lasting(steps, "Not a directory")


ODD_ENTRIES = {
    "directory": "os.mkdir(path)",
    "directory with a file": "os.mkdir(path); open(f'{path}/file', 'w').close()",
    "FIFO": "os.mkfifo(path)",
    "socket": "with socket.socket(socket.AF_UNIX) as bound: os.chdir(os.path.dirname(path)); bound.bind('./s')\n"
    "os.rename('s', path)",
    "dangling link": "os.symlink(f'{OUTSIDE}/nowhere', path)",
    "link to itself": "os.symlink(path, path)",
    "link out of the cache": "shutil.copy(kept, f'{OUTSIDE}/entry'); os.symlink(f'{OUTSIDE}/entry', path)",
    "unreadable device": "os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))",
}


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.full] * ("device" in kind)) for kind in ODD_ENTRIES]
)
def test_entry_that_is_no_file(kind: str, child: Child) -> None:
    """A non-file with an entry's name is neither opened nor followed, and is replaced if possible."""
    if "device" in kind and os.geteuid() != 0:
        pytest.skip("needs root: to make a device")
    before = sorted(child.outside.iterdir())
    steps = child(
        "get('first'); path = place('first'); kept = f'{OUTSIDE}/kept'; os.rename(path, kept)",
        ODD_ENTRIES[kind],
        "get('first'); more['kind'] = stat.S_IFMT(os.lstat(path).st_mode)",
        "get('second')",
        "if os.path.isdir(path): shutil.rmtree(path); get('first')",
        "get('first')",
    )
    directory = kind.startswith("directory")
    assert outcome(steps[1]) == ("writable", ["io-error"], 0 if directory else 1, 1 if directory else 0)
    assert child.more["kind"] == (stat.S_IFDIR if directory else stat.S_IFREG)
    assert ("Is a directory" in (steps[1]["reason"] or "")) == directory
    assert outcome(steps[2]) == STORED
    assert [step["hits"] for step in steps[-2:]] == [0, 1]
    left = sorted(path.name for path in child.outside.iterdir())
    assert before == []
    assert left == (["entry", "kept"] if "out of" in kind else ["kept"])


def lead_out_of(part: str) -> str:
    """Return code that replaces a part of the cache by a link to a directory outside it."""
    return f"os.makedirs(os.path.dirname({part}), exist_ok=True); lead_out({part})"


@pytest.mark.parametrize(
    "links",
    [
        pytest.param(lead_out_of("os.path.dirname(place('first'))"), id="the entry's directory"),
        pytest.param(
            "folder = os.path.dirname(place('first')); above = os.path.dirname(folder)\n"
            "os.makedirs(f'{OUTSIDE}/{os.path.basename(folder)}')\n" + lead_out_of("above"),
            id="a directory above, leading to one like it",
        ),
        pytest.param(
            lead_out_of("os.path.dirname(os.path.dirname(place('first')))"), id="a directory above, leading to none"
        ),
        pytest.param(lead_out_of("CACHE + '/.pycachehook'"), id="its own files"),
        pytest.param(lead_out_of("CACHE + '/.pycachehook/locks'"), id="the lock files"),
        pytest.param(
            "get('third'); make_locks()\n"
            "for entry in os.scandir(CACHE + '/.pycachehook/locks'):\n"
            "    os.unlink(entry.path); os.symlink(f'{OUTSIDE}/{entry.name}', entry.path)",
            id="each lock file",
        ),
    ],
)
def test_link_out_of_the_cache(links: str, child: Child) -> None:
    """Nothing is written through a link that leads out of the cache, and an error is counted."""
    look = "sorted(f'{folder}/{name}' for folder, names, files in os.walk(OUTSIDE) for name in names + files)"
    steps = child(links, f"more['before'] = {look}", "get('first')", f"more['after'] = {look}")
    assert child.more["after"] == child.more["before"]
    assert steps[-1]["errors"] >= 1
    assert steps[-1]["reason"] is not None


@pytest.mark.parametrize("name", ["CACHEDIR.TAG", ".pycachehook/format"])
def test_mark_that_leads_out_of_the_cache(name: str, child: Child) -> None:
    """Nothing is written through a link in place of one of the cache's marker files."""
    steps = child(
        f"os.mkdir(CACHE + '/.pycachehook'); os.symlink(OUTSIDE + '/nowhere', CACHE + '/{name}')",
        "get('first'); more['outside'] = os.listdir(OUTSIDE)",
    )
    assert outcome(steps[0]) == STORED
    assert child.more["outside"] == []


def test_link_inside_the_cache(child: Child) -> None:
    """A link to another directory of the same cache is used like a directory."""
    steps = child(
        "folder = os.path.dirname(place('first')); os.mkdir(CACHE + '/elsewhere')",
        "os.makedirs(os.path.dirname(folder)); os.symlink(CACHE + '/elsewhere', folder)",
        "get('first'); more['there'] = os.listdir(CACHE + '/elsewhere')",
    )
    assert outcome(steps[0]) == STORED
    assert child.more["there"] == [os.path.basename(next(child.cache.glob("elsewhere/*.pyc")))]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param("os.mkfifo(path)", id="FIFO"),
        pytest.param("os.mkdir(path)", id="directory"),
        pytest.param("os.symlink(CACHE + '/nowhere/file', path)", id="dangling link"),
        pytest.param("os.symlink(path, path)", id="link to itself"),
        pytest.param("os.mknod(path, 0o444 | stat.S_IFREG)", id="file for reading"),
    ],
)
def test_lock_file_that_is_none(make: str, child: Child) -> None:
    """A non-file in place of a lock file delays no import."""
    steps = child(
        "get('first'); make_locks()",
        "for path in [entry.path for entry in os.scandir(CACHE + '/.pycachehook/locks')]:",
        f"    os.unlink(path); {make}",
        "get('second'); get('first')",
    )
    assert (steps[1]["misses"], steps[1]["compiled"]) == (["absent"], 1)
    assert steps[1]["stored"] + steps[1]["errors"] >= 1
    assert steps[2]["hits"] == 1


def test_name_that_is_too_long(child: Child) -> None:
    """An entry whose name exceeds NAME_MAX is counted and not written; others are written."""
    name = "n" * (os.pathconf(child.cache, "PC_NAME_MAX") - len(".py"))
    (child.root / f"{name}.py").write_text(f"VALUE = {name!r}\n", encoding="utf-8")
    steps = child(f"get('first'); get({name!r}); get('second')")
    assert [outcome(step) for step in steps] == [STORED, ("writable", ["io-error"], 0, 1), STORED]
    assert "File name too long" in (steps[1]["reason"] or "")
    assert name in (steps[1]["reason"] or "")


@pytest.mark.parametrize(
    ("shorter", "expected"),
    [
        pytest.param(0, ("writable", ["io-error"], 0, 1), id="entry"),
        pytest.param(10, ("writable", ["absent"], 0, 1), id="temporary file"),
        pytest.param(60, STORED, id="neither"),
    ],
)
def test_path_that_is_too_long(shorter: int, expected: tuple[str, list[str], int, int], child: Child) -> None:
    """A source whose entry or temporary file has a path longer than PATH_MAX runs, and an error is counted."""
    too_long = os.pathconf(child.cache, "PC_PATH_MAX")
    entry = f"{child.cache}{child.root}/deep.{sys.implementation.cache_tag}.pyc"
    left, folder = too_long - shorter - len(entry), child.root
    while left > 0:
        length = left - 1 if left <= 201 else 150
        folder /= "d" * length
        left -= length + 1
    folder.mkdir(parents=True)
    (folder / "deep.py").write_text("VALUE = 'deep'\n", encoding="utf-8")
    steps = child(f"get('first'); sys.path.append({str(folder)!r}); get('deep'); get('second')")
    assert [outcome(step) for step in steps] == [STORED, expected, STORED]
    assert ("File name too long" in (steps[1]["reason"] or "")) == (expected != STORED)


SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL(call, path) do { if (fails(call, path)) return -1; } while (0)
#define NAMED(fd) char named[4096]; name(fd, named, sizeof named)

int fault_count; /* how often the fault has happened */

/* FAULT="CALL PART ERRNO": that call fails for paths below FAULT_BELOW with PART in them; at most FAULT_TIMES times. */
static int asked(const char *call, const char *path, int *number) {
    const char *fault = getenv("FAULT"), *below = getenv("FAULT_BELOW"), *times = getenv("FAULT_TIMES");
    char wanted[32], part[256];
    if (!fault || !below || sscanf(fault, "%31s %255s %d", wanted, part, number) != 3) return 0;
    if (strcmp(wanted, call) || strncmp(path, below, strlen(below)) || !strstr(path, part)) return 0;
    if (times && fault_count >= atoi(times)) return 0;
    fault_count++;
    return 1;
}

static int fails(const char *call, const char *path) {
    int number;
    if (!asked(call, path, &number)) return 0;
    errno = number;
    return 1;
}

static void name(int fd, char *named, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, named, size - 1);
    named[length < 0 ? 0 : length] = 0;
}

#define OPEN(open) \
int open(const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); int mode = flags & O_CREAT ? va_arg(rest, int) : 0; va_end(rest); \
    FAIL("open", path); return REAL(open)(path, flags, mode); }
#define OPENAT(openat) \
int openat(int at, const char *path, int flags, ...) { \
    va_list rest; va_start(rest, flags); int mode = flags & O_CREAT ? va_arg(rest, int) : 0; va_end(rest); \
    FAIL("open", path); return REAL(openat)(at, path, flags, mode); }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

int fstat(int fd, struct stat *status) { NAMED(fd); FAIL("fstat", named); return REAL(fstat)(fd, status); }
int fstat64(int fd, struct stat64 *status) { NAMED(fd); FAIL("fstat", named); return REAL(fstat64)(fd, status); }
ssize_t read(int fd, void *data, size_t size) {
    NAMED(fd); int number;
    if (asked("short-read", named, &number)) return REAL(read)(fd, data, size < 1 ? size : 1);
    FAIL("read", named); return REAL(read)(fd, data, size);
}
ssize_t write(int fd, const void *data, size_t size) {
    NAMED(fd); int number;
    if (asked("short-write", named, &number)) return REAL(write)(fd, data, size < 1 ? size : 1);
    FAIL("write", named); return REAL(write)(fd, data, size);
}
int close(int fd) { NAMED(fd); int done = REAL(close)(fd); FAIL("close", named); return done; }
int mkdir(const char *path, mode_t mode) { FAIL("mkdir", path); return REAL(mkdir)(path, mode); }
int rename(const char *path, const char *to) { FAIL("rename", path); return REAL(rename)(path, to); }
int flock(int fd, int how) { NAMED(fd); FAIL(how & LOCK_UN ? "unlock" : "flock", named); return REAL(flock)(fd, how); }
"""


@pytest.fixture(scope="session")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a library for LD_PRELOAD that makes system calls fail."""
    if sys.platform != "linux" or shutil.which("cc") is None:
        pytest.skip("needs Linux and cc: a library that makes system calls fail is compiled and preloaded")
    folder = tmp_path_factory.mktemp("shim")
    (folder / "shim.c").write_text(SHIM, encoding="utf-8")
    command = ["cc", "-shared", "-fPIC", "-O1", "-o", "shim.so", "shim.c", "-ldl"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "shim.so"


class Fault(NamedTuple):
    """A system call that fails for some files while one module is imported, and the expected result of that import."""

    call: str
    part: str  # part of the path
    names: str  # the errno values
    expected: tuple[str, list[str], int, int] = REFUSED
    module: str = "second"
    arrange: str = ""


TRIED_ON = ("writable", ["absent"], 0, 1)
UNLOCKED = ("writable", ["absent"], 1, 1)
UNLOCKED_BY_OTHERS = ("writable", ["absent"], 1, 0)  # another user's lock file, in a cache of several users
HEALED = ("writable", ["io-error"], 1, 0)
FAULTS = [
    Fault("open", "first.", "EIO ESTALE EACCES ENOMEM", HEALED, "first"),
    Fault("fstat", "first.", "EIO ESTALE", HEALED, "first"),
    Fault("read", "first.", "EIO ESTALE EISDIR", HEALED, "first"),
    Fault("close", "first.", "EIO ESTALE", HEALED, "first"),
    Fault("open", "/locks/", "EIO ESTALE EROFS ENOSPC EDQUOT"),
    Fault("open", "/locks/", "EACCES EPERM", UNLOCKED_BY_OTHERS),
    Fault("open", "/locks/", "ENFILE ENOMEM", UNLOCKED),
    Fault("flock", "/locks/", "EIO ESTALE"),
    Fault("flock", "/locks/", "ENOSYS ENOLCK EOPNOTSUPP", UNLOCKED),
    Fault(
        "mkdir",
        "tree",
        "EIO ESTALE EACCES EROFS ENOSPC EDQUOT",
        arrange="shutil.rmtree(os.path.dirname(place('first')))",
    ),
    Fault("open", ".tmp", "EIO ESTALE EACCES EPERM EROFS ENOSPC EDQUOT"),
    Fault("open", ".tmp", "EMFILE ENFILE ENOMEM", TRIED_ON),
    Fault("write", ".tmp", "EIO ESTALE ENOSPC EDQUOT EFBIG"),
    Fault("write", ".tmp", "EAGAIN ENOMEM", TRIED_ON),
    Fault("close", ".tmp", "EIO ESTALE ENOSPC EDQUOT"),
    Fault("rename", ".tmp", "EIO ESTALE EACCES EPERM EROFS ENOSPC EDQUOT"),
    Fault("rename", ".tmp", "EXDEV EBUSY", TRIED_ON),
]


@pytest.fixture
def preloaded(child: Child, shim: Path) -> Child:
    """Return the function that runs a program in which system calls for files in the cache can fail."""
    child.environment |= {"LD_PRELOAD": str(shim), "FAULT_BELOW": str(child.cache)}
    return child


HAPPENED = "more['happened'] = ctypes.c_int.in_dll(ctypes.CDLL(None), 'fault_count').value"


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        pytest.param(fault, name, id=f"{fault.call} {fault.part} {name}")
        for fault in FAULTS
        for name in fault.names.split()
    ],
)
def test_system_call_that_fails(fault: Fault, name: str, preloaded: Child) -> None:
    """Each failing system call of a read or write has the documented consequences."""
    number = getattr(errno, name)
    steps = preloaded(
        f"get('first'); make_locks(); {fault.arrange}",
        f"os.environ['FAULT'] = '{fault.call} {fault.part} {number}'",
        f"get({fault.module!r})",
        f"del os.environ['FAULT']; {HAPPENED}",
        "get('third')",
    )
    assert preloaded.more["happened"] >= 1
    later = NOT_TRIED if fault.expected == REFUSED else STORED
    assert [outcome(step) for step in steps] == [STORED, fault.expected, later]
    assert (steps[1]["reason"] is None) == (fault.expected in (HEALED, UNLOCKED_BY_OTHERS))
    assert fault.expected in (HEALED, UNLOCKED_BY_OTHERS) or os.strerror(number) in (steps[1]["reason"] or "")


@pytest.mark.parametrize("name", ["EIO", "ESTALE", "ENOLCK"])
@pytest.mark.parametrize("call", ["unlock", "close"])
def test_lock_that_cannot_be_let_go(call: str, name: str, preloaded: Child) -> None:
    """An import succeeds and its entry is stored although releasing the lock file fails."""
    steps = preloaded(
        f"get('first'); make_locks(); os.environ['FAULT'] = '{call} /locks/ {getattr(errno, name)}'",
        f"get('second'); del os.environ['FAULT']; {HAPPENED}; get('second')",
    )
    assert preloaded.more["happened"] >= 1
    assert (steps[1]["misses"], steps[1]["stored"], steps[2]["hits"]) == (["absent"], 1, 1)


@pytest.mark.parametrize("name", ["EIO", "ESTALE"])
def test_lock_whose_holder_is_waited_for_in_vain(name: str, preloaded: Child) -> None:
    """An import succeeds although another process keeps the lock file, which cannot even be closed."""
    steps = preloaded(
        "get('first'); make_locks(); import fcntl, glob",
        "held = [open(path, 'ab') for path in glob.glob(CACHE + '/.pycachehook/locks/*')]",
        "for file in held: fcntl.flock(file, fcntl.LOCK_EX)",
        f"os.environ['FAULT'] = 'close /locks/ {getattr(errno, name)}'; get('second'); del os.environ['FAULT']",
        HAPPENED,
        options={"lock_timeout": 0},
    )
    assert preloaded.more["happened"] >= 1
    assert (steps[1]["misses"], steps[1]["stored"]) == (["lock-timeout"], 0)


@pytest.mark.parametrize("call", ["short-read", "short-write"])
def test_calls_that_do_less_than_asked(call: str, preloaded: Child) -> None:
    """Entries are complete although every call reads or writes one byte only."""
    steps = preloaded(
        f"get('first'); os.environ['FAULT'] = '{call} {preloaded.cache} 0'; get('second')",
        f"get('second'); del os.environ['FAULT']; get('second'); {HAPPENED}",
    )
    assert preloaded.more["happened"] > 100
    assert [outcome(step) for step in steps] == [STORED, STORED, *[("writable", [], 0, 0)] * 2]


@pytest.mark.parametrize(
    ("call", "part", "module"),
    [
        ("open", "first.", "first"),
        ("read", "first.", "first"),
        ("open", "/locks/", "second"),
        ("flock", "/locks/", "second"),
        ("open", ".tmp", "second"),
        ("write", ".tmp", "second"),
    ],
)
def test_interrupted_system_call(call: str, part: str, module: str, preloaded: Child) -> None:
    """A system call that a signal interrupts is repeated: no error, no miss."""
    preloaded.environment["FAULT_TIMES"] = "3"
    fault = f"os.environ['FAULT'] = '{call} {part} {errno.EINTR}'"
    steps = preloaded(f"get('first'); make_locks(); {fault}; get({module!r}); {HAPPENED}")
    assert preloaded.more["happened"] == 3
    assert outcome(steps[1]) == (("writable", [], 0, 0) if module == "first" else STORED)


def test_signals_without_end(child: Child) -> None:
    """A process that receives signals continuously, while importing and waiting for a lock, meets no error."""
    steps = child(
        "import fcntl, glob, time",
        "get('first'); make_locks(); signals = 0",
        "def handle(*_):\n    global signals\n    signals += 1",
        "signal.signal(signal.SIGALRM, handle); signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)",
        f"for name in {MANY}: get(name)",
        "more['signals'] = signals",
        "held = [open(path, 'ab') for path in glob.glob(CACHE + '/.pycachehook/locks/*')]",
        "for file in held: fcntl.flock(file, fcntl.LOCK_EX)",
        "signals = 0; get('second'); more['while waiting'] = signals; signal.setitimer(signal.ITIMER_REAL, 0)",
        "for file in held: file.close()",
        "get('third')",
        options={"lock_timeout": 0.3},
    )
    assert [outcome(step) for step in steps[:-2]] == [STORED] * (len(MANY) + 1)
    assert outcome(steps[-2]) == ("writable", ["lock-timeout"], 0, 0)
    assert outcome(steps[-1]) == STORED
    assert child.more["signals"] > 0
    assert child.more["while waiting"] > 10
