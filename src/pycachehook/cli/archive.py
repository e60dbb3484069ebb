"""The commands of `archive`: each calls one function, whose module it loads, and prints the result."""

from collections.abc import Callable

from . import printing
from .printing import EXIT_DONE, EXIT_FAILED, say, say_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from pycachehook.bundles.unchanged import Place, Policy, Pulled


def _build(parsed: "argparse.Namespace") -> int:
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
        printing.problems(built)
        failed = printing.counts_of_problems(built)
        say(
            f"{built.path}: {printing.counted(built.entries, 'entry', 'entries')}, {printing.human(built.bytes)}{failed}"
        )
        for path in statement.values():
            say(f"{path}: an in-toto statement, not signed")
    return EXIT_FAILED if built.failed else EXIT_DONE


def _list(parsed: "argparse.Namespace") -> int:
    from pycachehook.commands import archive_verify

    contents = archive_verify.contents(archive_verify.open_archive(parsed.archive, allow_shared=parsed.allow_shared))
    if parsed.json:
        say_json(contents)
        return EXIT_DONE
    level = f" with -{'O' * contents['optimization']}" if contents["optimization"] else ""
    size = printing.human(sum(entry["bytes"] for entry in contents["entries"]))
    entries = printing.counted(len(contents["entries"]), "entry", "entries")
    say(f"{contents['path']}: {contents['tag']}{level}, {contents['mode']}, {entries}, {size}")
    for root in contents["roots"]:
        directory = root["place"] or "not here"
        say(f"  {root['name']}: {directory}{'' if root['why'] is None else ' (' + root['why'] + ')'}")
    printing.table(
        ("source", "bytes"), [(f"{entry['root']}/{entry['source']}", entry["bytes"]) for entry in contents["entries"]]
    )
    return EXIT_DONE


def _verify(parsed: "argparse.Namespace") -> int:
    from pycachehook.commands import archive_verify

    opened = archive_verify.open_archive(parsed.archive, allow_shared=parsed.allow_shared)
    outcome = archive_verify.verify_archive(opened, sources=parsed.sources)
    printing.verified(parsed.archive, outcome, as_json=parsed.json)
    return EXIT_FAILED if outcome.bad else EXIT_DONE


def _push(parsed: "argparse.Namespace") -> int:
    from pycachehook.bundles.push import push

    pushed = push(parsed.archive, parsed.destination, parsed.sign)
    if parsed.json:
        say_json(pushed.as_dict())
        return EXIT_DONE
    signed = "signed" if pushed.signed else "not signed"
    sizes = f"{printing.human(pushed.size)}, {printing.human(pushed.payload_size)} compressed"
    say(f"{pushed.destination}: {pushed.variant}, {sizes}, {signed}")
    say(f"sha256:{pushed.sha256}")
    return EXIT_DONE


def _policy(parsed: "argparse.Namespace") -> "Policy":
    from pycachehook.bundles.unchanged import policy

    return policy(
        parsed.key,
        parsed.pin,
        allow_unsigned=parsed.allow_unsigned,
        allow_older=parsed.allow_older,
        max_size=parsed.max_size,
        timeout=parsed.timeout,
        if_changed=parsed.if_changed,
    )


def _pull(parsed: "argparse.Namespace") -> int:
    from pycachehook.bundles.unchanged import Place

    place = Place(parsed.source, parsed.archive, _policy(parsed))
    pulled = place.unchanged() or _fetch(place, quiet=parsed.json)
    _print_pulled(pulled, as_json=parsed.json)
    return EXIT_DONE


def _fetch(place: "Place", *, quiet: bool) -> "Pulled":
    from pycachehook.bundles.pull import fetch

    with printing.transfer("pulling", quiet=quiet) as advance:
        return fetch(place, advance)


def _print_pulled(pulled: "Pulled", *, as_json: bool) -> None:
    if as_json:
        say_json(pulled.as_dict())
        return
    signer = f"signed by {pulled.signer}" if pulled.signer else "not signed"
    what = f"{printing.human(pulled.size)}, {signer}" if pulled.changed else "unchanged"
    say(f"{pulled.path}: {what}, sha256:{pulled.sha256}")


def _spread(parsed: "argparse.Namespace") -> int:
    from pycachehook.bundles.spread import spread

    outcome = spread(parsed.source, parsed.archive, lambda: _policy(parsed))
    if outcome.error is not None:
        if outcome.speaks:
            printing.complain(f"pycachehook: error: {outcome.error}")
        return EXIT_FAILED
    if outcome.speaks:
        if parsed.json:
            say_json(outcome.as_dict())
        else:
            say(f"{printing.counted(outcome.nodes, 'node')}: {parsed.archive}, sha256:{outcome.sha256}")
    return EXIT_DONE


COMMANDS: "dict[str, Callable[[argparse.Namespace], int]]" = {
    "build": _build,
    "list": _list,
    "verify": _verify,
    "push": _push,
    "pull": _pull,
    "spread": _spread,
}
