"""The commands of `archive`: each calls its tool, which it alone loads, and prints the outcome."""

import argparse
from collections.abc import Callable

from . import printing
from .printing import DONE, FAILED, say, say_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pycachehook.bundles.pull import Policy, Pulled


def _build(parsed: argparse.Namespace) -> int:
    from pycachehook import runtime
    from pycachehook.commands import archive_build, precompile

    if parsed.attest:
        from pycachehook.bundles import attestation

        attestation.require_library()
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
    statement = {"attestation": attestation.attest(built.path)} if parsed.attest else {}
    if parsed.json:
        say_json({**built.as_dict(), **statement})
    else:
        printing.troubles(built)
        failed = printing.troubles_counted(built)
        say(
            f"{built.path}: {printing.counted(built.entries, 'entry', 'entries')}, {printing.human(built.bytes)}{failed}"
        )
        for path in statement.values():
            say(f"{path}: an in-toto statement, not signed")
    return FAILED if built.failed else DONE


def _list(parsed: argparse.Namespace) -> int:
    from pycachehook.commands import archive_verify

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
    from pycachehook.commands import archive_verify

    opened = archive_verify.open_archive(parsed.archive, allow_shared=parsed.allow_shared)
    outcome = archive_verify.verify(opened, sources=parsed.sources)
    printing.verified(parsed.archive, outcome, as_json=parsed.json)
    return FAILED if outcome.bad else DONE


def _push(parsed: argparse.Namespace) -> int:
    from pycachehook.bundles.push import push

    pushed = push(parsed.archive, parsed.destination, parsed.sign)
    if parsed.json:
        say_json(pushed.as_dict())
        return DONE
    signed = "signed" if pushed.signed else "not signed"
    sizes = f"{printing.human(pushed.size)}, {printing.human(pushed.payload_size)} compressed"
    say(f"{pushed.destination}: {pushed.variant}, {sizes}, {signed}")
    say(f"sha256:{pushed.sha256}")
    return DONE


def _policy(parsed: argparse.Namespace) -> "Policy":
    from pycachehook.bundles.pull import policy

    return policy(
        parsed.key,
        parsed.pin,
        allow_unsigned=parsed.allow_unsigned,
        allow_older=parsed.allow_older,
        max_size=parsed.max_size,
        timeout=parsed.timeout,
        if_changed=parsed.if_changed,
    )


def _pull(parsed: argparse.Namespace) -> int:
    from pycachehook.bundles.pull import pull

    wanted = _policy(parsed)
    with printing.transfer("pulling", quiet=parsed.json) as advance:
        pulled = pull(parsed.source, parsed.archive, wanted, advance)
    _print_pulled(pulled, as_json=parsed.json)
    return DONE


def _print_pulled(pulled: "Pulled", *, as_json: bool) -> None:
    if as_json:
        say_json(pulled.as_dict())
        return
    signer = f"signed by {pulled.signer}" if pulled.signer else "not signed"
    what = f"{printing.human(pulled.size)}, {signer}" if pulled.changed else "unchanged"
    say(f"{pulled.path}: {what}, sha256:{pulled.sha256}")


def _spread(parsed: argparse.Namespace) -> int:
    from pycachehook.bundles.spread import spread

    outcome = spread(parsed.source, parsed.archive, lambda: _policy(parsed))
    if outcome.error is not None:
        if outcome.speaks:
            printing.complain(f"pycachehook: error: {outcome.error}")
        return FAILED
    if outcome.speaks:
        if parsed.json:
            say_json(outcome.as_dict())
        else:
            say(f"{printing.counted(outcome.nodes, 'node')}: {parsed.archive}, sha256:{outcome.sha256}")
    return DONE


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "build": _build,
    "list": _list,
    "verify": _verify,
    "push": _push,
    "pull": _pull,
    "spread": _spread,
}
