"""The arguments of the verbs of `archive`."""

import argparse
import re
from collections.abc import Callable

from .flags import add_json, add_selection
from .units import size

_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600}

_Command = Callable[..., argparse.ArgumentParser]


def _add_build(command: _Command) -> argparse.ArgumentParser:
    build = command("write an archive", "pycachehook archive build --environment --path src app.pyca")
    build.add_argument("archive", metavar="OUT", help="the file to write")
    build.add_argument(
        "--path", action="append", default=[], metavar="DIR", help="a directory of sources (default: the environment)"
    )
    build.add_argument(
        "--environment", action="store_true", help="the whole environment, in addition to other selections"
    )
    build.add_argument(
        "--invalidation-mode",
        choices=("checked-hash", "unchecked-hash"),
        default="checked-hash",
        help="check each source at its import, or the names in each root once at a start (default: checked-hash)",
    )
    build.add_argument(
        "--attest", action="store_true", help="write an in-toto statement beside it: what it was built from"
    )
    build.add_argument("--force", action="store_true", help="replace a file that is no archive")
    build.add_argument("--profile", metavar="PROFILE", help="the output of `run --record`: its sources come first")
    add_selection(build)
    return build


def _add_list(command: _Command) -> argparse.ArgumentParser:
    return _add_archive_file(command("show the content of an archive", "pycachehook archive list app.pyca"))


def _add_archive_verify(command: _Command) -> argparse.ArgumentParser:
    verify = command("check an archive", "pycachehook archive verify --sources app.pyca")
    verify.add_argument("--sources", action="store_true", help="also compare each source")
    return _add_archive_file(verify)


def _add_archive_file(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("archive", metavar="ARCHIVE", help="the file")
    command.add_argument("--allow-shared", action="store_true", help="accept a file that others may write to")
    add_json(command)
    return command


def _add_push(command: _Command) -> argparse.ArgumentParser:
    push = command("publish an archive", "pycachehook archive push env.pyca s3://bucket/env --sign env.key")
    push.add_argument("archive", metavar="ARCHIVE", help="the file")
    push.add_argument("destination", metavar="DEST", help="a path, file://, https://, s3://, gs://, az:// or oci://")
    push.add_argument("--sign", metavar="KEY", help="a file with a secret minisign key")
    add_json(push)
    return push


def _add_pull(command: _Command) -> argparse.ArgumentParser:
    example = "pycachehook archive pull s3://bucket/env env.pyca --key env.pub --if-changed"
    return _add_policy(command("fetch an archive", example))


def _add_spread(command: _Command) -> argparse.ArgumentParser:
    example = "mpiexec pycachehook archive spread s3://bucket/env /dev/shm/me/env.pyca --key env.pub"
    return _add_policy(command("fetch an archive once and give it to each node of an MPI job", example))


def _add_policy(command: argparse.ArgumentParser) -> argparse.ArgumentParser:
    command.add_argument("source", metavar="SRC", help="where `archive push` has put it")
    command.add_argument("archive", metavar="DEST", help="the file to write")
    command.add_argument(
        "--key", action="append", default=[], metavar="PUB", help="a public minisign key that may have signed it"
    )
    command.add_argument("--pin", metavar="SHA256", type=_digest, help="the digest that the archive must have")
    command.add_argument("--max-size", metavar="N", type=size, default=4 << 30, help="bytes, as 500M (default: 4G)")
    command.add_argument("--timeout", metavar="T", type=_time, default=600.0, help="as 30s or 5m (default: 10m)")
    command.add_argument(
        "--if-changed", action="store_true", help="do nothing if the record of the last pull is still valid"
    )
    command.add_argument("--allow-unsigned", action="store_true", help="accept a bundle without --key and --pin")
    command.add_argument("--allow-older", action="store_true", help="accept a bundle older than the one in place")
    add_json(command)
    return command


ADDERS: dict[str, Callable[[_Command], argparse.ArgumentParser]] = {
    "build": _add_build,
    "list": _add_list,
    "verify": _add_archive_verify,
    "push": _add_push,
    "pull": _add_pull,
    "spread": _add_spread,
}


def _digest(text: str) -> str:
    digest = text.removeprefix("sha256:").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise argparse.ArgumentTypeError(f"{text!r} is not a SHA-256 digest: 64 hexadecimal digits")
    return digest


def _time(text: str) -> float:
    match = _TIME.fullmatch(text)
    if match is None or not float(match[1]):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time, such as 30s")
    return min(float(match[1]) * _SECONDS[match[2]], 1e6)
