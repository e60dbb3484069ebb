"""The entry point of the command `pycachehook` and of `python -m pycachehook`."""

import gc
import signal
import sys

_THRESHOLD = 100_000  # objects: more than a short command creates, so that it runs without collections


def start() -> int:
    """Run one command and return its exit code; Ctrl-C while it is being loaded prints one line, not a traceback."""
    runs_program = sys.argv[1:2] == ["run"]  # afterwards the interpreter exits as after any program
    if not runs_program:
        gc.set_threshold(_THRESHOLD)
    try:
        from .commands import lazy_imports

        lazy_imports.disable()
        from .cli.main import main
    except KeyboardInterrupt:
        sys.stderr.write("pycachehook: error: interrupted\n")
        return 130
    code = main()
    if not runs_program:
        gc.freeze()  # so that the interpreter's exit does not visit all imported objects
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code


if __name__ == "__main__":
    sys.exit(start())
