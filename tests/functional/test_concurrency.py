"""Concurrency: processes, threads, forks and interpreters compile a file once, and none waits for a stuck process."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pycachehook.on_miss.single_flight
from pycachehook.cache_dir import CacheDir

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from conftest import Python

pytestmark = pytest.mark.full  # hundreds of processes

PROCESSES = 8
PACK = ["pack", *(f"pack.module_{number:02}" for number in range(60))]
TIMEOUT = 120.0  # seconds after which a process counts as hanging
LONG = 100.0  # seconds; a process that waits this long for a lock fails the test
SOON = 30.0  # seconds; enough on any machine for work without waiting

BODY = "".join(f"def function_{number}(a, b={number}):\n    return [a + b for _ in range(b)]\n" for number in range(40))
SOURCES = {
    "slow.py": "VALUE = 'slow'\n",
    "other.py": "VALUE = 'other'\n",
    "pack/__init__.py": "VALUE = 'pack'\n",
    **{f"{name.replace('.', '/')}.py": f"{BODY}VALUE = {name!r}\n" for name in PACK[1:]},
}

# The modules that the first write needs are loaded before, and not counted.
PRELUDE = """
import atexit, ctypes, faulthandler, fcntl, importlib.util, json, os, random, signal, sys, threading, time
from filelock import lock_descriptor, unlock_descriptor
import pycachehook, pycachehook.on_miss.compiling, pycachehook.own_modules

faulthandler.dump_traceback_later(100, exit=True)  # what hangs says where, and is no success
os.register_at_fork(after_in_child=lambda: atexit.register(os._exit, 1))  # which would wait for a thread it has not
CACHE, ROOT, GATE = sys.argv[1:4]
hook = pycachehook.install(CACHE, **json.loads(sys.argv[4]))


def tell(**what):
    print(json.dumps(what), flush=True)


def get(*names):
    "Import modules; return their values, how long it took, and what was counted."
    before, began, busy = hook.stats.as_dict(), time.monotonic(), time.process_time()
    values = [importlib.import_module(name).VALUE for name in names]
    took, used = time.monotonic() - began, time.process_time() - busy
    after = hook.stats.as_dict()
    misses = {each: count - before["misses"].get(each, 0) for each, count in after["misses"].items()}
    return {"values": values, "took": took, "used": used, "misses": {each: n for each, n in misses.items() if n},
            **{key: after[key] - before[key] for key in ("hits", "compiled", "stored", "errors")}}


def load(name):
    "Import a module, again where CPython's import locks say deadlock: threads in a circle of imports meet that, hook or not."
    for _ in range(1000):
        try:
            return importlib.import_module(name)
        except importlib._bootstrap._DeadlockError: pass
    return importlib.import_module(name)


def on_compiling(name, act):
    "Have `act` called whenever the module `name` is about to be compiled, by which time its lock is held."
    compiling = pycachehook.own_modules.load("on_miss.compiling")
    compile_it = compiling.source_to_code

    def source_to_code(data, path, *more):
        if path == f"{ROOT}/{name}.py":
            act()
        return compile_it(data, path, *more)

    compiling.source_to_code = source_to_code


def on_waiting(act):
    "Have `act` called when this process first waits for a lock."
    system = sys.modules["pycachehook.system"].system
    sleep = system.sleep

    def first(seconds):
        system.sleep = sleep
        act()
        sleep(seconds)

    system.sleep = first


def wait_for_locks():
    "Return when each lock has been free."
    for name in held():
        with open(f"{CACHE}/.pycachehook/locks/{name}", "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)


def wait_at_the_gate():
    tell(ready=True)
    with open(GATE) as file:
        fcntl.flock(file, fcntl.LOCK_SH)


def held():
    "Return the lock files that somebody holds."
    names = []
    with os.scandir(f"{CACHE}/.pycachehook/locks") as entries:
        for entry in entries:
            with open(entry.path, "rb") as file:
                if not lock_descriptor(file.fileno(), blocking=False):
                    names.append(entry.name)
    return names


def hold_all():
    "Take every lock there is; return the files."
    files = [open(f"{CACHE}/.pycachehook/locks/{number:02x}", "ab") for number in range(pycachehook.on_miss.single_flight.LOCKS)]
    assert all(lock_descriptor(file.fileno(), blocking=False) for file in files)
    return files


def temporary():
    return [name for _, _, names in os.walk(CACHE) for name in names if name.startswith(".pycachehook-")]
"""

Report = dict[str, Any]


class Team:
    """Starts processes with one cache, which report in lines of JSON."""

    def __init__(self, python: Python, cache: Path, root: Path, folder: Path) -> None:
        self.cache = cache
        self.root = root
        self.log = folder / "log.txt"
        self._python = python
        self._gate = folder / "gate"
        self._gate.touch()
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *body: str, prelude: str = PRELUDE, **options: object) -> subprocess.Popen[str]:
        """Start a process with these `options` of the hook."""
        arguments = (self.cache, self.root, self._gate, json.dumps(options))
        command = ("-W", "ignore::DeprecationWarning", "-c", "\n".join((prelude, *body)))
        process = self._python.start(*command, *arguments, PYTHONPATH=str(self.root), PYCACHEHOOK_LOG=str(self.log))
        self._started.append(process)
        return process

    def hear(self, process: subprocess.Popen[str]) -> Report:
        """Return the next report of a running process."""
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, self.finish(process)
        report: Report = json.loads(line)
        return report

    def finish(self, process: subprocess.Popen[str]) -> list[Report]:
        """Wait for the end, which must be silent and in time; return the reports since the last call."""
        assert process.stdout is not None
        assert process.stderr is not None
        output, errors = process.stdout.read(), process.stderr.read()
        assert (process.wait(TIMEOUT), errors) == (0, "")
        return [json.loads(line) for line in output.splitlines()]

    def run(self, *body: str, **options: Any) -> Report:
        """Run a process that reports once, and return the report."""
        (report,) = self.finish(self.start(*body, **options))
        return report

    @contextmanager
    def closed_gate(self) -> Iterator[None]:
        """Make all processes wait at the gate."""
        with self._gate.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def at_once(self, count: int, *body: str, prelude: str = PRELUDE, **options: object) -> list[Report]:
        """Run processes that all wait at the gate before they continue together; return their reports."""
        with self.closed_gate():
            processes = [self.start(*body, prelude=prelude, **options) for _ in range(count)]
            for process in processes:
                assert self.hear(process) == {"ready": True}
        return [report for process in processes for report in self.finish(process)]

    def lines(self) -> list[str]:
        """Return the lines of the log, without process ids."""
        return [line.partition(": ")[2] for line in self.log.read_text(encoding="utf-8").splitlines()]

    def compiled(self) -> Counter[str]:
        """Return, from the log, how often each module was compiled."""
        return Counter(line.partition(": ")[0] for line in self.lines() if ", compiled" in line)

    def faults(self) -> list[str]:
        """Return the faults in the log."""
        return [line for line in self.lines() if line.startswith("fault")]

    def temporary(self) -> list[Path]:
        """Return the temporary files in the cache."""
        return [path for path in self.cache.rglob("*") if path.name.startswith(".pycachehook-")]

    def stop(self) -> None:
        """Kill all running processes."""
        for process in self._started:
            process.kill()
            process.wait(TIMEOUT)
            for pipe in (process.stdout, process.stderr):
                assert pipe is not None
                pipe.close()


def _have_locks_of_their_own(root: Path) -> bool:
    """Return whether two modules have different lock files, of which a cache has only a few."""
    cache = CacheDir("/", read_only=True)
    entries = [f"/{root}/{name}.{sys.implementation.cache_tag}.pyc" for name in ("slow", "other")]
    return len({pycachehook.on_miss.single_flight._lock_path(cache, entry) for entry in entries}) == len(entries)


@pytest.fixture
def team(python: Python, cache: Path, tree: Callable[[Mapping[str, str]], Path], tmp_path: Path) -> Iterator[Team]:
    """Return an object that starts processes with one cache; its modules `slow` and `other` have different locks."""
    names = (f"folder_{number}" for number in range(1000))
    folder = next(name for name in names if _have_locks_of_their_own(tmp_path / "tree" / name))
    root = tree({f"{folder}/{name}": text for name, text in SOURCES.items()}) / folder
    made = Team(python, cache, root, tmp_path)
    yield made
    made.stop()


def kill(pid: int) -> None:
    """Kill a process that may have ended already."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def test_cold_processes(team: Team) -> None:
    """However many processes import a package at the same time, each module is compiled once, without a fault."""
    reports = team.at_once(PROCESSES, f"wait_at_the_gate(); tell(**get(*{PACK}))", lock_timeout=LONG)
    assert [report["values"] for report in reports] == [PACK] * PROCESSES
    assert team.compiled() == dict.fromkeys(PACK, 1)
    assert sum(report["compiled"] for report in reports) == len(PACK)
    assert sum(report["stored"] for report in reports) == len(PACK)
    assert sum(report["hits"] for report in reports) == (PROCESSES - 1) * len(PACK)
    assert sum(report["errors"] for report in reports) == 0
    assert (team.faults(), team.temporary()) == ([], [])
    assert team.run(f"tell(**get(*{PACK}))")["compiled"] == 0


UNPREPARED = PRELUDE.replace("from filelock import lock_descriptor, unlock_descriptor\n", "").replace(
    "import pycachehook, pycachehook.on_miss.compiling\n", "import pycachehook\n"
)


@pytest.mark.parametrize("count", [1, PROCESSES])
def test_uncached_filelock(count: int, team: Team) -> None:
    """Without any bytecode, filelock is not searched for, and every file is compiled once."""
    body = f"wait_at_the_gate(); tell(**get(*{PACK}), loaded='filelock' in sys.modules)"
    settings: dict[str, Any] = {"prelude": UNPREPARED, "in_tree": "ignore", "lock_timeout": LONG}
    reports = team.at_once(count, body, **settings)
    assert [(report["values"], report["errors"], report["loaded"]) for report in reports] == [(PACK, 0, False)] * count
    compiled = team.compiled()
    assert set(compiled.values()) == {1}
    assert (team.faults(), team.temporary()) == ([], [])
    (again,) = team.at_once(1, body, **settings)
    assert (again["compiled"], again["errors"]) == (0, 0)


def test_followers_wait_for_the_entry(team: Team) -> None:
    """A process that needs a module which another one is compiling waits for its entry, without loading filelock."""
    leader = stopped(team)
    follower = team.start(
        "on_waiting(lambda: tell(waiting=True)); tell(**get('slow'), loaded='filelock' in sys.modules)",
        prelude=UNPREPARED,
        lock_timeout=LONG,
    )
    assert team.hear(follower) == {"waiting": True}
    leader.send_signal(signal.SIGCONT)
    (report,) = team.finish(follower)
    assert (report["values"], report["compiled"], report["loaded"]) == (["slow"], 0, False)
    assert f"slow: hit (store) {team.root / 'slow.py'}" in team.lines()
    assert report["used"] < report["took"]
    team.finish(leader)
    assert team.compiled()["slow"] == 1


def test_following_costs_no_patience(team: Team, tmp_path: Path) -> None:
    """Waiting for a process that makes progress does not reduce the time for later waits."""
    timeout = 3.5
    modules = ("pack", "other", *PACK[1:5])
    for name in ("compiling", "waiting"):
        os.mkfifo(tmp_path / name)
    fifos = f"compiling, waiting = (os.open(f'{tmp_path}/{{name}}', os.O_RDWR) for name in ('compiling', 'waiting'))"
    leader = team.start(
        fifos,
        "def compile_for(seconds): os.write(compiling, b'.'); os.read(waiting, 1); time.sleep(seconds)",
        "on_compiling('pack/__init__', lambda: compile_for(0.8))",
        f"for name in {modules[1:]}: on_compiling(name.replace('.', '/'), lambda: compile_for(0.8))",
        "on_compiling('slow', lambda: compile_for(2.5))",  # another process counts as active for a shorter time
        f"tell(**get(*{modules}, 'slow'))",
    )
    follower = team.start(
        fifos,
        "def follow(name):",
        "    os.read(compiling, 1); on_waiting(lambda: os.write(waiting, b'.')); return get(name)",
        f"for name in (*{modules}, 'slow'): tell(**follow(name))",
        prelude=UNPREPARED,
        lock_timeout=timeout,
    )
    *followed, waited = team.finish(follower)
    assert sum(report["took"] for report in followed) > timeout
    assert [(report["compiled"], report["misses"]) for report in followed] == [(0, {})] * len(modules)
    assert (waited["values"], waited["compiled"], waited["misses"]) == (["slow"], 0, {})
    (report,) = team.finish(leader)
    assert report["stored"] == len(modules) + 1


STOPPED = "on_compiling('slow', lambda: (tell(compiling=True), os.kill(os.getpid(), signal.SIGSTOP)))"


def stopped(team: Team) -> subprocess.Popen[str]:
    """Return a process that is stopped in the middle of a compilation."""
    process = team.start(STOPPED, "tell(**get('slow'))")
    assert team.hear(process) == {"compiling": True}
    _, status = os.waitpid(process.pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    return process


def test_stopped_holder(team: Team) -> None:
    """Other processes wait `lock_timeout`, without CPU use, for a process stopped while it compiles."""
    holder = stopped(team)
    others = team.at_once(3, "wait_at_the_gate(); tell(**get('slow')); tell(**get('other'))", lock_timeout=2)
    slow, other = others[::2], others[1::2]
    assert [(each["values"], each["misses"], each["stored"]) for each in slow] == [
        (["slow"], {"lock-timeout": 1}, 0)
    ] * 3
    assert all(2 <= each["took"] < 2 + SOON for each in slow)
    assert all(each["used"] < 1 for each in slow)
    assert [each["values"] for each in other] == [["other"]] * 3
    assert sum(each["stored"] for each in other) == 1
    assert [each["errors"] for each in others] == [0] * 6
    holder.send_signal(signal.SIGCONT)
    (report,) = team.finish(holder)
    assert (report["values"], report["stored"]) == (["slow"], 1)
    assert team.run("tell(**get('slow'))")["hits"] == 1
    assert team.temporary() == []


def test_several_stuck_locks(team: Team) -> None:
    """However many locks are stuck, a process waits for them `lock_timeout` in total, and takes free ones."""
    holder = team.start("get('other'); files = hold_all(); tell(held=len(files)); signal.pause()")
    assert team.hear(holder)["held"] > 1
    stuck = team.start(f"tell(**get(*{PACK}))", "wait_for_locks(); tell(**get('slow'))", lock_timeout=2)
    report = team.hear(stuck)
    assert (report["values"], report["misses"]) == (PACK, {"lock-timeout": len(PACK)})
    assert (report["stored"], report["errors"]) == (0, 0)
    assert 2 <= report["took"] < 2 + SOON < 2 * len(PACK)
    holder.kill()
    (free,) = team.finish(stuck)
    assert (free["values"], free["stored"]) == (["slow"], 1)


@pytest.mark.parametrize("waiting", [False, True])
def test_killed_holder(waiting: bool, team: Team) -> None:
    """The lock of a process that is killed while it compiles is released at once, also for waiting processes."""
    holder = stopped(team)
    if waiting:
        other = team.start("on_waiting(lambda: tell(waiting=True)); tell(**get('slow'))", lock_timeout=LONG)
        assert team.hear(other) == {"waiting": True}
        holder.kill()
        (report,) = team.finish(other)
    else:
        holder.kill()
        holder.wait(TIMEOUT)
        report = team.run("tell(**get('slow'))", lock_timeout=LONG)
    assert (report["values"], report["misses"], report["stored"]) == (["slow"], {"absent": 1}, 1)
    assert report["took"] < SOON
    assert team.temporary() == []


FORKS = {
    "os.fork": "os.fork()",
    "fork in C": "ctypes.PyDLL(None).fork()",
}


@pytest.mark.parametrize("fork", FORKS.values(), ids=FORKS)
def test_holder_that_forks(fork: str, team: Team) -> None:
    """A child that is forked while its parent compiles keeps no lock that the parent has released."""
    holder = team.start(
        "alive = os.pipe()",
        "def fork():",
        f"    child = {fork}",
        "    if not child:",
        "        for number in (0, 1, 2, alive[1]): os.close(number)",
        "        os.read(alive[0], 1)",  # until the parent ends
        "        os._exit(0)",
        "    tell(child=child)",
        "on_compiling('slow', fork)",
        "tell(**get('slow'), held=held())",
        "signal.pause()",
    )
    child = team.hear(holder)["child"]
    try:
        report = team.hear(holder)
        assert (report["values"], report["stored"], report["held"]) == (["slow"], 1, [])
        (team.root / "slow.py").write_text("VALUE = 'edited'\n", encoding="utf-8")
        other = team.run("tell(**get('slow'), held=held())", lock_timeout=LONG)
        os.kill(child, 0)  # it still exists
    finally:
        kill(child)
    assert (other["values"], other["misses"], other["stored"]) == (["edited"], {"stale-source": 1}, 1)
    assert other["took"] < SOON
    assert other["held"] == []


def test_fork_leaves_the_parent_its_lock(team: Team) -> None:
    """A child that is forked while another thread compiles can import, and does not release that lock."""
    holder = team.start(
        "compiling, go_on = threading.Event(), threading.Event()",
        "on_compiling('slow', lambda: (compiling.set(), go_on.wait()))",
        "thread = threading.Thread(target=get, args=['slow']); thread.start(); compiling.wait()",
        "child = os.fork()",
        "if not child: tell(**get('other')); os._exit(0)",
        "os.waitpid(child, 0); tell(held=len(held())); go_on.set(); thread.join(); tell(held=held())",
    )
    child, during, after = team.finish(holder)
    assert (child["values"], child["stored"], child["errors"]) == (["other"], 1, 0)
    assert (during, after) == ({"held": 1}, {"held": []})
    assert team.run("tell(**get('slow', 'other'))")["hits"] == 2


def test_fork_in_the_middle_of_a_compilation(team: Team) -> None:
    """If both sides of a fork finish the compilation in which it happened, both get the complete module."""
    holder = team.start(
        "on_compiling('slow', lambda: children.append(os.fork())); children = []",
        "slow = get('slow')",
        "if children[0]: os.waitpid(children[0], 0)",
        "wait_for_locks()",  # the other side may still be compiling
        "tell(slow=slow, other=get('other'), held=held())",
        "if not children[0]: os._exit(0)",
    )
    reports = team.finish(holder)
    assert [report["slow"]["values"] + report["other"]["values"] for report in reports] == [["slow", "other"]] * 2
    assert [report["held"] for report in reports] == [[], []]
    assert [report["slow"]["errors"] + report["other"]["errors"] for report in reports] == [0, 0]
    assert team.run("tell(**get('slow', 'other'))")["hits"] == 2
    assert team.temporary() == []


def test_no_lock_while_a_body_runs(team: Team) -> None:
    """A module whose body takes long does not delay other imports, even of the same module."""
    (team.root / "slow.py").write_text("if RUN: RUN()\nVALUE = 'slow'\n", encoding="utf-8")
    runs = "import builtins; builtins.RUN = {0}"
    holder = team.start(
        runs.format("lambda: (tell(stored=hook.stats.stored, held=held()), signal.pause())"), "get('slow')"
    )
    assert team.hear(holder) == {"stored": 1, "held": []}
    report = team.run(runs.format(None), f"tell(**get('slow', *{PACK}))", lock_timeout=LONG)
    assert (report["hits"], report["stored"], report["errors"]) == (1, len(PACK), 0)
    assert report["took"] < SOON


def test_locks_let_go_are_forgotten(team: Team) -> None:
    """Released locks are not remembered, however many files have been compiled."""
    report = team.run(
        f"get(*{PACK}); from pycachehook.on_miss import single_flight; tell(held=held(), remembered=len(single_flight._held))"
    )
    assert report == {"held": [], "remembered": 0}


def test_no_lock_after_an_error(team: Team) -> None:
    """A source that does not compile leaves no lock and no temporary file."""
    (team.root / "slow.py").write_text("VALUE = = 1\n", encoding="utf-8")
    report = team.run(
        "try: get('slow')\nexcept SyntaxError: pass",
        "tell(held=held(), temporary=temporary(), **get('other'))",
    )
    assert (report["held"], report["temporary"], report["stored"]) == ([], [], 1)


CODEC = """
import codecs
def search(name):
    if name == "{name}":
        {act}
        found = codecs.lookup("utf-8")
        return codecs.CodecInfo(found.encode, found.decode, name="{name}", incrementaldecoder=found.incrementaldecoder)
codecs.register(search)
"""
NESTED = [f"nested_{number:03}" for number in range(200)]  # more than the number of locks


def test_nested_imports(team: Team) -> None:
    """Modules that are imported while another is compiled, such as its codec, wait for no lock, even the same one."""
    for name in NESTED:
        (team.root / f"{name}.py").write_text(f"VALUE = {name!r}\n", encoding="utf-8")
    imports = "".join(f"import {name}\n" for name in NESTED)
    (team.root / "outer_codec.py").write_text("VALUE = 'outer_codec'\n" + imports, encoding="utf-8")
    (team.root / "outer.py").write_text("# coding: outer_codec\nVALUE = 'outer'\n", encoding="utf-8")
    codec = CODEC.format(name="outer_codec", act="import outer_codec")
    report = team.run(codec, "tell(**get('outer'), held=held())", lock_timeout=LONG)
    everything = ["outer", "outer_codec", *NESTED]
    assert report["values"] == ["outer"]
    assert report["took"] < SOON
    assert (report["misses"], report["errors"], report["held"]) == ({"absent": len(everything)}, 0, [])
    assert team.compiled() == dict.fromkeys(everything, 1)
    assert report["stored"] > len(everything) * 0.8
    again = team.run(codec, f"tell(**get(*{everything}))", lock_timeout=LONG)
    assert (again["hits"], again["errors"]) == (report["stored"], 0)


def test_nested_imports_in_opposite_order(team: Team) -> None:
    """Two processes that each compile a module, and meanwhile import the other's, do not wait for each other."""
    for here in ("left", "right"):
        (team.root / f"{here}.py").write_text(f"# coding: {here}_codec\nVALUE = {here!r}\n", encoding="utf-8")
        os.mkfifo(team.root / f"{here}_in")
    meet = "meet(); import {}"
    processes = []
    for here, there in ("left", "right"), ("right", "left"):
        marks = f"{team.root}/{here}_in", f"{team.root}/{there}_in"
        processes.append(
            team.start(
                f"fifos = [os.open(path, os.O_RDWR) for path in {marks}]",
                "def meet(): os.write(fifos[0], b'.'); os.read(fifos[1], 1)",
                CODEC.format(name=f"{here}_codec", act=meet.format(there)),
                CODEC.format(name=f"{there}_codec", act="pass"),
                f"tell(**get({here!r}, {there!r}))",
                lock_timeout=LONG,
            )
        )
    for process, values in zip(processes, (["left", "right"], ["right", "left"]), strict=True):
        (report,) = team.finish(process)
        assert (report["values"], report["errors"]) == (values, 0)
        assert "lock-timeout" not in report["misses"]
        assert report["took"] < SOON
    assert team.run("tell(held=held())") == {"held": []}


def sharing(team: Team) -> list[str]:
    """Return the names of two modules that have the same lock."""
    names = [f"try_{number}" for number in range(120)]
    for name in names:
        (team.root / f"{name}.py").write_text(f"VALUE = {name!r}\n", encoding="utf-8")
    report = team.run(
        "locks = CACHE + '/.pycachehook/locks'; pairs = {}",
        f"for name in {names}:",
        "    for path in os.listdir(locks) if os.path.exists(locks) else (): os.unlink(f'{locks}/{path}')",
        "    get(name); pairs.setdefault(os.listdir(locks)[0], []).append(name)",
        "tell(names=next(found[:2] for found in pairs.values() if len(found) > 1))",
    )
    names = [str(name) for name in report["names"]]
    for entry in team.cache.rglob("try_*.pyc"):
        entry.unlink()
    return names


def test_lock_and_import_lock(team: Team) -> None:
    """A thread that compiles, and imports a module that another thread imports under the same lock, delays neither."""
    outer, inner = sharing(team)
    (team.root / f"{outer}.py").write_text(f"# coding: outer_codec\nVALUE = {outer!r}\n", encoding="utf-8")
    act = f"thread.start(); there.wait(20); import {inner}"
    report = team.run(
        f"thread = threading.Thread(target=get, args=[{inner!r}]); there = threading.Event()",
        f"on_waiting(there.set); on_compiling({inner!r}, there.set)",
        CODEC.format(name="outer_codec", act=act),
        f"report = get({outer!r}); thread.join(); tell(**report, held=held())",
        lock_timeout=20,
    )
    assert (report["values"], report["errors"], report["held"]) == ([outer], 0, [])
    assert report["misses"] == {"absent": 2}
    assert report["took"] < 15


def mesh(number: int, size: int) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of modules that all import each other."""
    for each in range(size):
        others = sorted({(each + step) % size for step in (1, 3, 7)})
        imports = "".join(f"import mesh_{number}_{other}\n" for other in others)
        text = f"import time\ntime.sleep(0.0005)\n{imports}VALUE = {each}\n"
        yield f"mesh_{number}_{each}", text


def test_mesh_in_threads(team: Team) -> None:
    """Sixteen threads that import modules which import each other get all of them, each compiled once."""
    rounds, size, threads = 4, 24, 16
    for number in range(rounds):
        for name, text in mesh(number, size):
            (team.root / f"{name}.py").write_text(text, encoding="utf-8")
    report = team.run(
        "sys.setswitchinterval(1e-5); wrong = []",
        "def work(number, first):",
        "    barrier.wait()",
        "    try:",
        f"        for step in range({size}): load(f'mesh_{{number}}_{{(first + step) % {size}}}')",
        "    except BaseException as error: wrong.append(repr(error))",
        f"for number in range({rounds}):",
        f"    barrier = threading.Barrier({threads})",
        f"    team = [threading.Thread(target=work, args=(number, each)) for each in range({threads})]",
        "    for thread in team: thread.start()",
        "    for thread in team: thread.join()",
        f"    found = [sys.modules[f'mesh_{{number}}_{{each}}'].VALUE for each in range({size})]",
        f"    if found != list(range({size})): wrong.append(found)",
        "tell(wrong=wrong, held=held(), **hook.stats.as_dict())",
        lock_timeout=LONG,
    )
    assert (report["wrong"], report["held"], report["errors"]) == ([], [], 0)
    assert team.compiled() == {f"mesh_{number}_{each}": 1 for number in range(rounds) for each in range(size)}
    assert report["stored"] == report["compiled"] == rounds * size


def test_threads_in_opposite_order(team: Team) -> None:
    """Two threads that import two modules which import each other, in opposite order, both get both."""
    rounds = 40
    for number in range(rounds):
        for here, there in ("left", "right"), ("right", "left"):
            text = f"import {there}_{number}\nVALUE = '{here}'\n"
            (team.root / f"{here}_{number}.py").write_text(text, encoding="utf-8")
    report = team.run(
        "sys.setswitchinterval(1e-5); wrong = []",
        "def work(*names):",
        "    barrier.wait()",
        "    try:",
        "        for name in names: load(name)",
        "    except BaseException as error: wrong.append(repr(error))",
        f"for number in range({rounds}):",
        "    names, barrier = [f'left_{number}', f'right_{number}'], threading.Barrier(2)",
        "    team = [threading.Thread(target=work, args=names), threading.Thread(target=work, args=names[::-1])]",
        "    for thread in team: thread.start()",
        "    for thread in team: thread.join()",
        "    values = [sys.modules[name].VALUE for name in names]",
        "    if values != ['left', 'right']: wrong.append(values)",
        "tell(wrong=wrong, held=held(), **hook.stats.as_dict())",
        lock_timeout=LONG,
    )
    assert (report["wrong"], report["held"], report["errors"]) == ([], [], 0)
    assert (report["compiled"], report["misses"]) == (2 * rounds, {"absent": 2 * rounds})


MULTIPROCESSING = """
import importlib, json, multiprocessing, os, sys
from filelock import lock_descriptor, unlock_descriptor
import pycachehook, pycachehook.on_miss.compiling, pycachehook.own_modules

hook = pycachehook.install({cache!r}, lock_timeout={long})
NAMES = {names}


def work(barrier, queue):
    barrier.wait()
    values = [importlib.import_module(name).VALUE for name in NAMES]
    queue.put([values, hook.stats.hits + hook.stats.compiled, hook.stats.errors, hook.stats.misses, hook.status])


if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    barrier, queue = context.Barrier(4), context.Queue()
    children = [context.Process(target=work, args=(barrier, queue)) for _ in range(4)]
    for child in children:
        child.start()
    reports = [queue.get(timeout=100) for _ in children]
    for child in children:
        child.join()
    print(json.dumps({{"reports": reports, "codes": [child.exitcode for child in children]}}))
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(method: str, team: Team, python: Python) -> None:
    """The children of multiprocessing, started by any method, compile each module once in total."""
    names = PACK[:30]
    script = team.root / "start.py"
    script.write_text(MULTIPROCESSING.format(cache=str(team.cache), long=LONG, names=names), encoding="utf-8")
    process = python(script, method, PYTHONPATH=str(team.root), PYCACHEHOOK_LOG=str(team.log))
    assert process.stderr == ""
    found = json.loads(process.stdout)
    assert found["codes"] == [0] * 4
    for values, looked_up, errors, misses, status in found["reports"]:
        assert (values, errors, status) == (names, 0, "writable")
        assert looked_up >= len(names)
        assert "lock-timeout" not in misses
    compiled = team.compiled()
    assert {name: compiled[name] for name in names} == dict.fromkeys(names, 1)
    assert (team.faults(), team.temporary()) == ([], [])


INTERPRETERS = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters


def run(number):
    code = f'''
import importlib, json, sys
sys.path.insert(0, {ROOT!r})
import pycachehook
hook = pycachehook.install({CACHE!r}, lock_timeout=100)
before = hook.stats.compiled
values = [importlib.import_module(name).VALUE for name in {NAMES!r}]
with open({ROOT!r} + "/result_{number}", "w") as file:
    json.dump([values, hook.stats.errors, hook.status, hook.reason, hook.stats.misses], file)
hook.uninstall()
'''
    interpreter = interpreters.create()
    error = interpreters.run_string(interpreter, code)
    if error is not None:
        wrong.append(str(error))
    interpreters.destroy(interpreter)


wrong = []
"""


@pytest.mark.parametrize("how", ["in turn", "in threads"])
def test_interpreters(how: str, team: Team) -> None:
    """Each interpreter of a process installs its own hook, and together they compile each module once."""
    pytest.importorskip("_interpreters" if sys.version_info >= (3, 13) else "_xxsubinterpreters")
    count, names = 4, PACK[:20]
    start = "for thread in threads: thread.start()\nfor thread in threads: thread.join()"
    if how == "in turn":
        start = "for thread in threads: thread.start(); thread.join()"
    report = team.run(
        f"NAMES = {names}",
        INTERPRETERS,
        f"threads = [threading.Thread(target=run, args=[number]) for number in range({count})]",
        start,
        "tell(wrong=wrong, held=held(), active=pycachehook.active() is hook)",
    )
    assert report == {"wrong": [], "held": [], "active": True}
    for number in range(count):
        values, errors, status, reason, misses = json.loads((team.root / f"result_{number}").read_text("utf-8"))
        assert (values, errors, status, reason) == (names, 0, "writable", None)
        assert "lock-timeout" not in misses
    compiled = team.compiled()
    assert {name: compiled[name] for name in names} == dict.fromkeys(names, 1)
    assert (team.faults(), team.temporary()) == ([], [])


# Imports `target` in a forked child, and raises KeyboardInterrupt at the pycachehook call with the given number.
INTERRUPTED = """
OURS = ("pycachehook", "filelock")
path = importlib.util.cache_from_source(f"{ROOT}/target.py")
places = []


def attempt(number):
    "Return what is not as it should be, and whether the import was interrupted."
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        name = frame.f_globals.get("__name__", "")
        if event in ("call", "c_return") and name.startswith(OURS):
            count += 1
            if count == number:
                sys.setprofile(None)
                places.append(f"{event} in {frame.f_code.co_qualname} of {name}, line {frame.f_lineno}")
                signal.raise_signal(signal.SIGINT)

    interrupted = False
    sys.setprofile(profile)
    try:
        importlib.import_module("target")
    except KeyboardInterrupt:
        interrupted = True
    finally:
        sys.setprofile(None)
    found = check()
    return [interrupted, f"{found} after a {places[-1]}" if found else None]


def check():
    "Return what is not as it should be after an interrupted import."
    stuck, left = held(), temporary()
    sys.modules.pop("target", None)
    right = importlib.import_module("target").VALUE == "target"
    again = held()
    sys.modules.pop("target", None)
    if stuck or left or again or not right or not os.path.exists(path) or hook.stats.errors:
        return f"locks {stuck} {again}, temporary files {left}, stored {os.path.exists(path)}, {hook.stats.as_dict()}"
    return None


def in_a_child(number):
    read, write = os.pipe()
    child = os.fork()
    if not child:
        os.close(read)
        try:
            result = attempt(number)
        except BaseException as error:
            result = [True, f"{error!r} after a {places[-1:]}"]
        os.write(write, json.dumps(result).encode())
        os._exit(0)
    os.close(write)
    with open(read, "rb") as file:
        result = json.load(file)
    os.waitpid(child, 0)
    return result
"""


def test_keyboard_interrupt_at_every_call(team: Team) -> None:
    """Wherever KeyboardInterrupt is raised, no lock and no temporary file is left, and the next import works."""
    (team.root / "target.py").write_text("VALUE = 'target'\n", encoding="utf-8")
    report = team.run(
        "get('other')",
        INTERRUPTED,
        "interrupted, wrong, number = True, [], 0",
        "while interrupted:",
        "    number += 1",
        "    if os.path.exists(path): os.unlink(path)",
        "    interrupted, found = in_a_child(number)",
        "    if found: wrong.append(found)",
        "tell(wrong=wrong, calls=number)",
        lock_timeout=1,
    )
    assert report["calls"] > 50
    assert report["wrong"] == []


# An interrupt may come in a weak reference's callback of importlib's own, which then prints it. (From Python 3.14 on the
# message names the callback, instead of the object.)
UNRAISABLE = """
def unraisable(what, report=sys.unraisablehook):
    theirs = getattr(what.object, "__module__", "") == "importlib._bootstrap" or "_get_module_lock" in str(what.err_msg)
    if what.exc_type is not KeyboardInterrupt or not theirs:
        report(what)


sys.unraisablehook = unraisable
"""


def test_keyboard_interrupt_at_any_time(team: Team) -> None:
    """After any number of signals during imports nothing is stuck or left, and the next import works."""
    text = (
        f"VALUE = 'target'\nTEXT = {random.Random(1).randbytes(200_000).hex()!r}\n"  # an entry that takes time to write
    )
    (team.root / "target.py").write_text(text, encoding="utf-8")
    report = team.run(
        INTERRUPTED,
        UNRAISABLE,
        "signal.signal(signal.SIGALRM, signal.default_int_handler); drawn, times, wrong = random.Random(3), [], []",
        "def start(delay=0):",
        "    if os.path.exists(path): os.unlink(path)",
        "    sys.modules.pop('target', None)",
        "    try:",
        "        try:",
        "            signal.setitimer(signal.ITIMER_REAL, delay)",
        "            importlib.import_module('target')",
        "        finally:",
        "            signal.setitimer(signal.ITIMER_REAL, 0)",
        "    except KeyboardInterrupt: return 1",
        "    return 0",
        "for _ in range(9):",
        "    began = time.perf_counter(); start(); times.append(time.perf_counter() - began)",
        "usual, interrupted = sorted(times)[4], 0",
        "for number in range(400):",
        "    interrupted += start(drawn.uniform(1e-6, usual))",
        "    if number % 4 == 0 or number == 399: found = check(); wrong += [found] if found else []",
        "tell(wrong=wrong, interrupted=interrupted)",
        lock_timeout=1,
    )
    assert report["interrupted"] > 40
    assert report["wrong"] == []


def test_interrupted_processes(team: Team) -> None:
    """Processes that SIGINT ends in the middle of their imports leave a cache that works for the next one."""
    drawn = random.Random(5)
    interrupted = 0
    for _ in range(10):
        process = team.start(UNRAISABLE, f"tell(ready=True); tell(**get(*{PACK}))")
        assert team.hear(process) == {"ready": True}
        time.sleep(drawn.uniform(0, 0.05))
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(TIMEOUT) in (0, -signal.SIGINT)
        assert errors == "" or errors.endswith("KeyboardInterrupt\n")
        interrupted += errors != ""
    assert interrupted > 0
    assert team.temporary() == []
    report = team.run(f"tell(**get(*{PACK}))", lock_timeout=0)
    assert (report["values"], report["errors"]) == (PACK, 0)
    assert "lock-timeout" not in report["misses"]
    assert report["stored"] == report["compiled"]
