"""The command line's arguments: what each command takes, and what a number, a size and an age look like."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from pycachehook import __version__
from pycachehook.config import options, resolution
from pycachehook.config.options import ALIASES, boolean

from . import bundle_arguments
from .parsing import Parser, Suggested, split_program, suggestion
from .printing import KIBI


def parser() -> Parser:
    """Return the parser of all commands; what it parses has the name of one as `command`."""
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

    run = _command(commands, "run", "run a program with the hook on", "pycachehook run --cache-dir .cache app.py")
    _add_options(run)
    run.usage = "pycachehook run [OPTIONS] (SCRIPT | -m MODULE | -c CODE) [ARGS ...]"
    run.add_argument(
        "--record", metavar="PROFILE", help="write the sources that were imported, in their order, for `archive build`"
    )
    run.add_argument("-m", dest="module", metavar="MODULE", help="run a module; what follows is its own")
    run.add_argument("-c", dest="code", metavar="CODE", help="run a string")
    run.add_argument(
        "script",
        nargs=argparse.REMAINDER,
        metavar="SCRIPT",
        help="run a file, a directory, a zip archive, a pipe, or with - standard input; what follows is its own",
    )

    enable = _command(
        commands,
        "enable",
        "turn the hook on in an environment",
        "pycachehook enable --cache-dir /var/cache/py",
    )
    _add_options(enable)
    enable.description = (
        "Turn the hook on in an environment. Options of an earlier `enable` that are not given again are kept. A cache "
        "directory or an archive that starts will refuse is a warning; with --strict it is an error, and nothing is written."
    )
    disable = _command(commands, "disable", "turn the hook off in an environment", "pycachehook disable")
    for command in (enable, disable):
        command.add_argument("--prefix", metavar="DIR", help="the environment (default: the one that runs this)")
        command.add_argument("--dry-run", action="store_true", help="only show what would be written or removed")
        command.add_argument("-q", "--quiet", action="store_true", help="print nothing but warnings and errors")

    doctor = _command(
        commands, "doctor", "say what is wrong with this set-up and how to mend it", "pycachehook doctor app.main"
    )
    doctor.add_argument(
        "modules",
        nargs="*",
        metavar="MODULE",
        help="import these, in a process that stores nothing, and list what is not in the cache and why",
    )
    status = _command(
        commands,
        "status",
        "show whether the hook is active, what it did, and what is in the cache",
        "pycachehook status",
    )
    status.add_argument("-v", "--verbose", action="store_true", help="show every option and every distribution")
    for command in (doctor, status):
        command.add_argument("--prefix", metavar="DIR", help="the environment (default: the one that runs this)")
        _add_options(command, ("cache_dir", "archives"))

    precompile = _command(
        commands,
        "precompile",
        "fill the cache ahead of time",
        "pycachehook precompile --distribution django --exclude '*/tests/*'",
    )
    _add_options(precompile)
    precompile.add_argument("paths", nargs="*", metavar="PATH", help="a source, or a directory of sources")
    _add_selection(precompile)

    explain = _command(
        commands, "explain", "show how a module would be imported, and why", "pycachehook explain sympy.core"
    )
    explain.add_argument(
        "module", metavar="MODULE", help="its name, as `python -m` finds it from here; it is not imported"
    )
    explain.add_argument("--script", metavar="FILE", help="find the module as `python FILE` does, beside the file")

    inspect = _command(
        commands, "inspect", "show what is in a pyc", "pycachehook inspect __pycache__/app.cpython-312.pyc"
    )
    inspect.add_argument("pyc", metavar="PYC|MODULE", help="a file, or a module whose pyc to show")
    inspect.add_argument("--dis", action="store_true", help="disassemble the code")

    of_caches = _add_cache_commands(commands)
    _add_archive(commands)
    helping = _command(commands, "help", "show what a command takes", "pycachehook help archive build")
    helping.add_argument("words", nargs="*", metavar="COMMAND", help="the command (default: all)")

    for command in (explain, inspect, *of_caches):
        command.add_argument("--config", metavar="FILE", help="a TOML file with a table [tool.pycachehook]")
    for command in (doctor, status, explain, inspect, *of_caches):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return whole


def _add_cache_commands(commands: Any) -> tuple[argparse.ArgumentParser, ...]:
    """Add the commands that are about every entry of one cache."""
    verify = _command(commands, "verify", "check every entry of a cache", "pycachehook verify --fix")
    verify.add_argument("--fix", action="store_true", help="remove what is bad")
    prune = _command(
        commands,
        "prune",
        "remove entries that have not been used for long, and what killed processes left",
        "pycachehook prune --max-size 500M --max-age 30d --orphans",
    )
    prune.add_argument("--max-size", metavar="N", type=_size, help="bytes that may stay, as 500M or 2G (1024-based)")
    prune.add_argument("--max-files", metavar="N", type=_count, help="files that may stay")
    prune.add_argument("--max-age", metavar="T", type=_age, help="time since the last use, as 90m, 12h, 30d or 8w")
    prune.add_argument("--orphans", action="store_true", help="remove entries whose source is gone")
    prune.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    clear = commands.add_parser(
        "clear",
        aliases=["clean"],
        help="remove every entry of a cache",
        description="Remove every entry of a cache, of whatever interpreter. It must have been made by pycachehook.",
        epilog="example: pycachehook clear --yes",
    )
    clear.set_defaults(command="clear")
    clear.add_argument("-y", "--yes", action="store_true", help="do not ask")
    clear.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    for command in (verify, prune, clear):
        command.add_argument("--cache-dir", metavar="DIR", help="the cache (default: the one in force here)")
    return verify, prune, clear


def _add_archive(commands: Any) -> None:
    archive = _command(
        commands, "archive", "put a whole environment's bytecode into one file", "pycachehook archive build app.pyca"
    )
    verbs = archive.add_subparsers(required=True, metavar="build|list|verify|push|pull|spread", dest="verb")
    build = _command(verbs, "build", "write an archive", "pycachehook archive build --environment --path src app.pyca")
    build.add_argument("archive", metavar="OUT", help="the file to write")
    build.add_argument(
        "--path", action="append", default=[], metavar="DIR", help="a directory of sources (default: the environment)"
    )
    build.add_argument("--environment", action="store_true", help="the whole environment, beside what else is named")
    build.add_argument(
        "--invalidation-mode",
        choices=("checked-hash", "unchecked-hash"),
        default="checked-hash",
        help="whether an import looks at each source, or a start once at the names in each root (default: checked-hash)",
    )
    build.add_argument("--force", action="store_true", help="replace a file that is no archive")
    build.add_argument("--profile", metavar="PROFILE", help="what `run --record` wrote: these come first")
    _add_selection(build)
    show = _command(verbs, "list", "show what is in an archive", "pycachehook archive list app.pyca")
    verify = _command(verbs, "verify", "check an archive", "pycachehook archive verify --sources app.pyca")
    verify.add_argument("--sources", action="store_true", help="compare each source, too")
    for each in (show, verify):
        each.add_argument("archive", metavar="ARCHIVE", help="the file")
        each.add_argument("--allow-shared", action="store_true", help="accept a file that others may write to")
        each.add_argument("--json", action="store_true", help="print one JSON object")
    for each in (build, show, verify):
        each.set_defaults(command="archive")
    bundle_arguments.add(verbs, _command, _size)


class _PrintCompletion(argparse.Action):
    """Prints what makes a shell complete our commands; shtab reads it off the parser."""

    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: object, values: Any, _option: object = None
    ) -> None:
        try:
            from shtab import complete
        except ImportError:
            parser.error("--print-completion needs shtab: pip install 'pycachehook[cli]'")
        try:
            script = complete(parser, values)
        except (NotImplementedError, KeyError):  # of an earlier version
            parser.error(f"this version of shtab has no completion for {values}: pip install --upgrade shtab")
        sys.stdout.write(script + "\n")
        parser.exit()


def _add_selection(command: argparse.ArgumentParser) -> None:
    """Add what `precompile` and `archive build` have in common: which sources, and how many processes."""
    command.add_argument(
        "--distribution", action="append", default=[], metavar="NAME", help="all sources of an installed distribution"
    )
    command.add_argument(
        "--module", action="append", default=[], metavar="NAME", help="a module, or a package and all in it"
    )
    command.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="leave out matching paths")
    command.add_argument("-j", "--jobs", type=_jobs, metavar="N", help="processes (default: one for each processor)")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def _number_and_unit(text: str, units: dict[str, int], what: str) -> int:
    number, unit = text.rstrip("BbiI" if "K" in units else ""), ""
    if number[-1:].upper() in units or number[-1:] in units:
        number, unit = number[:-1], number[-1]
    if not number.isascii() or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return int(number) * units.get(unit, units.get(unit.upper(), 1))


def _size(text: str) -> int:
    return _number_and_unit(text, {"K": KIBI, "M": KIBI**2, "G": KIBI**3, "T": KIBI**4}, "a size, such as 500M")


def _count(text: str) -> int:
    return _number_and_unit(text, {}, "a number of files")


def _jobs(text: str) -> int:
    number = _number_and_unit(text, {}, "a number of processes")
    if number == 0:
        raise argparse.ArgumentTypeError("'0' is not a number of processes: at least 1 is needed")
    return number


def _age(text: str) -> int:
    return _number_and_unit(text, {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}, "a time, such as 30d")


def _command(commands: Any, name: str, text: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=f"example: {example}"
    )
    parser.set_defaults(command=name)
    return parser


_MEANINGS: dict[str, tuple[str | tuple[str, ...], str]] = {
    "cache_dir": ("DIR", "where entries are stored (default: PYTHONPYCACHEPREFIX, else in your own cache directory)"),
    "layout": (options.LAYOUTS, "one entry for each source path, or one for each content, which checkouts share"),
    "invalidation_mode": (options.INVALIDATION_MODES, "what an entry is compared with its source by (PEP 552)"),
    "in_tree": (options.IN_TREE, "which pycs in the sources' own __pycache__ are read"),
    "read_only": ("", "never write an entry"),
    "rules": ("TOML", "overrides by source path or distribution, an array of tables: the first that matches wins"),
    "archives": ("FILES", f"read-only archives to look in first, separated by {os.pathsep!r}"),
    "lock_timeout": ("SECONDS", "how long an import may wait for a process that compiles the same file"),
    "force_write": ("", "write even under -B or PYTHONDONTWRITEBYTECODE"),
    "allow_shared": ("", "accept a cache directory that others may write to: their bytecode then runs here"),
    "gc": (options.GC, "what the garbage collector does during imports"),
    "compile_ahead": ("N", "processes that compile, ahead of a cold start, what its modules import"),
    "open_code": (options.OPEN_CODE, "whether files are read through io.open_code (PEP 578)"),
    "strict": ("", "fail where the environment keeps something from working"),
}


def _add_options(parser: argparse.ArgumentParser, names: Sequence[str] = resolution.NAMES) -> None:
    """Add a flag for every option, or those named; values are checked by `config`, which names the flag."""
    group = parser.add_argument_group("options (PYCACHEHOOK_<NAME> sets them too)")
    group.add_argument("--config", metavar="FILE", help="a TOML file with a table [tool.pycachehook]")
    for name in names:
        default, parse = resolution.OPTIONS[name]
        flag = f"--{name.replace('_', '-')}"
        values, text = _MEANINGS.get(name, (name.upper(), ""))
        if parse is boolean:
            group.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, default=None, help=text)
            continue
        text += f" (default: {default})" if default else ""
        if isinstance(values, tuple):
            shown = "|".join(values)
            group.add_argument(flag, dest=name, choices=Suggested(values), metavar=shown, help=text)
        else:
            group.add_argument(flag, dest=name, metavar=values, help=text)
    for name in ALIASES if names is resolution.NAMES else ():
        flag = f"--{name.replace('_', '-')}"
        group.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, default=None, help=argparse.SUPPRESS)


def flags(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says of each option, None where it says nothing."""
    return {name: getattr(parsed, name, None) for name in (*resolution.OPTIONS, *ALIASES)}


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Return what the command line says: `command`, its flags, and `arguments`, all of them as they came.

    Prints one line and exits with code 2 for what no command takes.
    """
    whole = parser()
    if not arguments:
        whole.error("no command was given")
    commands = subparsers(whole)
    own, program = [*arguments], dict[str, list[str]]()
    if arguments[0] == "run":
        own, program = split_program(commands["run"], arguments[1:])
        own.insert(0, "run")
    parsed, unknown = whole.parse_known_args(own, argparse.Namespace(arguments=arguments))
    if unknown:
        refusing = commands[parsed.command]
        subparsers(refusing).get(getattr(parsed, "verb", ""), refusing).refuse(unknown)
    for name, words in program.items():
        setattr(parsed, name, words)
    return parsed


def subparsers(parser: argparse.ArgumentParser) -> dict[str, Parser]:
    """Return the parser of each command that `parser` has, or of each verb of a command."""
    for action in parser._actions:  # noqa: SLF001 -- argparse tells it in no other way
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            return dict(action.choices)
    return {}


def show_help(words: Sequence[str]) -> None:
    """Print the help of everything, or of the command that the words name; exits with code 2 if there is none."""
    found: argparse.ArgumentParser = parser()
    for word in words:
        known = subparsers(found)
        if word not in known:
            parser().error(f"there is no command {' '.join(words)!r}{suggestion(word, [*known])}")
        found = known[word]
    found.print_help()
