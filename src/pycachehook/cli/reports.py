"""The commands that report on a set-up, a module or a file, and change nothing."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from . import printing
from .environment import report_on
from .flags import flags
from .printing import EXIT_DONE, EXIT_FAILED, say, say_json

_SHOWN = 12  # distributions, without --verbose
_GC = {
    "default": "as without pycachehook",
    "pause": "no cyclic collection while a module is executed",
    "freeze": "no cyclic collection while a module is executed, and later ones do not visit what a long start imported",
}


def show_status(parsed: argparse.Namespace) -> int:
    """Print what is or would be installed here, and what its cache contains."""
    from pycachehook.commands import status

    if parsed.prefix is not None:
        return report_on(parsed.prefix, parsed.arguments)
    state = status.status(parsed.config, flags(parsed))
    for archive in state["archives"]:
        archive["bundle"] = _bundle(archive["path"])
    if parsed.json:
        say_json(state)
        return EXIT_DONE
    shown = {"active": "yes" if state["active"] else "no, but enabled" if state["enabled"] else "no"}
    shown |= {"status": _status_in_words(state)}
    shown |= {} if state["reason"] is None else {"reason": state["reason"]}
    lookups = [(run["hits"], run["compiled"]) for run in state["last_runs"]]
    hits, total = sum(lookup[0] for lookup in lookups), sum(map(sum, lookups))
    if total:
        runs = printing.counted(len(lookups), "run")
        shown["hits"] = f"{hits / total:.1%} of {printing.counted(total, 'lookup')} in the last {runs}"
    shown |= {"entries": state["entries"], "bytes": printing.human(state["bytes"])}
    if state["bytes_saved"]:
        shown["bytes saved"] = f"{printing.human(state['bytes_saved'])} (shared entries, over all recorded uses)"
    if "stats_reason" in state:
        shown["statistics"] = state["stats_reason"]
    for archive in state["archives"]:
        shown[f"archive {archive['path']}"] = "; ".join(
            [archive["reason"] or "in use", *_bundle_in_words(archive["bundle"])]
        )
    collection = state["options"]["gc"]
    if parsed.verbose or collection["origin"] != "default":
        shown["collector"] = _GC[collection["value"]]
    shown |= {
        name: f"{_value_in_words(option['value'])}  ({option['origin']})"
        for name, option in state["options"].items()
        if parsed.verbose or name == "cache_dir" or option["origin"] != "default"
    }
    shown |= {name: state[name] for name in ("version", "python")}
    printing.facts(shown)
    rows = [
        (name, counts["entries"], printing.human(counts["bytes"])) for name, counts in state["distributions"].items()
    ]
    printing.table(("distribution", "entries", "size"), rows if parsed.verbose else rows[:_SHOWN])
    if len(rows) > _SHOWN and not parsed.verbose:
        say(f"... and {len(rows) - _SHOWN} more, which --verbose shows")
    last = [(run["argv0"], run["hits"], run["compiled"], _rate(run)) for run in state["last_runs"]]
    printing.table(("last runs", "hits", "compiled", "hit rate"), last)
    return EXIT_DONE


def _value_in_words(value: object) -> object:
    """Return an option's value in the form in which it is given; of the rules, only their number."""
    if not isinstance(value, tuple):
        return value
    if all(isinstance(item, str) for item in value):
        return os.pathsep.join(value) or "none"
    return printing.counted(len(value), "rule")


def _rate(run: dict[str, Any]) -> str:
    """Return the hit rate of a process; a process without a lookup, such as a forked worker, has none."""
    return f"{run['hit_rate']:.1%}" if run["hits"] + run["compiled"] else "-"


def _status_in_words(state: dict[str, Any]) -> str:
    """Return the status; if the hook is not active, also the status that a start would have."""
    if state["active"]:
        return str(state["status"])
    start_status = state["start"]["status"]
    return f"disabled; {start_status}, once it is active" if start_status != "disabled" else "disabled"


def show_inspect(parsed: argparse.Namespace) -> int:
    """Print the content of a pyc."""
    from pycachehook.commands import inspect

    path, source = (parsed.pyc, None) if os.path.lexists(parsed.pyc) else inspect.first_pyc(parsed.pyc, parsed.config)
    contents = inspect.inspect(path, source)
    if parsed.json:
        say_json(contents)
        return EXIT_DONE
    tree = contents.pop("code")
    for name, value in contents.items():
        say(f"{name.replace('_', ' '):14} {'unknown' if value is None else value}")
    if tree is not None:
        printing.code_tree(tree)
    if parsed.dis:
        for line in inspect.disassembly(path):
            say(line)
    return EXIT_DONE


def show_explain(parsed: argparse.Namespace) -> int:
    """Print how a module would be imported."""
    from pycachehook.commands import explain

    explanation = explain.explain(parsed.module, parsed.config, parsed.script)
    if parsed.json:
        say_json(explanation)
        return EXIT_DONE
    printing.say_wrapped(f"{explanation['module']}: {explanation['source'] or explanation['why']}")
    if explanation["source"] and explanation["why"]:
        printing.say_wrapped(f"{explanation['why']}", "  ")
    if explanation["rule"] is not None:
        printing.say_wrapped(f"rule: {explanation['rule']}", "  ")
    for name, option in explanation["options"].items():
        if option["origin"] != "default" and name != "rules":  # the one that applies has been printed
            printing.say_wrapped(f"{name} = {option['value']!r} ({option['origin']})", "  ")
    for place in explanation["places"]:
        detail = f" ({place['detail']})" if place["detail"] else ""
        printing.say_wrapped(f"{place['place']}: {place['verdict']}: {place['path']}{detail}", "  ")
    printing.say_wrapped(
        f"outcome{'' if explanation['active'] or not explanation['ours'] else ' if it were active'}: {explanation['outcome']}",
        "  ",
    )
    return EXIT_DONE


def show_doctor(parsed: argparse.Namespace) -> int:
    """Print the problems of the environment, or of a start; the exit code says whether there are any."""
    from pycachehook.commands import doctor, start_modules

    if parsed.prefix is not None:
        return report_on(parsed.prefix, parsed.arguments)
    given = flags(parsed)
    start = start_modules.modules_of_a_start(parsed.modules, parsed.config, given) if parsed.modules else None
    examination = doctor.examine(parsed.config, given)
    missing = [] if start is None else start["missing"]
    bundles = {path: bundle for path in examination.archives if (bundle := _bundle(path)) is not None}
    if parsed.json:
        report: dict[str, Any] = {
            name: [vars(item) for item in getattr(examination, name)] for name in ("findings", "notes")
        }
        report["bundles"] = [{"path": path, **bundle} for path, bundle in bundles.items()]
        say_json({**report, **(start or {})})
        return EXIT_FAILED if examination.findings or missing else EXIT_DONE
    for finding in examination.findings:
        _say_finding(finding)
    if not examination.findings:
        say("nothing is wrong here")
    for note in examination.notes:
        _say_finding(note, "note: ")
    for path, bundle in bundles.items():
        printing.say_wrapped(f"{path}: {'; '.join(_bundle_in_words(bundle))}")
    if start is not None:
        say(f"{' '.join(parsed.modules)}: {len(missing)} of {start['modules']} modules are not in the cache")
        for module in missing:
            printing.say_wrapped(f"{module['module']}: {module['reason']}: {module['path']}", "  ")
    return EXIT_FAILED if examination.findings or missing else EXIT_DONE


def _bundle(archive: str) -> dict[str, Any] | None:
    """Return what was recorded when an archive was pulled; None if it was not pulled."""
    from pycachehook.bundles import describe

    origin = describe(archive)
    return origin if origin["changed"] or origin["digest"] is not None else None


def _bundle_in_words(bundle: dict[str, Any] | None) -> list[str]:
    """Return a bundle's digest, age, signer and source as the parts of a line."""
    if bundle is None:
        return []
    if bundle["changed"]:
        return ["replaced since `archive pull`: its origin is not known"]
    signer = f"signed by {bundle['signer']}" if bundle["signer"] else "not signed"
    return [f"sha256:{bundle['digest']}", f"made {printing.age(bundle['age'])} ago", signer, f"from {bundle['source']}"]


def _say_finding(each: Any, before: str = "") -> None:
    printing.say_wrapped(f"{before}{each.what}")
    printing.say_wrapped(f"costs: {each.costs}", "    ")
    printing.say_wrapped(f"fix:   {each.mend}", "    ")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "status": show_status,
    "explain": show_explain,
    "inspect": show_inspect,
    "doctor": show_doctor,
}
