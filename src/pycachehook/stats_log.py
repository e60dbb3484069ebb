"""Output of statistics and a log, where the environment asks for them; otherwise this module is not loaded.

Start-up module where it is loaded: imports nothing at module level that the interpreter has not already loaded, except
`atexit`, which is built in.
"""

import atexit
import sys

from .events import FAULT, HIT, MISS, Event, Stats
from .system import BUILTINS, S_IFMT, S_IFREG, is_foreign, system
from .terminal import to_json, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module

STDERR = "stderr"  # the only target that is not a file

_VERSION = sys.version.split()[0]
_constants = system.os_module

# Links are not followed, FIFOs are not waited for, and new files are private, because lines contain paths and
# arguments.
FLAGS = _constants.O_WRONLY | _constants.O_APPEND | _constants.O_CREAT
for _name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_NOCTTY", "O_BINARY", "O_NOINHERIT"):
    FLAGS |= getattr(_constants, _name, 0)
MODE = 0o600

_written_at_exit: "dict[str, list[Stats]]" = {}  # by target


def open_log(target: str) -> "Callable[[str], None]":
    """Return a function that appends one line of text to the file `target`, or to standard error for "stderr".

    A line that cannot be written is dropped, because a full disk must not break an import. All lines are dropped if
    `target` is not a regular file, or is relative to a current directory that has been removed; or if standard error
    was closed when Python was started, because a file of the program may have its number then.
    """
    path = absolute_target(target) if target != STDERR else target if sys.__stderr__ is not None else ""

    def log(text: str) -> None:
        append(path, f"pycachehook[{system.getpid()}]: {visible(text)}\n")

    return log


def log_events(target: str) -> "Callable[[Event], None]":
    """Return a listener that logs each hit, miss and fault, as one line each."""
    log = open_log(target)

    def listener(event: Event) -> None:
        text = event_line(event)
        if text:
            log(text)

    return listener


def event_line(event: Event) -> str:
    """Return an event as text, or "" if the line of another event includes it."""
    if event.event == HIT:
        return f"{event.module}: hit ({event.place}) {event.path}"
    if event.event == MISS:
        stored = " and stored" if event.place else ""
        return f"{event.module}: miss ({event.reason}) {event.path}, compiled{stored}"
    return f"fault: {event.reason}" if event.event == FAULT else ""


def write_at_exit(stats: Stats, target: str) -> None:
    """Append `stats` to the file `target` as one line of JSON when this process, or a forked child of it, exits.

    If it is called several times, because a hook has been installed again, one line with the sums is written. A process
    that is killed, replaced by `exec` or ended by `os._exit` writes nothing.
    """
    path = absolute_target(target)
    several = _written_at_exit.setdefault(path, [])
    several.append(stats)
    if len(several) == 1:
        atexit.register(_write, several, path)
        if system.register_at_fork is not None:
            system.register_at_fork(after_in_child=lambda: _reset(several))


def line(stats: Stats) -> str:
    """Return the counters of this process as one line of JSON."""
    arguments = getattr(sys, "argv", None)
    name = arguments[0] if isinstance(arguments, list) and arguments else ""
    record = {"pid": system.getpid(), "python": _VERSION, "argv0": name if isinstance(name, str) else ""}
    return to_json({**record, **stats.as_dict()}) + "\n"


def absolute_target(target: str) -> str:
    """Return `target` made absolute, or "" if the current directory has been removed."""
    windows_path = system.windows and (target[1:2] == ":" or target[:1] == "\\")
    if not target or target[:1] == "/" or windows_path:
        return target
    try:
        return f"{system.getcwd()}/{target}"
    except OSError:
        return ""


def _reset(several: list[Stats]) -> None:
    for stats in several:
        stats.reset()


def _write(several: list[Stats], target: str) -> None:
    total = Stats()
    for stats in several:
        total.add(stats)
    append(target, line(total))


def append(target: str, text: str) -> None:
    """Append `text` in one call with O_APPEND, so that lines of different processes are not interleaved."""
    data = text.encode("utf-8", "backslashreplace")
    try:
        if target == STDERR:
            system.write(2, data)
            return
        descriptor = system.open(target, FLAGS, MODE)
        try:
            if system.fstat(descriptor).st_mode & S_IFMT == S_IFREG:
                system.write(descriptor, data)
        finally:
            system.close(descriptor)
    except (OSError, ValueError) as error:  # ValueError: a null character in the target
        if is_foreign(error):
            raise
