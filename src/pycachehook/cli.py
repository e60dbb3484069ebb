"""The command line: arguments and printing, nothing else."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from . import __version__, config, hook, in_force, printing
from .errors import ConfigError, PycacheHookError
from .options import Options, boolean
from .printing import KIBI

DONE, FAILED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 something was found or failed, 2 usage."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = _parser().parse_args(arguments, argparse.Namespace(arguments=arguments))
    command: Callable[[argparse.Namespace], int | Callable[[], None]] = parsed.command
    try:
        outcome = command(parsed)
        if isinstance(outcome, int):
            sys.stdout.flush()
            return outcome
    except ConfigError as error:
        return _complain(error, USAGE)
    except PycacheHookError as error:
        return _complain(error, FAILED)
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    outcome()  # the program to run: what it raises is its own
    return DONE


def _complain(error: object, code: int) -> int:
    print(f"pycachehook: error: {error}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pycachehook",
        description="A bytecode cache in directories of your choosing, validated by source hash.",
        epilog="example: pycachehook run --cache-dir /var/cache/app -m app",
    )
    parser.add_argument("--version", action="version", version=f"pycachehook {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print the completion script for a shell, and exit",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = _command(commands, "run", _run, "run a program with the hook on", "pycachehook run --cache-dir .cache app.py")
    _add_options(run)
    run.usage = "pycachehook run [OPTIONS] (SCRIPT | -m MODULE | -c CODE) [ARGS ...]"
    run.add_argument("-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE", help="run a module")
    run.add_argument("-c", dest="code", nargs=argparse.REMAINDER, metavar="CODE", help="run a string")
    run.add_argument("script", nargs=argparse.REMAINDER, metavar="SCRIPT", help="run a file; what follows is its own")

    enable = _command(
        commands,
        "enable",
        _enable,
        "turn the hook on in an environment",
        "pycachehook enable --cache-dir /var/cache/py",
    )
    _add_options(enable)
    disable = _command(commands, "disable", _disable, "turn the hook off in an environment", "pycachehook disable")
    for command in (enable, disable):
        command.add_argument("--prefix", metavar="DIR", help="the environment (default: the one that runs this)")

    doctor = _command(
        commands, "doctor", _doctor, "say what is wrong with this set-up and how to mend it", "pycachehook doctor"
    )

    status = _command(commands, "status", _status, "show what is in force here", "pycachehook status --json")

    precompile = _command(
        commands,
        "precompile",
        _precompile,
        "fill the cache ahead of time",
        "pycachehook precompile --distribution django --exclude '*/tests/*'",
    )
    _add_options(precompile)
    precompile.add_argument("paths", nargs="*", metavar="PATH", help="a source, or a directory of sources")
    precompile.add_argument(
        "--distribution", action="append", default=[], metavar="NAME", help="all sources of an installed distribution"
    )
    precompile.add_argument(
        "--module", action="append", default=[], metavar="NAME", help="a module, or a package and all in it"
    )
    precompile.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="leave out matching paths")
    precompile.add_argument("-j", "--jobs", type=_jobs, metavar="N", help="processes (default: one for each processor)")
    precompile.add_argument("--json", action="store_true", help="print one JSON object")

    explain = _command(
        commands, "explain", _explain, "show how a module would be imported, and why", "pycachehook explain sympy.core"
    )
    explain.add_argument("module", metavar="MODULE", help="its name; it is not imported")

    inspect = _command(
        commands, "inspect", _inspect, "show what is in a pyc", "pycachehook inspect __pycache__/app.cpython-312.pyc"
    )
    inspect.add_argument("pyc", metavar="PYC|MODULE", help="a file, or a module whose pyc to show")
    inspect.add_argument("--dis", action="store_true", help="disassemble the code")

    verify = _command(commands, "verify", _verify, "check every entry of a cache", "pycachehook verify --fix")
    verify.add_argument("--fix", action="store_true", help="remove what is bad")
    prune = _command(
        commands,
        "prune",
        _prune,
        "remove entries that have not been used for long, and what killed processes left",
        "pycachehook prune --max-size 500M --max-age 30d --orphans",
    )
    prune.add_argument("--max-size", metavar="N", type=_size, help="bytes that may stay, as 500M or 2G (1024-based)")
    prune.add_argument("--max-files", metavar="N", type=_count, help="files that may stay")
    prune.add_argument("--max-age", metavar="T", type=_age, help="time since the last use, as 90m, 12h, 30d or 8w")
    prune.add_argument("--orphans", action="store_true", help="remove entries whose source is gone")
    prune.add_argument("--dry-run", action="store_true", help="only show what would be removed")
    for command in (verify, prune):
        command.add_argument("--cache-dir", metavar="DIR", help="the cache (default: the one in force here)")
    for command in (doctor, status, explain, inspect, verify, prune):
        command.add_argument("--config", metavar="FILE", help="a TOML file with a table [tool.pycachehook]")
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


class _PrintCompletion(argparse.Action):
    """Prints what makes a shell complete our commands; shtab reads it off the parser."""

    def __call__(
        self, parser: argparse.ArgumentParser, _namespace: object, values: Any, _option: object = None
    ) -> None:
        try:
            from shtab import complete
        except ImportError:
            parser.error("--print-completion needs shtab: pip install 'pycachehook[cli]'")
        print(complete(parser, values))
        parser.exit()


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


def _command(commands: Any, name: str, function: object, text: str, example: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=f"example: {example}", allow_abbrev=False
    )
    parser.set_defaults(command=function)
    return parser


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Add a flag for every option; values are checked by `config`, which names the flag."""
    group = parser.add_argument_group("options (PYCACHEHOOK_<NAME> sets them too)")
    group.add_argument("--config", metavar="FILE", help="a TOML file with a table [tool.pycachehook]")
    for name, (default, parse) in config.OPTIONS.items():
        flag = f"--{name.replace('_', '-')}"
        if parse is boolean:
            group.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, default=None)
        else:
            text = f"default: {default}" if default else None
            group.add_argument(flag, dest=name, metavar=name.upper(), help=text)


def _flags(parsed: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(parsed, name) for name in config.OPTIONS}


def _refuse_file(options: Options) -> None:
    path, origin = options.cache_dir, options.origin("cache_dir")
    if os.path.exists(path) and not os.path.isdir(path):
        raise ConfigError(f"cache_dir = {path!r} ({origin}) is not valid: it is a file, and must be a directory.")


def _run(parsed: argparse.Namespace) -> Callable[[], None]:
    flags = _flags(parsed)
    if flags["force_write"] is None:
        flags["force_write"] = True  # whoever says `run` means it, whatever PYTHONDONTWRITEBYTECODE says
    _refuse_file(in_force.resolve(flags, "flag", parsed.config))
    chosen = [each for each in (parsed.module, parsed.code, parsed.script) if each]
    if len(chosen) != 1:
        raise ConfigError("Nothing to run: give a SCRIPT, -m MODULE or -c CODE.")
    installed = hook.install_from(flags, "flag", parsed.config)
    if installed.status != "writable" and not in_force.killed():
        print(f"pycachehook: warning: {installed.reason}", file=sys.stderr)
    from . import runner

    first, *arguments = chosen[0]
    if parsed.module:
        return runner.prepare_module(installed, first, arguments)
    if parsed.code:
        return runner.prepare_code(first, arguments)
    return runner.prepare_script(installed, first, arguments)


def _enable(parsed: argparse.Namespace) -> int:
    if parsed.prefix is not None:
        return _in_environment(parsed)
    options = in_force.resolve(_flags(parsed), "flag", parsed.config)
    _refuse_file(options)
    purelib = _purelib()
    from . import activation

    try:
        written = activation.enable(purelib, options)
    except OSError as error:
        return _complain(f"The activation files cannot be written to {purelib}: {error.strerror}.", FAILED)
    for path in written:
        print(f"wrote {path}")
    own = "" if "cache_dir" in options.chosen() else " (the default of whoever starts Python)"
    print(f"cache directory: {options.cache_dir}{own}")
    return DONE


def _disable(parsed: argparse.Namespace) -> int:
    if parsed.prefix is not None:
        return _in_environment(parsed)
    purelib = _purelib()
    from . import activation

    try:
        removed = activation.disable(purelib)
    except OSError as error:
        return _complain(f"{error.filename} cannot be removed: {error.strerror}.", FAILED)
    for path in removed:
        print(f"removed {path}")
    if not removed:
        print(f"nothing to remove in {purelib}")
    return DONE


def _purelib() -> Any:
    import sysconfig
    from pathlib import Path

    return Path(sysconfig.get_path("purelib"))


def _in_environment(parsed: argparse.Namespace) -> int:
    """Have the environment at `--prefix` run this command itself: it knows its own paths and its own Python."""
    import subprocess

    folder, name = ("Scripts", "python.exe") if os.name == "nt" else ("bin", "python")
    interpreter = os.path.join(parsed.prefix, folder, name)
    if not os.path.exists(interpreter):
        raise ConfigError(f"--prefix {parsed.prefix} is not a Python environment: there is no {interpreter}.")
    probe = subprocess.run([interpreter, "-c", "import pycachehook"], capture_output=True, check=False)
    if probe.returncode:
        mend = f"{interpreter} -m pip install pycachehook"
        raise PycacheHookError(f"pycachehook cannot be imported in {parsed.prefix}: install it there with `{mend}`.")
    arguments = list(parsed.arguments)
    at = next(index for index, each in enumerate(arguments) if each.startswith("--prefix"))
    del arguments[at : at + (1 if "=" in arguments[at] else 2)]
    return subprocess.run([interpreter, "-m", "pycachehook", *arguments], check=False).returncode


def _status(parsed: argparse.Namespace) -> int:
    import json

    from . import report

    state = report.status(parsed.config)
    if parsed.json:
        print(json.dumps(state))
        return DONE
    shown = {
        **{name: state[name] for name in ("active", "version", "python", "status", "reason", "entries")},
        "bytes": printing.human(state["bytes"]),
        **{name: f"{each['value']}  ({each['origin']})" for name, each in state["options"].items()},
    }
    if not state["active"]:
        shown["status"] += ", once it is active"
    printing.facts(shown)
    rows = [(name, each["entries"], printing.human(each["bytes"])) for name, each in state["distributions"].items()]
    printing.table(("distribution", "entries", "size"), rows)
    runs = [(each["argv0"], each["hits"], each["compiled"], f"{each['hit_rate']:.1%}") for each in state["last_runs"]]
    printing.table(("last runs", "hits", "compiled", "hit rate"), runs)
    return DONE


def _cache_dir(parsed: argparse.Namespace) -> str:
    options = in_force.resolve({"cache_dir": parsed.cache_dir}, "flag", parsed.config)
    _refuse_file(options)
    if not os.path.isdir(options.cache_dir):
        raise PycacheHookError(f"The cache directory {options.cache_dir} does not exist.")
    return str(options.cache_dir)


def _verify(parsed: argparse.Namespace) -> int:
    import json

    from . import verification

    cache_dir = _cache_dir(parsed)
    outcome = verification.verify(cache_dir, fix=parsed.fix)
    if parsed.json:
        print(json.dumps(outcome.as_dict()))
    else:
        for path, verdict, detail in outcome.bad:
            print(f"{path}: {verdict}{detail and f' ({detail})'}{', removed' if parsed.fix else ''}")
        print(f"{cache_dir}: " + ", ".join(f"{count} {verdict}" for verdict, count in outcome.counts.items()))
    return FAILED if outcome.bad else DONE


def _prune(parsed: argparse.Namespace) -> int:
    import json

    from . import prune

    limits = prune.Limits(parsed.max_size, parsed.max_files, parsed.max_age, parsed.orphans)
    outcome = prune.prune(_cache_dir(parsed), limits, dry_run=parsed.dry_run)
    if parsed.json:
        print(json.dumps(outcome.as_dict()))
        return DONE
    if parsed.dry_run:
        for path, reason in outcome.removed:
            print(f"{path}: {reason}")
    verb = "would remove" if parsed.dry_run else "removed"
    removed = f"{len(outcome.removed)} files, {printing.human(outcome.removed_bytes)}"
    print(f"{verb} {removed}; {outcome.files} files, {printing.human(outcome.bytes)} stay")
    if limits == prune.Limits():
        print("no limit was given: see --max-size, --max-files, --max-age and --orphans")
    return DONE


def _inspect(parsed: argparse.Namespace) -> int:
    import json

    from . import inspection

    path = parsed.pyc if os.path.lexists(parsed.pyc) else _pyc_of(parsed)
    found = inspection.inspect(path)
    if parsed.json:
        print(json.dumps(found))
        return DONE
    tree = found.pop("code")
    for name, value in found.items():
        print(f"{name.replace('_', ' '):14} {'unknown' if value is None else value}")
    if tree is not None:
        printing.code_tree(tree)
    if parsed.dis:
        if tree is None:
            raise PycacheHookError(f"{path} cannot be disassembled here: it is Python {found['python']}'s, or damaged.")
        import dis

        with open(path, "rb") as file:
            dis.dis(inspection.code_of(file.read()))
    return DONE


def _pyc_of(parsed: argparse.Namespace) -> str:
    """Return the first pyc that there is for a module, in the order in which an import looks."""
    from . import inspection
    from .paths import Layout

    source = inspection.source_of_module(parsed.pyc)
    layout = Layout.current()
    places = []
    if layout is not None:
        options = in_force.resolve({}, "flag", parsed.config)
        places = [layout.mirrored(options.cache_dir, source), layout.in_tree(source)]
    for place in places:
        if os.path.lexists(place):
            return place
    raise PycacheHookError(f"{parsed.pyc} has no pyc: neither {' nor '.join(places)} is there.")


def _explain(parsed: argparse.Namespace) -> int:
    import json

    from . import explanation

    found = explanation.explain(parsed.module, parsed.config)
    if parsed.json:
        print(json.dumps(found))
        return DONE
    print(f"{found['module']}: {found['source'] or found['why']}")
    if found["source"] and found["why"]:
        print(f"  {found['why']}")
    if found["rule"] is not None:
        print(f"  rule: {found['rule']}")
    for name, option in found["options"].items():
        if option["origin"] != "default":
            print(f"  {name} = {option['value']!r} ({option['origin']})")
    for place in found["places"]:
        detail = f" ({place['detail']})" if place["detail"] else ""
        print(f"  {place['place']}: {place['verdict']}: {place['path']}{detail}")
    print(f"  outcome{'' if found['active'] or not found['ours'] else ', were it active'}: {found['outcome']}")
    return DONE


def _precompile(parsed: argparse.Namespace) -> int:
    import json

    from . import precompile

    flags = _flags(parsed)
    if flags["force_write"] is None:
        flags["force_write"] = True  # whoever says `precompile` means it
    options = in_force.resolve(flags, "flag", parsed.config)
    _refuse_file(options)
    files = precompile.sources(parsed.paths, parsed.distribution, parsed.module, parsed.exclude)
    jobs = parsed.jobs or precompile.usable_processors()
    with printing.progress("compiling", len(files), quiet=parsed.json) as advance:
        outcome = precompile.precompile(files, options.values(), jobs, advance)
    if parsed.json:
        print(json.dumps({"cache_dir": options.cache_dir, **outcome.as_dict()}))
    else:
        for path, error in outcome.failed:
            print(f"{path}: {error}")
        left = f", {outcome.excluded} excluded by rules" if outcome.excluded else ""
        failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
        print(f"{options.cache_dir}: {outcome.compiled} compiled, {outcome.valid} valid already{left}{failed}")
    return FAILED if outcome.failed else DONE


def _doctor(parsed: argparse.Namespace) -> int:
    import json

    from . import doctor

    findings = list(doctor.examine(parsed.config))
    if parsed.json:
        print(json.dumps({"findings": [vars(each) for each in findings]}))
    else:
        for each in findings:
            print(f"{each.what}\n    costs: {each.costs}\n    mend:  {each.mend}")
        if not findings:
            print("nothing is wrong here")
    return FAILED if findings else DONE
