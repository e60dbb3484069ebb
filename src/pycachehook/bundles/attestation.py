"""`archive build --attest`: an in-toto statement (https://in-toto.io/Statement/v1) on what an archive was built from.

The subject is the archive with its SHA-256 digest. The predicate is SLSA provenance. Its materials
(`resolvedDependencies`) are the interpreter and each installed distribution, with its version and the digest of its
RECORD, which contains the digests of its files. The statement does not depend on when or where the archive was built.
It is not signed; `minisign` and other tools can sign it.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

from pycachehook import __version__
from pycachehook.archive import Archive
from pycachehook.commands import archive_verify
from pycachehook.commands.atomic_write import replacing

from .environment import this_interpreter
from .errors import BundleError, missing_library

SUFFIX = ".intoto.json"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "https://pycachehook.github.io/pycachehook/how-to/bundles/#attestation"
BUILDER = "https://github.com/pycachehook/pycachehook"
_INSTALLED = ("purelib", "platlib")  # roots with installed distributions


def require_library() -> None:
    """Raise `BundleError` before anything is built if the extra `attest` is not installed."""
    _library()


def _library() -> tuple[Any, ...]:
    try:
        from google.protobuf.json_format import MessageToDict
        from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
        from in_toto_attestation.v1.resource_descriptor import ResourceDescriptor
        from in_toto_attestation.v1.statement import Statement
    except ImportError:
        raise missing_library("in-toto-attestation", "attest") from None
    return MessageToDict, Provenance, ResourceDescriptor, Statement


def attest(path: str) -> str:
    """Write the statement on the archive at `path` beside it, by rename, and return its path; raises `BundleError`."""
    path = os.path.abspath(path)
    archive = archive_verify.open_archive(path)
    document = statement(archive, _sha256(path))
    out = path + SUFFIX
    try:
        with replacing(out) as file:
            file.write(json.dumps(document, indent=1, sort_keys=True).encode() + b"\n")
    except OSError as error:
        raise BundleError(f"The statement {out} cannot be written: {error.strerror or error}.") from None
    return out


def statement(archive: Archive, sha256: str) -> dict[str, Any]:
    """Return the statement on an archive with this digest, as plain data."""
    to_dict, provenance, descriptor, whole = _library()
    interpreter = this_interpreter()
    predicate = provenance()
    definition = predicate.build_definition
    definition.build_type = BUILD_TYPE
    definition.external_parameters.update(
        {
            "invalidation_mode": archive.mode,
            "roots": [{"name": each.name, "listing_hash": each.listing_hash.hex()} for each in archive.roots],
        }
    )
    definition.internal_parameters.update(interpreter._asdict())
    version = ".".join(map(str, sys.version_info[:3]))
    python = f"pkg:generic/{sys.implementation.name}@{version}"
    definition.resolved_dependencies.append(descriptor(name=sys.implementation.name, uri=python).pb)
    places = dict.fromkeys(each.directory for each in archive.roots if each.name in _INSTALLED)
    for name, uri, digest in sorted(each for place in places for each in _materials(place)):
        definition.resolved_dependencies.append(
            descriptor(name=name, uri=uri, digest=None if digest is None else {"sha256": digest}).pb
        )
    predicate.run_details.builder.id = BUILDER
    predicate.run_details.builder.version["pycachehook"] = __version__
    subject = descriptor(name=os.path.basename(archive.path_name), digest={"sha256": sha256}).pb
    made = whole([subject], PREDICATE_TYPE, to_dict(predicate))
    made.validate()
    found: dict[str, Any] = to_dict(made.pb)
    return found


def _materials(place: str) -> Iterator[tuple[str, str, str | None]]:
    """Yield the name, the package URL and the SHA-256 digest of the RECORD of each distribution in a directory."""
    from importlib.metadata import PathDistribution
    from pathlib import Path

    for folder in Path(place).glob("*.dist-info"):
        metadata = PathDistribution(folder).metadata
        name, version = metadata["Name"], metadata["Version"]
        if not name or not version:
            continue
        record = folder / "RECORD"  # Debian's packages have no RECORD
        digest = _sha256(str(record)) if record.is_file() else None
        yield f"{folder.name}/RECORD", f"pkg:pypi/{name.lower().replace('_', '-')}@{version}", digest


def _sha256(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror or error}.") from None
