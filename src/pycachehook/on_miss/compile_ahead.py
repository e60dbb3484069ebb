"""The option `compile_ahead`: starts its processes, and sends them the names of the modules compiled here.

A cold start compiles and executes one module after the other, on one processor. The processes started here run
`commands.ahead_worker`. On the other processors they compile and store the imports of the modules seen so far, so that
this process finds their entries. They start only after some misses, and end with this process at the latest.

Loaded only if the option is set.
"""

import sys

from pycachehook import own_modules
from pycachehook.content_store import records_columns
from pycachehook.events import STORED
from pycachehook.system import BUILTINS, is_foreign, system

__builtins__ = BUILTINS  # so that patches of `builtins` do not reach this module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from pycachehook.events import Event, Stats

MISSES_BEFORE_START = 20  # a start with fewer ends before another interpreter has started

_WORKER = (
    "import sys; sys.path[:0] = [sys.argv.pop()]; from pycachehook.commands.ahead_worker import serve; "
    "del sys.path[0]; serve()"
)
# The worker becomes a child of process 1: the program's own `wait` must not return a process it does not know.
_SHELL, _DETACH = "/bin/sh", '"$@" <&3 3<&- &'


class _Calls:
    """Functions as they were when this module was loaded, out of reach of `unittest.mock` and pyfakefs."""

    def __init__(self) -> None:
        for name in ("pipe", "posix_spawn", "set_blocking", "waitpid"):
            setattr(self, name, getattr(system.os_module, name, None))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> "Callable[..., Any]": ...


_calls = _Calls()


def listen(stats: "Stats", values: "Mapping[str, Any]", *, private: bool, statistics: str) -> None:
    """Attach a `CompileAhead` to `stats`, in place of an earlier one."""
    stats.listeners[:] = [listener for listener in stats.listeners if type(listener) is not CompileAhead]
    stats.listeners.append(CompileAhead(values, private=private, statistics=statistics))


class CompileAhead:
    """A listener of `Stats` that starts the workers after some misses, and sends them the later ones."""

    def __init__(self, values: "Mapping[str, Any]", *, private: bool, statistics: str) -> None:
        self._processes: int = values["compile_ahead"]
        self._settings = {"values": dict(values), "private": private, "stats": statistics}
        self._missed: list[str] = []
        self._pipes: list[tuple[int, int]] = []
        self._started = False

    def __call__(self, event: "Event") -> None:
        """Record an entry that this process has stored. Where nothing can be stored, no worker is useful."""
        if event.event != STORED:
            return
        self._missed.append(event.module)
        if self._started:
            self._tell()
        elif len(self._missed) >= MISSES_BEFORE_START:
            self._started = True
            for number in range(self._processes):
                try:
                    self._start(number)
                except (
                    OSError,
                    ValueError,
                ) as error:  # no shell, too many processes or descriptors: continue without workers
                    if is_foreign(error):
                        raise
                    break
            self._tell()

    def _start(self, number: int) -> None:
        if not sys.executable or _calls.posix_spawn is None:
            return
        settings = {**self._settings, "number": number, "pid": system.getpid(), "path": [*map(str, sys.path)]}
        message = system.dumps(settings)
        reading, writing = _calls.pipe()
        try:
            _calls.set_blocking(writing, False)
            if system.write(writing, len(message).to_bytes(4, "big") + message) < 4 + len(message):
                raise ValueError("the pipe takes less than the settings")
            os_module = system.os_module
            null = (os_module.POSIX_SPAWN_OPEN, 1, "/dev/null", os_module.O_WRONLY, 0)
            actions = [(os_module.POSIX_SPAWN_DUP2, reading, 3), null, (os_module.POSIX_SPAWN_DUP2, 1, 2)]
            shell = _calls.posix_spawn(
                _SHELL, ["sh", "-c", _DETACH, "sh", *_command()], _environment(), file_actions=actions
            )
        except BaseException:
            system.close(reading)
            system.close(writing)
            raise
        self._pipes.append((reading, writing))
        try:
            _calls.waitpid(shell, 0)
        except ChildProcessError as error:  # another thread waits for any child
            if is_foreign(error):
                raise

    def _tell(self) -> None:
        data = "".join(f"{name}\n" for name in self._missed).encode("utf-8", "surrogatepass")
        self._missed.clear()
        # The reading end stays open here, so that an ended worker causes no SIGPIPE; a full pipe is skipped.
        for _, writing in self._pipes:
            try:
                system.write(writing, data)
            except OSError as error:
                if is_foreign(error):
                    raise


def _command() -> list[str]:
    level = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    columns = [] if records_columns() else ["-X", "no_debug_ranges"]
    folder = own_modules.FOLDER.rpartition("/")[0]
    return [sys.executable, "-I", "-S", "-B", *level, *columns, "-c", _WORKER, f"for {system.getpid()}", folder]


def _environment() -> "dict[bytes, bytes]":
    """Return the environment as it was at the start, which may contain the path of the interpreter's libraries."""
    return dict(system.os_module.environ)
