"""The commands that tell of a set-up, a module or a file and change nothing: each prints what its tool returns."""

import argparse
import os
from collections.abc import Callable
from typing import Any

from . import printing
from .environment import report_on
from .flags import flags
from .printing import DONE, FAILED, say, say_json

_SHOWN = 12  # distributions, without --verbose


def show_status(parsed: argparse.Namespace) -> int:
    """Print what is installed here, or would be, and what is in its cache."""
    from pycachehook.commands import status

    if parsed.prefix is not None:
        return report_on(parsed.prefix, parsed.arguments)
    state = status.status(parsed.config, flags(parsed))
    for each in state["archives"]:
        each["bundle"] = _bundle(each["path"])
    if parsed.json:
        say_json(state)
        return DONE
    shown = {"active": "yes" if state["active"] else "no, but enabled" if state["enabled"] else "no"}
    shown |= {"status": _status_in_words(state)}
    shown |= {} if state["reason"] is None else {"reason": state["reason"]}
    lookups = [(each["hits"], each["compiled"]) for each in state["last_runs"]]
    hits, total = sum(each[0] for each in lookups), sum(map(sum, lookups))
    if total:
        runs = printing.counted(len(lookups), "run")
        shown["hits"] = f"{hits / total:.1%} of {printing.counted(total, 'lookup')} in the last {runs}"
    shown |= {"entries": state["entries"], "bytes": printing.human(state["bytes"])}
    if state["bytes_saved"]:
        shown["bytes saved"] = f"{printing.human(state['bytes_saved'])} (shared entries, over all recorded uses)"
    if "stats_reason" in state:
        shown["statistics"] = state["stats_reason"]
    for each in state["archives"]:
        shown[f"archive {each['path']}"] = "; ".join([each["reason"] or "in use", *_bundle_in_words(each["bundle"])])
    shown |= {
        name: f"{option['value']}  ({option['origin']})"
        for name, option in state["options"].items()
        if parsed.verbose or name == "cache_dir" or option["origin"] != "default"
    }
    shown |= {name: state[name] for name in ("version", "python")}
    printing.facts(shown)
    rows = [(name, each["entries"], printing.human(each["bytes"])) for name, each in state["distributions"].items()]
    printing.table(("distribution", "entries", "size"), rows if parsed.verbose else rows[:_SHOWN])
    if len(rows) > _SHOWN and not parsed.verbose:
        say(f"... and {len(rows) - _SHOWN} more, which --verbose shows")
    last = [(each["argv0"], each["hits"], each["compiled"], f"{each['hit_rate']:.1%}") for each in state["last_runs"]]
    printing.table(("last runs", "hits", "compiled", "hit rate"), last)
    return DONE


def _status_in_words(state: dict[str, Any]) -> str:
    """Return the status; where the hook is not active, with the one that a start would have."""
    if state["active"]:
        return str(state["status"])
    would_be = state["start"]["status"]
    return f"disabled; {would_be}, once it is active" if would_be != "disabled" else "disabled"


def show_inspect(parsed: argparse.Namespace) -> int:
    """Print what is in a pyc."""
    from pycachehook.commands import inspect

    path, source = (parsed.pyc, None) if os.path.lexists(parsed.pyc) else inspect.first_pyc(parsed.pyc, parsed.config)
    found = inspect.inspect(path, source)
    if parsed.json:
        say_json(found)
        return DONE
    tree = found.pop("code")
    for name, value in found.items():
        say(f"{name.replace('_', ' '):14} {'unknown' if value is None else value}")
    if tree is not None:
        printing.code_tree(tree)
    if parsed.dis:
        for line in inspect.disassembly(path):
            say(line)
    return DONE


def show_explain(parsed: argparse.Namespace) -> int:
    """Print how a module would be imported."""
    from pycachehook.commands import explain

    found = explain.explain(parsed.module, parsed.config, parsed.script)
    if parsed.json:
        say_json(found)
        return DONE
    say(f"{found['module']}: {found['source'] or found['why']}")
    if found["source"] and found["why"]:
        say(f"  {found['why']}")
    if found["rule"] is not None:
        say(f"  rule: {found['rule']}")
    for name, option in found["options"].items():
        if option["origin"] != "default":
            say(f"  {name} = {option['value']!r} ({option['origin']})")
    for place in found["places"]:
        detail = f" ({place['detail']})" if place["detail"] else ""
        say(f"  {place['place']}: {place['verdict']}: {place['path']}{detail}")
    say(f"  outcome{'' if found['active'] or not found['ours'] else ', were it active'}: {found['outcome']}")
    return DONE


def show_doctor(parsed: argparse.Namespace) -> int:
    """Print what is wrong here, or in a start; the exit code says whether anything is."""
    from pycachehook.commands import doctor, start_modules

    if parsed.prefix is not None:
        return report_on(parsed.prefix, parsed.arguments)
    given = flags(parsed)
    start = start_modules.modules_of_a_start(parsed.modules, parsed.config, given) if parsed.modules else None
    found = doctor.examine(parsed.config, given)
    missing = [] if start is None else start["missing"]
    bundles = {path: bundle for path in found.archives if (bundle := _bundle(path)) is not None}
    if parsed.json:
        told: dict[str, Any] = {name: [vars(each) for each in getattr(found, name)] for name in ("findings", "notes")}
        told["bundles"] = [{"path": path, **bundle} for path, bundle in bundles.items()]
        say_json({**told, **(start or {})})
        return FAILED if found.findings or missing else DONE
    for each in found.findings:
        _say_finding(each)
    if not found.findings:
        say("nothing is wrong here")
    for each in found.notes:
        _say_finding(each, "note: ")
    for path, bundle in bundles.items():
        printing.say_wrapped(f"{path}: {'; '.join(_bundle_in_words(bundle))}")
    if start is not None:
        say(f"{' '.join(parsed.modules)}: {len(missing)} of {start['modules']} modules are not in the cache")
        for each in missing:
            say(f"  {each['module']}: {each['reason']}: {each['path']}")
    return FAILED if found.findings or missing else DONE


def _bundle(archive: str) -> dict[str, Any] | None:
    """Return what was recorded when an archive was pulled, None where it was not."""
    from pycachehook.bundles import describe

    found = describe(archive)
    return found if found["changed"] or found["digest"] is not None else None


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
    printing.say_wrapped(f"mend:  {each.mend}", "    ")


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "status": show_status,
    "explain": show_explain,
    "inspect": show_inspect,
    "doctor": show_doctor,
}
