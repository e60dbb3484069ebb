"""The commands that tell of a set-up, a module or a file and change nothing: each prints what its tool returns."""

import argparse
import os

from . import printing
from .printing import DONE, FAILED, say, say_json


def show_status(parsed: argparse.Namespace) -> int:
    """Print what is installed here, or would be, and what is in its cache."""
    from pycachehook.commands import status

    state = status.status(parsed.config)
    if parsed.json:
        say_json(state)
        return DONE
    shown = {
        **{name: state[name] for name in ("active", "version", "python", "status", "reason", "entries")},
        "bytes": printing.human(state["bytes"]),
        **{name: f"{each['value']}  ({each['origin']})" for name, each in state["options"].items()},
    }
    if state["bytes_saved"]:
        shown["bytes saved"] = f"{printing.human(state['bytes_saved'])} (shared entries, over all recorded uses)"
    if "stats_reason" in state:
        shown["statistics"] = state["stats_reason"]
    for each in state["archives"]:
        shown[f"archive {each['path']}"] = each["reason"] or "in use"
    if not state["active"]:
        shown["status"] += ", once it is active"
    printing.facts(shown)
    rows = [(name, each["entries"], printing.human(each["bytes"])) for name, each in state["distributions"].items()]
    printing.table(("distribution", "entries", "size"), rows)
    runs = [(each["argv0"], each["hits"], each["compiled"], f"{each['hit_rate']:.1%}") for each in state["last_runs"]]
    printing.table(("last runs", "hits", "compiled", "hit rate"), runs)
    return DONE


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

    found = explain.explain(parsed.module, parsed.config)
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
    """Print what is wrong here; the exit code says whether anything is."""
    from pycachehook.commands import doctor

    findings = list(doctor.examine(parsed.config))
    if parsed.json:
        say_json({"findings": [vars(each) for each in findings]})
    else:
        for each in findings:
            say(each.what)
            say(f"    costs: {each.costs}")
            say(f"    mend:  {each.mend}")
        if not findings:
            say("nothing is wrong here")
    return FAILED if findings else DONE
