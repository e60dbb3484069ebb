"""The commands `archive build`, `archive list` and `archive verify`: each calls its tool and prints the outcome."""

import argparse
from collections.abc import Callable

from pycachehook import runtime
from pycachehook.commands import archive_build, archive_verify, precompile

from . import printing
from .printing import DONE, FAILED, say, say_json


def _build(parsed: argparse.Namespace) -> int:
    files = precompile.sources(
        parsed.path, parsed.distribution, parsed.module, parsed.exclude, environment=parsed.environment
    )
    paths = [*parsed.path, *precompile.site_packages()]
    profile = archive_build.read_profile(parsed.profile) if parsed.profile else []
    jobs = parsed.jobs or precompile.usable_processors()
    with printing.progress("compiling", len(files), quiet=parsed.json) as advance:
        built = archive_build.build(
            parsed.archive,
            files,
            paths=paths,
            mode=parsed.invalidation_mode,
            profile=profile,
            jobs=jobs,
            cache=runtime.resolve({}, "flag").values(),
            force=parsed.force,
            progress=advance,
        )
    if parsed.json:
        say_json(built.as_dict())
    else:
        printing.troubles(built)
        failed = printing.troubles_counted(built)
        say(
            f"{built.path}: {printing.counted(built.entries, 'entry', 'entries')}, {printing.human(built.bytes)}{failed}"
        )
    return FAILED if built.failed else DONE


def _list(parsed: argparse.Namespace) -> int:
    found = archive_verify.contents(archive_verify.open_archive(parsed.archive, allow_shared=parsed.allow_shared))
    if parsed.json:
        say_json(found)
        return DONE
    level = f" with -{'O' * found['optimization']}" if found["optimization"] else ""
    size = printing.human(sum(each["bytes"] for each in found["entries"]))
    entries = printing.counted(len(found["entries"]), "entry", "entries")
    say(f"{found['path']}: {found['tag']}{level}, {found['mode']}, {entries}, {size}")
    for root in found["roots"]:
        place = root["place"] or "not here"
        say(f"  {root['name']}: {place}{'' if root['why'] is None else ' (' + root['why'] + ')'}")
    printing.table(
        ("source", "bytes"), [(f"{each['root']}/{each['source']}", each["bytes"]) for each in found["entries"]]
    )
    return DONE


def _verify(parsed: argparse.Namespace) -> int:
    opened = archive_verify.open_archive(parsed.archive, allow_shared=parsed.allow_shared)
    outcome = archive_verify.verify(opened, sources=parsed.sources)
    printing.verified(parsed.archive, outcome, as_json=parsed.json)
    return FAILED if outcome.bad else DONE


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {"build": _build, "list": _list, "verify": _verify}
