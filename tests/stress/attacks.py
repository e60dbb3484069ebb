"""The attacks, and the checks after each."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from .settings import PROJECT, clean_environment
from .victim import BEGIN, END, NAMES

VICTIM = f"{os.path.dirname(os.path.abspath(__file__))}/victim.py"
VALUES = {name: f"value of {name}" for name in NAMES}
TEXT = "".join(f"def function_{number}(a, b={number}):\n    return a + b\n" for number in range(60))

WAYS: dict[str, dict[str, Any]] = {
    "mirror": {},
    "shared": {"layout": "shared"},
    "unchecked-hash": {"invalidation_mode": "unchecked-hash"},
    "timestamp": {"invalidation_mode": "timestamp"},
    "checked archive": {"archives": "checked-hash"},
    "unchecked archive": {"archives": "unchecked-hash"},
}
STATES = ("cold", "warm")

# Calls that change nothing, that the interpreter itself needs, or that strace cannot make fail in one process only.
LEFT_ALONE = {"brk", "mmap", "munmap", "mremap", "mprotect", "rt_sigaction", "rt_sigprocmask", "futex", "exit_group"}
ERRORS = (
    "EIO",
    "EACCES",
    "ENOSPC",
    "EMFILE",
    "ENOMEM",
    "EINTR",
    "ENOENT",
    "EROFS",
    "ESTALE",
    "EPERM",
    "ENOSYS",
    "EAGAIN",
)
TIMEOUT = 120.0  # seconds after which a process hangs


class Call(NamedTuple):
    """A system call of the traced import: the `number`-th with its name in the process; `line` is the trace's line."""

    name: str
    number: int
    line: str


class Result(NamedTuple):
    """The result of one attack: `fault` is a sentence, or None.

    `raised` says that an import failed as it does without the hook.
    """

    fault: str | None
    raised: bool = False


class Field:
    """One tree with one cache in one of the `WAYS`, in its own directory."""

    def __init__(self, root: str, way: str) -> None:
        self.root = root
        self.tree, self.cache, self.trace = f"{root}/tree", f"{root}/disk/cache", f"{root}/trace.txt"
        self.options = dict(WAYS[way])
        self._way = way
        self._warm = f"{root}/warm"
        os.makedirs(f"{self.tree}/package")
        os.makedirs(f"{root}/disk")
        for name, value in VALUES.items():
            path = f"{self.tree}/{name.replace('.', '/')}" + ("/__init__.py" if name == "package" else ".py")
            with open(path, "w", encoding="utf-8") as file:
                file.write(f"{TEXT}value = {value!r}\n")
        if "archives" in self.options:
            out = f"{root}/tree.pyca"
            build = ("-m", "pycachehook", "archive", "build", "--invalidation-mode", self.options["archives"])
            self._run([sys.executable, *build, "--path", self.tree, out], check=True)
            self.options["archives"] = [out]
        self.prepare("cold")
        assert self.run() is not None
        assert self.run() is not None  # writes nothing more
        shutil.copytree(self.cache, self._warm)

    def prepare(self, state: str) -> None:
        """Make an empty cache, or a full one."""
        shutil.rmtree(self.cache, ignore_errors=True)
        if state == "warm":
            shutil.copytree(self._warm, self.cache)

    def _run(self, command: list[str], *, check: bool = False) -> subprocess.CompletedProcess[str]:
        environment = {**clean_environment(), "HOME": self.root, "PYTHONHASHSEED": "0"}
        return subprocess.run(
            command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=check, timeout=TIMEOUT
        )

    def command(self, *more: str) -> list[str]:
        """Return the victim's command."""
        return [sys.executable, VICTIM, self.tree, self.cache, json.dumps(self.options), *more]

    def run(self, *prefix: str, more: tuple[str, ...] = ()) -> dict[str, Any] | None:
        """Run the victim; return its JSON output, or None if its output is anything else."""
        done = self._run([*prefix, *self.command(*more)])
        if done.returncode or done.stderr:
            self.said = f"exit code {done.returncode}: {done.stderr[-500:]}"
            return None
        said: dict[str, Any] = json.loads(done.stdout)
        return said

    def calls(self) -> list[Call]:
        """Return the system calls between the two marks."""
        self.run("strace", "-qq", "-o", self.trace)
        with open(self.trace, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
        counts: dict[str, int] = {}
        found, inside = [], False
        for line in lines:
            match = re.match(r"(\w+)\(", line)
            if match is None:
                continue
            counts[match[1]] = counts.get(match[1], 0) + 1
            if BEGIN in line or END in line:
                inside = BEGIN in line
            elif inside and match[1] not in LEFT_ALONE:
                found.append(Call(match[1], counts[match[1]], line))
        return found

    def temporaries(self) -> list[str]:
        """Return the temporary files in the cache."""
        return [
            f"{folder}/{name}" for folder, _, names in os.walk(self.cache) for name in names if name.endswith(".tmp")
        ]

    def aftermath(self, allowed: int) -> str | None:
        """Return the first defect after an attack, or None; at most this many temporary files may be left."""
        left = self.temporaries()
        if len(left) > allowed:
            return f"left over: {left}"
        for number in (1, 2):
            said = self.run()
            if said is None or said.get("values") != VALUES:
                return f"process {number} afterwards: {said or self.said}"
            if number == 2 and (said["compiled"] or said["errors"]):
                return f"process {number} afterwards compiled, or met faults: {said}"
        return None


def judge(field: Field, said: Mapping[str, Any] | None, line: str = "") -> Result:
    """Return whether imports had the results that they have on a standard interpreter.

    There they may fail only for the system calls that find and read a source: those for paths in the tree.
    """
    if said is None:
        return Result(field.said)
    if "install" in said:
        return Result(f"install() raised {said['install']}")
    wrong = {name: value for name, value in said["values"].items() if value != VALUES[name]}
    if not wrong:
        return Result(None)
    expected = {"OSError", "PermissionError", "FileNotFoundError", "ModuleNotFoundError", "BlockingIOError"}
    if "O_DIRECTORY" in line or line.startswith("getdents"):  # which CPython does not repeat, see PEP 475
        expected.add("InterruptedError")
    if set(wrong.values()) <= expected and field.tree in line:
        return Result(None, raised=True)
    return Result(f"imports came to {wrong}")


def errors_of_calls(field: Field, state: str, every: int, drawn: random.Random) -> Iterator[tuple[str, Result]]:
    """Make system calls fail one at a time, at intervals of `every`, with a random error."""
    field.prepare(state)
    calls = field.calls()
    files: dict[str, str] = {}
    for number, call in enumerate(calls):
        opened = re.search(r'openat\(AT_FDCWD, "([^"]*)".* = (\d+)$', call.line)
        if opened is not None:
            files[opened[2]] = opened[1]
        if number % every != every - 1:
            continue
        error = drawn.choice(ERRORS)
        field.prepare(state)
        inject = f"inject={call.name}:error={error}:when={call.number}"
        said = field.run("strace", "-qq", "-o", field.trace, "-e", inject)
        of_file = re.match(r"\w+\((\d+)", call.line)
        line = f"{call.line} {files.get(of_file[1], '') if of_file is not None else ''}"
        result = judge(field, said, line)
        if result.fault is None:
            fault = field.aftermath(allowed=int(call.name.startswith("unlink")))
            result = Result(fault, result.raised)
        yield f"{error} in {line}", result


def kills(field: Field, state: str, every: int, drawn: random.Random) -> Iterator[tuple[str, Result]]:
    """Kill the process at each system call that could change the cache, and at some others."""
    field.prepare(state)
    changing = {"openat", "write", "rename", "mkdir", "flock", "close", "unlink", "fchmod", "fchown", "utimensat"}
    calls = field.calls()
    for number, call in enumerate(calls):
        often = every if call.name in changing else 5 * every
        if number % often != often - 1:
            continue
        field.prepare(state)
        inject = f"inject={call.name}:signal=SIGKILL:when={call.number}"
        field.run("strace", "-qq", "-o", field.trace, "-e", inject)
        yield f"SIGKILL at {call.line}", Result(field.aftermath(allowed=1))


def kills_at_random(field: Field, state: str, every: int, drawn: random.Random) -> Iterator[tuple[str, Result]]:
    """Kill the process after a random number of microseconds."""
    for _ in range(max(1, 40 // every)):
        field.prepare(state)
        environment = {**clean_environment(), "HOME": field.root}
        process = subprocess.Popen(
            field.command(), cwd=PROJECT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        after = drawn.uniform(0, 0.3)
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        yield f"SIGKILL after {after:.4f} s", Result(field.aftermath(allowed=1))


def filters(field: Field, state: str, every: int, drawn: random.Random) -> Iterator[tuple[str, Result]]:
    """Make the kernel refuse kinds of system calls for the whole import."""
    families = (["flock"], ["rename", "renameat"], ["mkdir", "mkdirat"], ["fchmod", "fchown"], ["utimensat"], ["write"])
    others = (
        ["getresuid"],
        ["readlink", "readlinkat"],
        ["access", "faccessat", "faccessat2"],
        ["lseek"],
        ["madvise"],
        ["unlink", "unlinkat"],
    )
    cases = [(names, error) for names in (*families, *others) for error in ("EPERM", "ENOSYS", "EINVAL")]
    for names, error in drawn.sample(cases, max(1, len(cases) // every)):
        if names == ["write"]:
            continue  # the victim could not print anything
        field.prepare(state)
        said = field.run(more=(json.dumps([names, error]),))
        result = judge(field, said)
        if result.fault is None:
            result = Result(field.aftermath(allowed=len(NAMES) if names[0] == "unlink" else 0))
        yield f"{error} for {names}", result


def disks(field: Field, state: str, every: int, drawn: random.Random) -> Iterator[tuple[str, Result]]:
    """Put the cache on a disk that becomes full, or that is read-only."""
    cases = [f"size={size}k" for size in range(4, 80, 4)] + [f"nr_inodes={number}" for number in range(2, 22)] + ["ro"]
    disk = f"{field.root}/disk"
    for case in drawn.sample(cases, max(1, len(cases) // every)):
        field.prepare(state)
        mount = f"mount -t tmpfs -o {case if case != 'ro' else 'size=1m'} tmpfs {disk}"
        copy = f"cp -r {field.root}/warm {field.cache}" if state == "warm" else "true"
        ro = f"mount -o remount,ro {disk}" if case == "ro" else "true"
        left = f'test -z "$(find {disk} -name "*.tmp")" || echo left-over >&2'
        script = f'set -e; {mount}; {copy} 2>/dev/null || true; {ro}; "$@"; {left}'
        result = judge(field, field.run("unshare", "--mount", "sh", "-c", script, "sh"))
        yield f"a disk with {case}", result


KINDS = {
    "system calls that fail": errors_of_calls,
    "killed at system calls": kills,
    "killed at any time": kills_at_random,
    "seccomp filters": filters,
    "full and read-only disks": disks,
}
