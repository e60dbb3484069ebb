"""The command line: each command calls a function of `commands` and prints the result."""

import errno
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress

from pycachehook.errors import ConfigError, PycacheHookError
from pycachehook.paths import why_no_default_cache_dir

from . import printing
from .printing import EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, complain, say, say_json
from .quick import parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from pycachehook.config.options import Options


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 a problem or failure, 2 wrong usage, 130 interrupted.

    Raises SystemExit after help and for wrong usage; for `run`, raises what the program raises.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    with _standard_streams():
        outcome = _outcome(arguments)
    if isinstance(outcome, int):
        return outcome
    outcome()  # runs the program, and raises what it raises
    return EXIT_DONE


def _outcome(arguments: Sequence[str]) -> int | Callable[[], None]:
    """Return a command's exit code, or the program to run; an error is reported as one line on standard error."""
    try:
        try:
            parsed = parse(arguments)
            return COMMANDS[parsed.command](parsed)
        finally:
            sys.stdout.flush()
    except ConfigError as error:
        return _complain(error, EXIT_USAGE)
    except PycacheHookError as error:
        return _complain(error, EXIT_FAILED)
    except KeyboardInterrupt:
        return _complain("interrupted", EXIT_INTERRUPTED)
    except OSError as error:
        return _failed(error)


def _failed(error: OSError) -> int:
    if error.filename is not None:
        return _complain(f"{error.filename}: {error.strerror}.", EXIT_FAILED)
    if isinstance(error, FileNotFoundError):  # raised by os.getcwd() or, with a text of its own, by tempfile
        if error.strerror == os.strerror(errno.ENOENT):
            return _complain("The current directory does not exist any more.", EXIT_FAILED)
        return _complain(f"{error.strerror}: set TMPDIR to a directory that this user may write to.", EXIT_FAILED)
    with suppress(OSError, ValueError):  # buffered output must not fail again when the process exits
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    if isinstance(error, BrokenPipeError):  # the reader has closed the pipe on purpose
        return EXIT_FAILED
    return _complain(f"Standard output cannot be written to: {error.strerror or error}.", EXIT_FAILED)


@contextmanager
def _standard_streams() -> Iterator[None]:
    """Replace standard output and error if they are closed, which makes them None in Python."""
    original = sys.stdout, sys.stderr
    with ExitStack() as opened:
        sys.stdout, sys.stderr = (
            stream or opened.enter_context(open(os.devnull, "w", encoding="utf-8")) for stream in original
        )
        try:
            yield
        finally:
            sys.stdout, sys.stderr = original


def _complain(error: object, code: int) -> int:
    complain(f"pycachehook: error: {error}")
    return code


def _refuse_file(options: "Options") -> None:
    path, origin = options.cache_dir, options.origin("cache_dir")
    if path is None:
        raise ConfigError(why_no_default_cache_dir())
    if os.path.exists(path) and not os.path.isdir(path):
        raise ConfigError(f"cache_dir = {path!r} ({origin}) is not valid: it is a file, and must be a directory.")


def _run(parsed: "argparse.Namespace") -> int | Callable[[], None]:
    from pycachehook import hook, runtime

    from .flags import flags

    given = flags(parsed)
    if given["force_write"] is None:
        given["force_write"] = True  # `run` implies caching, even under PYTHONDONTWRITEBYTECODE
    _refuse_file(runtime.resolve(given, "flag", parsed.config))
    chosen = [program for program in (parsed.module, parsed.code, parsed.script) if program]
    if len(chosen) != 1:
        raise ConfigError("Nothing to run: give a SCRIPT, -m MODULE or -c CODE.")
    if parsed.trace is not None or parsed.runs != 1 or parsed.lazy is not None:
        from . import trace

        return trace.record(parsed)
    installed = hook.install_from(given, "flag", parsed.config)
    if installed.status != "writable" and not runtime.disabled_by_environment():
        complain(f"pycachehook: warning: {installed.reason}")
    from pycachehook.commands import run

    if parsed.record is not None:
        from pycachehook.commands.recording import record_at_exit

        record_at_exit(parsed.record)
    prepare = run.prepare_module if parsed.module else run.prepare_code if parsed.code else run.prepare_script
    program = prepare(chosen[0][0], chosen[0][1:])
    if parsed.observe_lazy is not None:
        from pycachehook.commands import lazy_policy

        lazy_policy.observe(parsed.observe_lazy)
    return program


def _enable(parsed: "argparse.Namespace") -> int:
    from pycachehook import runtime

    from .flags import flags

    if parsed.prefix is not None:
        from .environment import in_environment

        return in_environment(parsed)
    options = runtime.resolve(flags(parsed), "flag", parsed.config)
    _refuse_file(options)
    purelib = _purelib()
    from pycachehook.commands import enable

    refused = enable.refusals(options)
    if refused and options.strict:
        return _complain(refused[0], EXIT_FAILED)
    if parsed.wheel is not None:
        return _write_wheel(parsed, options, refused)
    kept, dropped = enable.compare(enable.recorded_options(purelib), options)
    try:
        written = enable.enable(purelib, options, dry_run=parsed.dry_run)
    except OSError as error:
        return _complain(f"The activation files cannot be written to {purelib}: {error.strerror}.", EXIT_FAILED)
    own = "" if "cache_dir" in options.chosen() else " (the default of the user who starts Python)"
    lines = [f"{'would write' if parsed.dry_run else 'wrote'} {path}" for path in written]
    lines += [f"kept from the earlier `enable`: {option}" for option in kept]
    lines += [f"no longer: {option}" for option in dropped]
    for line in [] if parsed.quiet else [*lines, f"cache directory: {options.cache_dir}{own}"]:
        say(line)
    for reason in refused:
        complain(f"pycachehook: warning: {reason}")
    return EXIT_DONE


def _write_wheel(parsed: "argparse.Namespace", options: "Options", refused: Sequence[str]) -> int:
    from pathlib import Path

    from pycachehook.commands import activation_wheel

    folder = Path(parsed.wheel).absolute()
    path = activation_wheel.wheel_path(folder)
    if not parsed.dry_run:
        try:
            activation_wheel.write_wheel(folder, options)
        except OSError as error:
            return _complain(f"The wheel cannot be written to {folder}: {error.strerror}.", EXIT_FAILED)
    own = "" if "cache_dir" in options.chosen() else " (the default of the user who starts Python)"
    lines = [f"{'would write' if parsed.dry_run else 'wrote'} {path}", f"cache directory: {options.cache_dir}{own}"]
    for line in [] if parsed.quiet else lines:
        say(line)
    for reason in refused:
        complain(f"pycachehook: warning: {reason}")
    return EXIT_DONE


def _disable(parsed: "argparse.Namespace") -> int:
    if parsed.prefix is not None:
        from .environment import in_environment

        return in_environment(parsed)
    purelib = _purelib()
    from pycachehook.commands import enable

    try:
        removed = enable.disable(purelib, dry_run=parsed.dry_run)
    except OSError as error:
        return _complain(f"{error.filename} cannot be removed: {error.strerror}.", EXIT_FAILED)
    lines = [f"{'would remove' if parsed.dry_run else 'removed'} {path}" for path in removed]
    for line in [] if parsed.quiet else lines or [f"nothing to remove in {purelib}"]:
        say(line)
    from pycachehook.commands import activation_wheel

    if activation_wheel.is_installed(purelib):
        name = activation_wheel.DISTRIBUTION
        complain(f"pycachehook: warning: {name} is still installed in {purelib}: uninstall it, too.")
    return EXIT_DONE


def _purelib() -> "Any":
    import sysconfig
    from pathlib import Path

    return Path(sysconfig.get_path("purelib"))


def _existing_cache(parsed: "argparse.Namespace") -> "Options":
    """Return the resolved options; `cache_dir` is the existing directory that the command works on."""
    from pycachehook import runtime

    options = runtime.resolve({"cache_dir": parsed.cache_dir}, "flag", parsed.config)
    _refuse_file(options)
    if not os.path.isdir(options.cache_dir):
        raise PycacheHookError(f"The cache directory {options.cache_dir} does not exist.")
    return options


def _verify(parsed: "argparse.Namespace") -> int:
    from pycachehook.commands import verify

    options = _existing_cache(parsed)
    outcome = verify.verify_cache(options.cache_dir, allow_shared=options.allow_shared, fix=parsed.fix)
    printing.verified(options.cache_dir, outcome, as_json=parsed.json)
    return EXIT_FAILED if outcome.bad else EXIT_DONE


def _prune(parsed: "argparse.Namespace") -> int:
    from pycachehook.commands import prune

    limits = prune.Limits(parsed.max_size, parsed.max_files, parsed.max_age, parsed.orphans)
    cache_dir = _existing_cache(parsed).cache_dir
    outcome = prune.prune(cache_dir, limits, dry_run=parsed.dry_run)
    if parsed.json:
        say_json(outcome.as_dict())
        return EXIT_DONE
    if not outcome.marked:
        say(f"nothing to prune: {cache_dir} has no entry of pycachehook yet")
        return EXIT_DONE
    if parsed.dry_run:
        for path, reason in outcome.removed:
            say(f"{path}: {reason}")
    verb = "would remove" if parsed.dry_run else "removed"
    removed = f"{printing.counted(len(outcome.removed), 'file')}, {printing.human(outcome.removed_bytes)}"
    say(f"{verb} {removed}; {printing.counted(outcome.files, 'file')}, {printing.human(outcome.bytes)} remain")
    if limits == prune.Limits():
        say("no limit was given: see --max-size, --max-files, --max-age and --orphans")
    return EXIT_DONE


def _clear(parsed: "argparse.Namespace") -> int:
    from pycachehook.commands import prune

    cache_dir = _existing_cache(parsed).cache_dir
    everything = prune.Limits(files=0)
    outcome = prune.prune(cache_dir, everything, dry_run=True)
    what = f"{printing.counted(len(outcome.removed), 'file')}, {printing.human(outcome.removed_bytes)}"
    if outcome.removed and not parsed.dry_run:
        if not (parsed.yes or printing.is_confirmed(f"Remove {what}, from {cache_dir}?")):
            say("nothing removed")
            return EXIT_FAILED
        outcome = prune.prune(cache_dir, everything)
        what = f"{printing.counted(len(outcome.removed), 'file')}, {printing.human(outcome.removed_bytes)}"
    if parsed.json:
        say_json({"cache_dir": cache_dir, **outcome.as_dict()})
    else:
        say(f"{cache_dir}: {'would remove' if parsed.dry_run else 'removed'} {what}")
    return EXIT_DONE


def _help(parsed: "argparse.Namespace") -> int:
    from .arguments import show_help

    show_help(parsed.words)
    return EXIT_DONE


def _precompile(parsed: "argparse.Namespace") -> int:
    from pycachehook import runtime
    from pycachehook.commands import precompile

    from .flags import flags

    given = flags(parsed)
    if given["force_write"] is None:
        given["force_write"] = True  # `precompile` implies writing
    options = runtime.resolve(given, "flag", parsed.config)
    _refuse_file(options)
    files = precompile.sources(parsed.paths, parsed.distribution, parsed.module, parsed.exclude)
    jobs = parsed.jobs or precompile.usable_processors()
    with printing.progress("compiling", len(files), quiet=parsed.json) as advance:
        outcome = precompile.precompile(files, options.values(), jobs, advance)
    if parsed.json:
        say_json({"cache_dir": options.cache_dir, **outcome.as_dict()})
    else:
        printing.problems(outcome)
        left = f", {outcome.excluded} excluded by rules" if outcome.excluded else ""
        problems = printing.counts_of_problems(outcome)
        say(f"{options.cache_dir}: {outcome.compiled} compiled, {outcome.valid} valid already{left}{problems}")
    return EXIT_FAILED if outcome.failed else EXIT_DONE


def _archive(parsed: "argparse.Namespace") -> int:
    from . import archive

    return archive.COMMANDS[parsed.verb](parsed)


def _trace(parsed: "argparse.Namespace") -> int:
    from . import trace

    return trace.COMMANDS[parsed.verb](parsed)


def _report(parsed: "argparse.Namespace") -> int:
    from . import reports

    return reports.COMMANDS[parsed.command](parsed)


COMMANDS: "dict[str, Callable[[argparse.Namespace], int | Callable[[], None]]]" = {
    "run": _run,
    "enable": _enable,
    "disable": _disable,
    "status": _report,
    "precompile": _precompile,
    "explain": _report,
    "inspect": _report,
    "verify": _verify,
    "prune": _prune,
    "clear": _clear,
    "help": _help,
    "doctor": _report,
    "archive": _archive,
    "trace": _trace,
}
