"""The command line's arguments: those of each command, and the syntax of numbers, sizes and ages."""

import argparse
import functools
import sys
from collections.abc import Callable, Sequence
from typing import Any

from pycachehook import __version__

from .archive_arguments import ADDERS
from .flags import add_json, add_options, add_selection
from .parsing import Parser, split_program, suggestion
from .units import age, count, percentage, runs, size


def parser(words: Sequence[str] = ()) -> Parser:
    """Return the parser of all commands; its result has the command's name as `command`."""
    whole = Parser(
        prog="pycachehook",
        description="A bytecode cache in directories of your choosing, validated by source hash.",
        epilog="example: pycachehook run --cache-dir /var/cache/app -m app",
    )
    whole.add_argument("--version", action="version", version=f"pycachehook {__version__}")
    whole.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh", "fish", "powershell"),
        help="print the completion script for a shell, and exit",
    )
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    named = words[0] if words and words[0] in _ADDERS else None
    for name, add in _ADDERS.items():
        if named in (None, name):
            add(commands, words[1:])
    return whole


def _add_run(commands: Any, _words: Sequence[str]) -> None:
    run = _command(commands, "run", "run a program with the hook on", "pycachehook run --cache-dir .cache app.py")
    add_options(run)
    run.usage = "pycachehook run [OPTIONS] (SCRIPT | -m MODULE | -c CODE) [ARGS ...]"
    run.add_argument(
        "--record", metavar="PROFILE", help="write the list of imported sources, in order, for `archive build`"
    )
    run.add_argument(
        "--trace", metavar="FILE", help="record where the start spends its time: FILE.json, FILE.txt or FILE.html"
    )
    run.add_argument("--runs", type=runs, default=1, metavar="N", help="with --trace: record so many runs")
    run.add_argument(
        "--lazy",
        metavar="POLICY",
        help="with --trace, from Python 3.15 on, experimental: run the program once more with lazy imports, and write a "
        "filter for the modules that it did not use to POLICY.py",
    )
    run.add_argument("--observe-lazy", metavar="FILE", help=argparse.SUPPRESS)  # what that run is started with
    run.add_argument("-m", dest="module", metavar="MODULE", help="run a module; what follows is passed to it")
    run.add_argument("-c", dest="code", metavar="CODE", help="run a string")
    run.add_argument(
        "script",
        nargs=argparse.REMAINDER,
        metavar="SCRIPT",
        help="run a file, a directory, a zip archive, a pipe, or with - standard input; what follows is passed to it",
    )


def _add_enable(commands: Any, _words: Sequence[str]) -> None:
    enable = _command(
        commands,
        "enable",
        "turn the hook on in an environment",
        "pycachehook enable --cache-dir /var/cache/py",
    )
    add_options(enable)
    enable.description = (
        "Turn the hook on in an environment. Options of an earlier `enable` that are not given again are kept. A cache "
        "directory or archive that starts will refuse causes a warning; with --strict it is an error, and nothing is written."
    )
    enable.add_argument(
        "--wheel",
        metavar="DIR",
        help="write a wheel that turns the hook on wherever it is installed, and nothing into this environment",
    )
    _add_environment(enable)


def _add_disable(commands: Any, _words: Sequence[str]) -> None:
    _add_environment(
        _command(commands, "disable", "turn the hook off in an environment", "pycachehook disable"),
    )


def _add_environment(command: argparse.ArgumentParser) -> None:
    command.add_argument("--prefix", metavar="DIR", help="the environment (default: the one of this command)")
    command.add_argument("--dry-run", action="store_true", help="only show what would be written or removed")
    command.add_argument("-q", "--quiet", action="store_true", help="print nothing but warnings and errors")


def _add_doctor(commands: Any, _words: Sequence[str]) -> None:
    doctor = _command(
        commands, "doctor", "say what is wrong with this set-up and how to fix it", "pycachehook doctor app.main"
    )
    doctor.add_argument(
        "modules",
        nargs="*",
        metavar="MODULE",
        help="import these modules without storing anything, and list what is not in the cache and why",
    )
    _add_report(doctor)


def _add_status(commands: Any, _words: Sequence[str]) -> None:
    status = _command(
        commands,
        "status",
        "show whether the hook is active, its counters, and the content of the cache",
        "pycachehook status",
    )
    status.add_argument("-v", "--verbose", action="store_true", help="show every option and every distribution")
    _add_report(status)


def _add_report(command: argparse.ArgumentParser) -> None:
    command.add_argument("--prefix", metavar="DIR", help="the environment (default: the one of this command)")
    add_options(command, ("cache_dir", "archives"))
    add_json(command)


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("--config", metavar="FILE", help="a TOML file with a table [tool.pycachehook]")
    add_json(command)


def _add_precompile(commands: Any, _words: Sequence[str]) -> None:
    precompile = _command(
        commands,
        "precompile",
        "fill the cache in advance",
        "pycachehook precompile --distribution django --exclude '*/tests/*'",
    )
    add_options(precompile)
    precompile.add_argument("paths", nargs="*", metavar="PATH", help="a source, or a directory of sources")
    add_selection(precompile)


def _add_explain(commands: Any, _words: Sequence[str]) -> None:
    explain = _command(
        commands, "explain", "show how a module would be imported, and why", "pycachehook explain sympy.core"
    )
    explain.add_argument("module", metavar="MODULE", help="its name, as for `python -m`; it is not imported")
    explain.add_argument(
        "--script", metavar="FILE", help="search for the module as `python FILE` does, beside the file"
    )
    _add_config(explain)


def _add_inspect(commands: Any, _words: Sequence[str]) -> None:
    inspect = _command(
        commands, "inspect", "show the content of a pyc", "pycachehook inspect __pycache__/app.cpython-312.pyc"
    )
    inspect.add_argument("pyc", metavar="PYC|MODULE", help="a file, or a module whose pyc is shown")
    inspect.add_argument("--dis", action="store_true", help="disassemble the code")
    _add_config(inspect)


def _add_verify(commands: Any, _words: Sequence[str]) -> None:
    verify = _command(commands, "verify", "check every entry of a cache", "pycachehook verify --fix")
    verify.add_argument("--fix", action="store_true", help="remove bad entries")
    _add_cache(verify)


def _add_prune(commands: Any, _words: Sequence[str]) -> None:
    prune = _command(
        commands,
        "prune",
        "remove entries that have not been used for long, and abandoned files",
        "pycachehook prune --max-size 500M --max-age 30d --orphans",
    )
    prune.add_argument(
        "--max-size", metavar="N", type=size, help="bytes to keep at most, such as 500M or 2G (1024-based)"
    )
    prune.add_argument("--max-files", metavar="N", type=count, help="files to keep at most")
    prune.add_argument(
        "--max-age", metavar="T", type=age, help="greatest time since the last use, such as 90m, 12h, 30d or 8w"
    )
    prune.add_argument("--orphans", action="store_true", help="remove entries whose source no longer exists")
    prune.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    _add_cache(prune)


def _add_clear(commands: Any, _words: Sequence[str]) -> None:
    clear = commands.add_parser(
        "clear",
        aliases=["clean"],
        help="remove every entry of a cache",
        description="Remove every entry of a cache, of all interpreters. The cache must have been made by pycachehook.",
        epilog="example: pycachehook clear --yes",
    )
    clear.set_defaults(command="clear")
    clear.add_argument("-y", "--yes", action="store_true", help="do not ask")
    clear.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    _add_cache(clear)


def _add_cache(command: argparse.ArgumentParser) -> None:
    command.add_argument("--cache-dir", metavar="DIR", help="the cache (default: the configured one)")
    _add_config(command)


def _add_archive(commands: Any, words: Sequence[str]) -> None:
    archive = _command(
        commands, "archive", "put a whole environment's bytecode into one file", "pycachehook archive build app.pyca"
    )
    verbs = archive.add_subparsers(required=True, metavar="build|list|verify|push|pull|spread", dest="verb")
    named = words[0] if words and words[0] in ADDERS else None
    for name, add in ADDERS.items():
        if named in (None, name):
            add(functools.partial(_command, verbs, name)).set_defaults(command="archive")


def _add_help(commands: Any, _words: Sequence[str]) -> None:
    helping = _command(commands, "help", "show the help of a command", "pycachehook help archive build")
    helping.add_argument("words", nargs="*", metavar="COMMAND", help="the command (default: all)")


# By the name of the command, in the order of the help.
def _add_trace(commands: Any, _words: Sequence[str]) -> None:
    trace = _command(
        commands, "trace", "work with recorded starts, see `run --trace`", "pycachehook trace diff old.json new.json"
    )
    verbs = trace.add_subparsers(required=True, metavar="show|merge|diff", dest="verb")
    show = _command(verbs, "show", "print what each process spent its time on", "pycachehook trace show start.json")
    merge = _command(
        verbs,
        "merge",
        "write the recordings of several processes as one file, or convert a recording",
        "pycachehook trace merge traces/ start.html",
    )
    for command in (show, merge):
        command.add_argument("recording", metavar="RECORDING", help="a .json file, or a PYCACHEHOOK_TRACE directory")
    merge.add_argument("out", metavar="OUT", help="the file to write: .json (Chrome trace events), .txt or .html")
    diff = _command(
        verbs,
        "diff",
        "compare two recordings, module by module",
        "pycachehook trace diff --fail-above 10% before.json after.json",
    )
    diff.add_argument("before", metavar="BEFORE", help="a recording")
    diff.add_argument("after", metavar="AFTER", help="another recording of the same program")
    diff.add_argument(
        "--fail-above",
        type=percentage,
        metavar="P%%",
        help="exit with 1 if the whole start takes that much longer, and more than the noise of the runs",
    )
    add_json(diff)
    for command in (show, merge, diff):
        command.set_defaults(command="trace")


_ADDERS: dict[str, Callable[[Any, Sequence[str]], None]] = {
    "run": _add_run,
    "enable": _add_enable,
    "disable": _add_disable,
    "doctor": _add_doctor,
    "status": _add_status,
    "precompile": _add_precompile,
    "explain": _add_explain,
    "inspect": _add_inspect,
    "verify": _add_verify,
    "prune": _add_prune,
    "clear": _add_clear,
    "archive": _add_archive,
    "trace": _add_trace,
    "help": _add_help,
}


class _PrintCompletion(argparse.Action):
    """An action that prints a shell completion script, which shtab generates from the parser."""

    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: object, values: Any, _option: object = None
    ) -> None:
        from pycachehook.commands.installer import install_command

        try:
            from shtab import complete
        except ImportError:
            parser.error(f"--print-completion needs shtab: {install_command('pycachehook[cli]')}")
        try:
            script = complete(parser, values)
        except (NotImplementedError, KeyError):  # an earlier version of shtab
            parser.error(f"this version of shtab has no completion for {values}: pip install --upgrade shtab")
        sys.stdout.write(script + "\n")
        parser.exit()


def _command(commands: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=f"example: {example}"
    )
    parser.set_defaults(command=name)
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return the parsed command line: `command`, its flags, and all original `arguments`.

    Prints one line and exits with code 2 for arguments that no command takes.
    """
    whole = parser(arguments)
    if not arguments:
        whole.error("no command was given")
    commands = subparsers(whole)
    own, program = [*arguments], dict[str, list[str]]()
    if arguments[0] == "run":
        own, program = split_program(commands["run"], arguments[1:])
        own.insert(0, "run")
    parsed, unknown = whole.parse_known_args(own, argparse.Namespace(arguments=[*arguments], own=own[1:]))
    if unknown:
        refusing = commands[parsed.command]
        subparsers(refusing).get(getattr(parsed, "verb", ""), refusing).refuse(unknown)
    for name, words in program.items():
        setattr(parsed, name, words)
    return parsed


def subparsers(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Return the parser of each command of `parser`, or of each verb of a command."""
    for action in parser._actions:  # noqa: SLF001 -- argparse has no public access to it
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def show_help(words: Sequence[str]) -> None:
    """Print the help of everything, or of the command that the words name; exits with code 2 if there is none."""
    command: argparse.ArgumentParser = parser()
    for word in words:
        known = subparsers(command)
        if word not in known:
            parser().error(f"there is no command {' '.join(words)!r}{suggestion(word, [*known])}")
        command = known[word]
    command.print_help()
