"""What the command `pycachehook` and `python -m pycachehook` start with."""

import signal
import sys


def start() -> int:
    """Run one command and return its exit code; an interruption while it is loaded is one line, too."""
    try:
        from .cli.main import main
    except KeyboardInterrupt:
        sys.stderr.write("pycachehook: error: interrupted\n")
        return 130
    runs_program = sys.argv[1:2] == ["run"]  # then the interpreter goes on after it as after any program
    code = main()
    if not runs_program:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    return code


if __name__ == "__main__":
    sys.exit(start())
