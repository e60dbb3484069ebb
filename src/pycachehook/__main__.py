"""What the command `pycachehook` and `python -m pycachehook` start with."""

import gc
import signal
import sys

_THRESHOLD = 100_000  # objects: commands that take no longer than a start collect nothing


def start() -> int:
    """Run one command and return its exit code; an interruption while it is loaded is one line, too."""
    runs_program = sys.argv[1:2] == ["run"]  # then the interpreter goes on after it as after any program
    if not runs_program:
        gc.set_threshold(_THRESHOLD)
    try:
        from .cli.main import main
    except KeyboardInterrupt:
        sys.stderr.write("pycachehook: error: interrupted\n")
        return 130
    code = main()
    if not runs_program:
        gc.freeze()  # so that the interpreter's exit does not visit all that was imported
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code


if __name__ == "__main__":
    sys.exit(start())
