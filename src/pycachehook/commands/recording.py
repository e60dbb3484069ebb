"""What `run --record` writes: the sources that a program imports, in the order in which their bodies began to run."""

import atexit
import os
import stat
import sys
from typing import Any

from pycachehook.errors import ConfigError
from pycachehook.system import READ_FLAGS, read_file
from pycachehook.terminal import visible

_LARGEST = 1 << 24  # bytes: a record of a hundred thousand modules is smaller
_MODE = 0o666  # less umask, as of any other file that a user asks for


def record_at_exit(path: str) -> None:
    """Write the sources of all that is imported to the file `path` when this process exits, one a line.

    First come those of modules that were there before, then the others in the order in which their bodies began to run.
    Raises ConfigError if something else than an earlier record is at `path`.
    """
    path = os.path.abspath(path)
    why = _why_not_replaced(path)
    if why is not None:
        raise ConfigError(f"--record {path} {why}, and is left as it is: name a new file, or remove this one first.")
    began: dict[str, None] = {}

    def note(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "exec":  # which is what runs a module's body, too
            began.setdefault(getattr(arguments[0], "co_filename", ""))

    sys.addaudithook(note)  # PEP 578
    atexit.register(_record, path, began)


def lines(data: bytes) -> list[str]:
    """Return the sources that a record with these bytes names; a name may hold anything but a line feed."""
    return [line for line in data.decode("utf-8", "surrogateescape").split("\n") if line]


def _why_not_replaced(path: str) -> str | None:
    """Return why what is at `path` must not be replaced, in a few words; None for an empty file, a record, or nothing."""
    try:
        mode = os.lstat(path).st_mode
        if not stat.S_ISREG(mode):
            return "is no regular file"
        named = lines(read_file(path, READ_FLAGS, _LARGEST)[0])
    except FileNotFoundError:
        return None
    except OSError as error:
        # What keeps the file from being written, such as a directory that is missing, is told at the end.
        return None if isinstance(error, NotADirectoryError) else f"cannot be read ({error.strerror or error})"
    return None if all(os.path.isabs(name) and name.endswith(".py") for name in named) else "is no record"


def _record(path: str, began: dict[str, None]) -> None:
    origins = [getattr(_spec_of(module), "origin", None) for module in list(sys.modules.values())]
    sources = dict.fromkeys(
        origin for origin in origins if isinstance(origin, str) and origin.endswith(".py") and "\n" not in origin
    )
    ordered = [
        *(source for source in sources if source not in began),
        *(source for source in began if source in sources),
    ]
    why = _why_not_replaced(path)  # the program may have put something there
    try:
        if why is None:
            _write(path, "".join(f"{source}\n" for source in ordered).encode("utf-8", "surrogateescape"))
    except OSError as error:
        why = f"cannot be written: {error.strerror}"
    if why is not None:
        warning = f"pycachehook: warning: the profile {visible(path)} {why}."
        print(warning, file=sys.stderr)  # noqa: T201 -- at the end of the program that runs, without `cli`


def _write(path: str, data: bytes) -> None:
    """Write the file by rename: no link is followed, and nobody reads half a record. Raises OSError."""
    temporary = f"{path}.{os.getpid()}.tmp"
    file = open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, _MODE))  # noqa: SIM115 -- closed below
    try:
        with file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _spec_of(module: object) -> object:
    """Return the module's spec, or None, without a question to the module itself: a lazy one would run its body now."""
    try:
        return object.__getattribute__(module, "__spec__")
    except AttributeError:
        return None
