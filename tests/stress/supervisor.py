"""Controls the processes of a run: starts them, kills and stops some at random, and records how each one ends."""

from __future__ import annotations

import contextlib
import json
import os
import random
import selectors
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from .board import EDIT_FIELDS, EDITS, FAULTS, WORKER_FIELDS, WORKERS, Board
from .editor import EDITORS
from .faulter import KINDS
from .mishaps import POINTS
from .settings import PROJECT, Settings, clean_environment

TICK = 0.01  # seconds
KILLS = 1.5  # per second, in addition to those that workers cause themselves
STOPS = 0.7  # per second, likewise
KEPT = 50  # number of reports kept in full


@dataclass
class Child:
    """A process: `role` is "worker", "editor" or "faulter"; `row` a worker's on the board."""

    process: subprocess.Popen[bytes]
    role: str
    row: int
    errors: Path
    since: float = field(default_factory=time.monotonic)  # time of its start, or of its last continuation
    wake: float | None = None  # time at which to continue it, if it is stopped
    killed: str = ""  # why it was killed, if it was


@dataclass
class Record:
    """The events of a run; `dead` are the process ids of those that were killed, on purpose or for hanging."""

    processes: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    stops: int = 0
    hangs: int = 0
    crashes: int = 0
    dead: set[int] = field(default_factory=set)
    reports: list[dict[str, Any]] = field(default_factory=list)

    def report(self, kind: str, pid: int, text: str) -> None:
        """Keep a report, up to a maximum number."""
        if len(self.reports) < KEPT:
            self.reports.append({"kind": kind, "pid": pid, "text": text})


class Supervisor:
    """Runs `workers` importing processes, and the others; `prefix` is put before the command of every worker.

    A worker that has not finished an import for `lock_timeout` plus `patience` seconds hangs.
    """

    def __init__(
        self, settings: Settings, workers: int, kinds: Sequence[str], prefix: Sequence[str], patience: float
    ) -> None:
        self.settings = settings
        self.record = Record()
        self.workers = Board(settings.board(WORKERS), WORKER_FIELDS, workers)
        self.faults = Board(settings.board(FAULTS), tuple(KINDS), 1)
        self.edits = Board(settings.board(EDITS), EDIT_FIELDS, EDITORS)
        self._rows = workers
        self._kinds = kinds
        self._prefix = prefix
        self._bound = settings.lock_timeout + patience
        self._drawn = random.Random(f"{settings.seed}/supervisor")
        self._children: dict[int, Child] = {}
        self._serial = 0
        self._next_kill = self._next_stop = 0.0
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._said = b""

    def run(self, seconds: float) -> Record:
        """Run for this many seconds, then end all processes, and return the record."""
        try:
            self._start_others()
            for row in range(self._rows):
                self._start_worker(row)
            began = time.monotonic()
            self._next_kill, self._next_stop = (began + self._drawn.expovariate(rate) for rate in (KILLS, STOPS))
            while (now := time.monotonic()) < began + seconds:
                self._harass(now)
                self._look_after(now)
                for row in self._free_rows():
                    self._start_worker(row)
                time.sleep(TICK)
            self._stop_all()
        finally:
            for pid in self._children:
                os.kill(pid, signal.SIGKILL)
            os.close(self._writing)
        self._listen()
        os.close(self._reading)
        return self.record

    def _start_others(self) -> None:
        for number in range(EDITORS):
            self._start("editor", number, "tests.stress.editor", self.settings.as_text(), str(number))
        if self._kinds:
            self._start("faulter", 0, "tests.stress.faulter", self.settings.as_text(), json.dumps(self._kinds))

    def _start_worker(self, row: int) -> None:
        self._serial += 1
        arguments = map(str, (self._serial, row, self._rows))
        self._start("worker", row, "tests.stress.worker", self.settings.as_text(), *arguments, prefix=self._prefix)

    def _start(self, role: str, row: int, module: str, *arguments: str, prefix: Sequence[str] = ()) -> None:
        self.record.processes += 1
        errors = Path(self.settings.directory, f"errors-{self.record.processes}")
        with errors.open("wb") as file:
            process = self._spawn([*prefix, sys.executable, "-m", module, *arguments], file)
        self._children[process.pid] = Child(process, role, row, errors)

    def _spawn(self, command: Sequence[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            cwd=PROJECT,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=self._writing,
            stderr=errors,
        )

    def _free_rows(self) -> list[int]:
        taken = {child.row for child in self._children.values() if child.role == "worker"}
        return [row for row in range(self._rows) if row not in taken]

    def _harass(self, now: float) -> None:
        """Kill a worker, and stop one, if it is time."""
        workers = [child for child in self._children.values() if child.role == "worker" and not child.killed]
        if workers and now >= self._next_kill:
            self._next_kill = now + self._drawn.expovariate(KILLS)
            victim = self._drawn.choice(workers)
            victim.killed = "at any time"
            os.kill(victim.process.pid, signal.SIGKILL)
        workers = [child for child in workers if not child.killed and child.wake is None]
        if workers and now >= self._next_stop:
            self._next_stop = now + self._drawn.expovariate(STOPS)
            os.kill(self._drawn.choice(workers).process.pid, signal.SIGSTOP)

    def _look_after(self, now: float) -> None:
        """Handle processes that have ended or stopped, continue stopped ones, and detect those that hang."""
        self._listen()
        for child in list(self._children.values()):
            pid, status = os.waitpid(child.process.pid, os.WNOHANG | os.WUNTRACED)
            if pid and os.WIFSTOPPED(status):
                self.record.stops += 1
                child.wake = now + self._nap()
            elif pid:
                child.process.returncode = os.waitstatus_to_exitcode(status)
                self._bury(child)
            elif child.wake is not None and now >= child.wake:
                child.wake, child.since = None, now
                os.kill(child.process.pid, signal.SIGCONT)
            elif child.role == "worker" and child.wake is None and not child.killed:
                self._check_progress(child, now)

    def _nap(self) -> float:
        """Return how many seconds a process stays stopped, sometimes longer than the lock timeout."""
        if self._drawn.random() < 0.6:
            return self._drawn.uniform(0.0, 0.5)
        return self.settings.lock_timeout + self._drawn.uniform(0.0, 1.5)

    def _check_progress(self, child: Child, now: float) -> None:
        progress = self.workers.get(child.row, "progress") / 1e9
        if now - max(progress, child.since) > self._bound:
            self._hang(child)

    def _hang(self, child: Child) -> None:
        """Count a process that makes no progress, have it print its traceback, and kill it."""
        self.record.hangs += 1
        child.killed = "for hanging"
        where = _kernel_state(child.process.pid)
        os.kill(child.process.pid, signal.SIGCONT)
        os.kill(child.process.pid, signal.SIGUSR1)  # the signal of faulthandler
        time.sleep(1.0)
        trace = child.errors.read_text(errors="replace")
        self.record.report("hang", child.process.pid, f"{child.role} {where}: {trace}")
        child.errors.write_bytes(b"")
        os.kill(child.process.pid, signal.SIGKILL)

    def _bury(self, child: Child) -> None:
        """Record how a process has ended, and its output, which should be empty."""
        del self._children[child.process.pid]
        code = child.process.returncode
        point = self.workers.get(child.row, "intent") if child.role == "worker" else 0
        if point:
            self.workers.put(child.row, "intent", 0)
        if code == -signal.SIGKILL and (point or child.killed):
            self.record.kills[POINTS[point - 1] if point else child.killed] += 1
            self.record.dead.add(child.process.pid)
        elif code:
            self.record.crashes += 1
            self.record.report("crash", child.process.pid, f"{child.role} ended with {code}")
        said = child.errors.read_text(errors="replace")
        if said:
            self.record.crashes += not code
            self.record.report("output", child.process.pid, f"{child.role} said: {said}")
        child.errors.unlink()

    def _listen(self) -> None:
        """Read the workers' reports."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._reading, selectors.EVENT_READ)
            while selector.select(0):
                data = os.read(self._reading, 1 << 16)
                if not data:
                    break
                self._said += data
        *lines, self._said = self._said.split(b"\n")
        for line in lines:
            try:
                told = json.loads(line)
            except ValueError:
                self.record.report("report", 0, line.decode(errors="replace"))
            else:
                self.record.report(told["kind"], told["pid"], f"{told['subject']}: {told['text']}")

    def _stop_all(self) -> None:
        """Let all processes finish their work; one that does not hangs."""
        for board in (self.faults, self.edits, self.workers):
            board.stop()
        deadline = time.monotonic() + self._bound
        while self._children and time.monotonic() < deadline:
            for child in self._children.values():
                if child.wake is not None:
                    child.wake = 0.0
            self._look_after(time.monotonic())
            time.sleep(TICK)
        for child in list(self._children.values()):
            if not child.killed:
                self._hang(child)
            child.process.wait()
            self._bury(child)


def _kernel_state(pid: int) -> str:
    """Return the kernel's information about a process that makes no progress; Linux only."""
    told = []
    for name in ("wchan", "syscall"):
        with contextlib.suppress(OSError):
            told.append(f"{name} " + Path(f"/proc/{pid}/{name}").read_text(encoding="utf-8").rpartition(")")[2].strip())
    return "; ".join(told)
