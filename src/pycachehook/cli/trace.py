"""`run --trace` and the commands of `trace`: each calls a function of `commands` and prints the result."""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO

from pycachehook.errors import ConfigError, PycacheHookError

from .printing import EXIT_DONE, EXIT_FAILED, complain, say, say_json, say_wrapped

if TYPE_CHECKING:
    from pycachehook.commands.trace import Process

_RUN_OPTIONS = ("--trace", "--runs", "--lazy")  # each takes a value
_MODULES_SHOWN = 20
_HIDDEN = 100.0  # microseconds; smaller differences are not shown


def record(parsed: argparse.Namespace) -> int:
    """Run the program in separate processes, write the recording, print a summary, and return the program's exit code.

    A signal that ends the program then ends this process, too, as if it had run the program itself. That the recording
    cannot be written is reported, and does not change the exit code.
    """
    from pycachehook.commands import lazy_policy, trace_output

    if parsed.trace is None:
        option = "--runs" if parsed.lazy is None else "--lazy"
        raise ConfigError(f"{option} is for --trace FILE, which is missing.")
    if sys.flags.ignore_environment:
        raise ConfigError("Nothing can be recorded under -E or -I, which ignore PYCACHEHOOK_TRACE: run Python without.")
    trace_output.writer_of(parsed.trace)
    if parsed.lazy is not None:
        lazy_policy.check_target(parsed.lazy)
    codes: list[int] = []
    last = None
    try:
        last = _recorded_runs(parsed, codes)
    except (OSError, PycacheHookError) as error:
        if not codes and isinstance(error, FileNotFoundError):  # no directory for temporary files: `main` says so
            raise
        why = f"The recording cannot be written: {error.strerror}." if isinstance(error, OSError) else error
        complain(f"pycachehook: error: {why}")
    code = codes[-1] if codes else EXIT_FAILED
    if code < 0:
        with suppress(OSError):  # SIGKILL has no handler
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    if last is None or parsed.lazy is None:
        return code
    return EXIT_FAILED if _propose_lazy(parsed, last, code) else code


def _recorded_runs(parsed: argparse.Namespace, codes: list[int]) -> "Process":
    """Run the program, append its exit codes to `codes`, write the recording and a summary; return the last process."""
    from pycachehook.commands import trace, trace_output, trace_summary

    with tempfile.TemporaryDirectory(prefix="pycachehook-trace-", ignore_cleanup_errors=True) as folder:
        for _ in range(parsed.runs):
            codes.append(_recorded_run(_command(parsed), folder))
            if codes[-1] < 0:
                break
        processes = trace.read(folder)
    last = trace.runs(processes)[-1]
    if not last.python:
        raise PycacheHookError("Nothing was recorded: the hook is not active in the program (PYCACHEHOOK_DISABLE).")
    trace_output.write(processes, parsed.trace)
    for line in trace_summary.lines(last):
        _say_line(line, sys.stderr)
    complain(f"wrote {parsed.trace}")
    return last


def _say_line(line: str, stream: TextIO) -> None:
    """Print a line of a summary, wrapped on a narrow terminal."""
    text = line.lstrip()
    say_wrapped(text, " " * (len(line) - len(text)), stream)


def _propose_lazy(parsed: argparse.Namespace, process: "Process", expected: int) -> int:
    """Run the program with lazy imports, write the policy, and return whether that failed."""
    from pycachehook.commands import lazy_policy

    with tempfile.TemporaryDirectory(prefix="pycachehook-lazy-") as folder:
        file = f"{folder}/observed.json"
        code = subprocess.run(_command(parsed, "--observe-lazy", file), check=False).returncode
        try:
            if code != expected:
                raise ValueError
            proposal = lazy_policy.propose(process, file)
        except (OSError, ValueError):
            complain(
                f"pycachehook: error: No lazy imports can be proposed: with all imports lazy, the program ended with "
                f"exit code {code} instead of {expected}, or before its exit functions ran."
            )
            return EXIT_FAILED
    for line in lazy_policy.lines(proposal, parsed.lazy):
        complain(line)
    try:
        lazy_policy.write(proposal, parsed.lazy)
    except OSError as error:
        complain(f"pycachehook: error: The policy {parsed.lazy} cannot be written: {error.strerror}.")
        return EXIT_FAILED
    return EXIT_DONE


def _command(parsed: argparse.Namespace, *more: str) -> list[str]:
    """Return the command line that runs the same program with the same options, but without recording."""
    own = [*parsed.own]
    program = parsed.arguments[1 + len(own) :]
    kept = []
    while own:
        word = own.pop(0)
        if word in _RUN_OPTIONS:
            del own[:1]
        elif word.partition("=")[0] not in _RUN_OPTIONS:
            kept.append(word)
    interpreter = sys.orig_argv[1 : len(sys.orig_argv) - len(parsed.arguments)]
    return [sys.executable, *interpreter, "run", *kept, *more, *program]


def _recorded_run(command: Sequence[str], folder: str) -> int:
    """Run the command to its end, and return its exit code, or the negative number of the signal that ended it."""
    environment = {**os.environ, "PYCACHEHOOK_TRACE": folder}
    began = time.time_ns()
    process = subprocess.Popen(command, env=environment)
    previous = {number: signal.signal(number, _passing_on(process)) for number in _signals()}
    try:
        code = process.wait()
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    ended = time.time_ns()
    event = f'{{"ph": "X", "name": "process", "cat": "process", "ts": {began / 1000}, "dur": {(ended - began) / 1000}, '
    with open(f"{folder}/{process.pid}-whole.json", "w", encoding="ascii") as file:
        file.write(f'[{event}"pid": {process.pid}, "tid": 0, "args": {{}}}}]\n')
    return code


def _signals() -> list[signal.Signals]:
    return [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def _passing_on(process: "subprocess.Popen[bytes]") -> Callable[[int, Any], None]:
    def handle(number: int, _frame: object) -> None:
        if number != signal.SIGINT:  # a terminal sends SIGINT to all its foreground processes
            with suppress(OSError):
                process.send_signal(number)

    return handle


def _merge(parsed: argparse.Namespace) -> int:
    from pycachehook.commands import trace, trace_output

    trace_output.writer_of(parsed.out)
    processes = trace.read(parsed.recording)
    trace_output.write(processes, parsed.out)
    say(f"wrote {parsed.out}: {len(processes)} process{'es' if len(processes) > 1 else ''}")
    return EXIT_DONE


def _show(parsed: argparse.Namespace) -> int:
    from pycachehook.commands import trace, trace_summary

    for process in trace.read(parsed.recording):
        for line in trace_summary.lines(process):
            _say_line(line, sys.stdout)
    return EXIT_DONE


def _diff(parsed: argparse.Namespace) -> int:
    from pycachehook.commands import trace

    compared = trace.compare(trace.read(parsed.before), trace.read(parsed.after))
    limit = parsed.fail_above
    grown = compared.after - compared.before
    failed = limit is not None and grown > compared.before * limit / 100 and grown > compared.noise
    if parsed.json:
        say_json({**compared.as_dict(), "failed": failed})
        return EXIT_FAILED if failed else EXIT_DONE
    say(
        f"{_ms(compared.before)} before, {_ms(compared.after)} after: {compared.ratio:.3f} (noise {_ms(compared.noise)})"
    )
    shown = [each for each in compared.modules if abs(each.after - each.before) > max(_HIDDEN, each.noise)]
    for each in shown[:_MODULES_SHOWN]:
        say(f"  {_ms(each.after - each.before, sign=True):>12}  {_ms(each.before)} -> {_ms(each.after)}  {each.module}")
    if not shown:
        say("no module differs by more than its noise")
    if failed:
        complain(f"pycachehook: error: The start takes {compared.ratio - 1:.1%} longer; at most {limit:g}% is allowed.")
    return EXIT_FAILED if failed else EXIT_DONE


def _ms(microseconds: float, *, sign: bool = False) -> str:
    return f"{microseconds / 1000:{'+' if sign else ''}.1f} ms"


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"show": _show, "merge": _merge, "diff": _diff}
