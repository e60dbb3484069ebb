"""The arguments of `archive push`, `archive pull` and `archive spread`."""

import argparse
import re
from collections.abc import Callable
from typing import Any

_TIME = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|)")
_SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "h": 3600}


def add(verbs: Any, command: Callable[..., argparse.ArgumentParser], size: Callable[[str], int]) -> None:
    """Add the three verbs to `archive`'s, by the functions that add a command and read a size."""
    push = command(
        verbs,
        "push",
        "publish an archive for others",
        "pycachehook archive push env.pyca s3://bucket/env --sign env.key",
    )
    push.add_argument("archive", metavar="ARCHIVE", help="the file")
    push.add_argument("destination", metavar="DEST", help="a path, file://, https://, s3://, gs://, az:// or oci://")
    push.add_argument("--sign", metavar="KEY", help="a file with a secret key of minisign")
    pull = command(
        verbs,
        "pull",
        "fetch an archive",
        "pycachehook archive pull s3://bucket/env env.pyca --key env.pub --if-changed",
    )
    spread = command(
        verbs,
        "spread",
        "fetch an archive once and give it to each node of an MPI job",
        "mpiexec pycachehook archive spread s3://bucket/env /dev/shm/me/env.pyca --key env.pub",
    )
    for each in (pull, spread):
        each.add_argument("source", metavar="SRC", help="where `archive push` put it")
        each.add_argument("archive", metavar="DEST", help="the file to write")
        each.add_argument(
            "--key", action="append", default=[], metavar="PUB", help="a public key of minisign that may have signed it"
        )
        each.add_argument("--pin", metavar="SHA256", type=_digest, help="the digest that the archive must have")
        each.add_argument("--max-size", metavar="N", type=size, default=4 << 30, help="bytes, as 500M (default: 4G)")
        each.add_argument("--timeout", metavar="T", type=_time, default=600.0, help="as 30s or 5m (default: 10m)")
        each.add_argument("--if-changed", action="store_true", help="believe the record of the last pull")
        each.add_argument("--allow-unsigned", action="store_true", help="accept a bundle without --key and --pin")
        each.add_argument("--allow-older", action="store_true", help="accept a bundle older than the one in place")
    for each in (push, pull, spread):
        each.add_argument("--json", action="store_true", help="print one JSON object")
        each.set_defaults(command="archive")


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
