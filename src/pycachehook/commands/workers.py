"""Processing of many files in several processes, for `precompile` and `archive build`.

The processes are not started by `multiprocessing`, for three reasons: they import nothing from the current directory, a
source that crashes the process is one failure and does not end the command, and no process is left behind when the
command is interrupted.

The data in the pipes is pickled; both ends belong to the same user.
"""

import importlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from pycachehook._compat import interpreter_flags
from pycachehook.content_store import records_columns
from pycachehook.errors import PycacheHookError

TASKS_PER_BATCH = 8  # consecutive tasks for one process, which usually are in the same directory
STOP_TIMEOUT = 2.0  # seconds that a process may take to finish its task when it is stopped

_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_CHILD = "import sys; sys.path.append(sys.argv.pop()); from pycachehook.commands.workers import serve; serve()"

_NO_ANSWER = (EOFError, OSError, ValueError, pickle.UnpicklingError)  # ValueError: `stop` has closed the pipe

Task = TypeVar("Task")
Done = TypeVar("Done")


@contextmanager
def in_processes(
    work: Callable[[Task], Done],
    tasks: Sequence[Task],
    jobs: int,
    lost: Callable[[Task, str], Done],
    *,
    prepare: Callable[..., object],
    arguments: Sequence[object],
) -> Iterator[Iterator[Done]]:
    """Give an iterator over the results of `work` for each task, in their order, from `jobs` processes.

    Each process first calls `prepare` with `arguments`; both functions are imported by name. If a process ends without
    an answer, `lost` is called in this process with the task and the reason, and its result is used instead. All
    processes have ended when the block is left. Raises `PycacheHookError` if no process can be started.
    """
    names = [(function.__module__, function.__qualname__) for function in (work, prepare)]
    pool = _Pool(pickle.dumps((names, arguments)), lost)
    batches = [tasks[start : start + TASKS_PER_BATCH] for start in range(0, len(tasks), TASKS_PER_BATCH)]
    threads = ThreadPoolExecutor(jobs)
    try:
        yield (done for batch in threads.map(pool.run, batches) for done in batch)
    finally:
        pool.stop()
        threads.shutdown(cancel_futures=True)
        pool.close()


class _Pool:
    """The processes, one per thread that calls `run`."""

    def __init__(self, first_message: bytes, lost: Callable[[Any, str], Any]) -> None:
        self._first_message = first_message
        self._lost = lost
        self._mine = threading.local()
        self._all: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, batch: Sequence[Any]) -> list[Any]:
        """Return the answers to some tasks from this thread's process, which is started first if necessary."""
        answers = []
        for task in batch:
            process = getattr(self._mine, "process", None)
            if process is None:
                process = self._mine.process = self._start()
            try:
                answers.append(_ask(process, pickle.dumps(task)))
            except _NO_ANSWER:
                if self._stopped:
                    break
                self._mine.process = None
                answers.append(self._lost(task, f"the process that compiled it ended ({_ending(process)})"))
        return answers

    def stop(self) -> None:
        """Stop all processes: idle ones end at once, the others are killed after `STOP_TIMEOUT`."""
        with self._lock:
            self._stopped = True
        for process in self._all:
            with suppress(OSError, ValueError):
                process.stdin.close()  # type: ignore[union-attr]
        for process in self._all:
            try:
                process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def close(self) -> None:
        """Close the pipes, when no thread uses them any more."""
        for process in self._all:
            for pipe in (process.stdin, process.stdout):
                with suppress(OSError):  # data that could not be sent to an ended process
                    pipe.close()  # type: ignore[union-attr]

    def _start(self) -> subprocess.Popen[bytes]:
        # A separate process group: Ctrl-C in a terminal reaches only the command, which stops the processes.
        own_group: dict[str, Any] = {"creationflags": 0x200} if os.name == "nt" else {"process_group": 0}
        with self._lock:
            if self._stopped:
                raise PycacheHookError("The command has been interrupted.")
            command = [sys.executable, *_flags(), "-c", _CHILD, _PACKAGES]
            try:
                process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **own_group)
            except OSError as error:
                raise PycacheHookError(f"No process can be started to compile in: {error.strerror}.") from None
            self._all.append(process)
        try:
            _ask(process, self._first_message)
        except _NO_ANSWER:
            raise PycacheHookError(f"A process to compile in ended at its start ({_ending(process)}).") from None
        return process


def _ask(process: subprocess.Popen[bytes], pickled: bytes) -> Any:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(pickled)
    process.stdin.flush()
    return pickle.load(process.stdout)  # noqa: S301 -- from a child process of this one


def _ending(process: subprocess.Popen[bytes]) -> str:
    code = process.wait()
    return f"signal {-code}" if code < 0 else f"exit code {code}"


def _flags() -> list[str]:
    """Return the interpreter options that affect compilation, and `-P`, which keeps `sys.path` safe."""
    flags = interpreter_flags()
    if not records_columns():
        flags += ["-X", "no_debug_ranges"]
    return [*flags, "-P"]


def serve() -> None:
    """Answer tasks until there are no more; runs in the child."""
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)  # output during a compilation must not mix with the answers
    names, arguments = pickle.load(requests)  # noqa: S301 -- from the parent
    work, prepare = [getattr(importlib.import_module(module), name) for module, name in names]
    prepare(*arguments)
    answer: object = None
    while True:
        pickle.dump(answer, answers)
        answers.flush()
        try:
            task = pickle.load(requests)  # noqa: S301 -- from the parent
        except EOFError:
            return
        answer = work(task)
