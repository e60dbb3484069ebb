"""`archive build --attest`: a statement about the sources of an archive, checked with in-toto's library."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycachehook.bundles import attestation
from pycachehook.bundles.errors import BundleError

from .conftest import digest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Python

pytest.importorskip("in_toto_attestation", reason="needs the extra `attest`")


def build(python: Python, out: Path, *options: str) -> dict[str, Any]:
    """Build an archive with a statement, and return the command's result."""
    command = ("-m", "pycachehook", "archive", "build", "--attest", "--json", *options, str(out))
    said: dict[str, Any] = json.loads(python(*command).stdout)
    return said


def test_statement(python: Python, tmp_path: Path) -> None:
    """Its subject is the archive; in-toto's library accepts it; the same archive has the same statement."""
    from google.protobuf.json_format import ParseDict
    from in_toto_attestation.predicates.provenance.v1.provenance_pb2 import Provenance
    from in_toto_attestation.v1.statement import Statement

    texts = []
    for _ in range(2):
        out = tmp_path / "env.pyca"
        said = build(python, out, "--module", "json", "--module", "filelock")
        assert said["attestation"] == f"{out}.intoto.json"
        texts.append(Path(said["attestation"]).read_bytes())
    assert texts[0] == texts[1]
    document = json.loads(texts[0])
    assert document["_type"] == "https://in-toto.io/Statement/v1"
    assert document["subject"] == [{"name": "env.pyca", "digest": {"sha256": digest(out)}}]
    parsed = ParseDict(document, Statement([], "", {}).pb)
    Statement.copy_from_pb(parsed).validate()
    provenance = ParseDict(document["predicate"], Provenance())
    materials = {
        each.uri: (each.name, each.digest["sha256"]) for each in provenance.build_definition.resolved_dependencies
    }
    import filelock

    version = filelock.__version__
    folder = Path(filelock.__file__).parent.parent / f"filelock-{version}.dist-info"
    name, found = materials[f"pkg:pypi/filelock@{version}"]
    assert name == f"filelock-{version}.dist-info/RECORD"
    assert found == hashlib.sha256((folder / "RECORD").read_bytes()).hexdigest()
    assert any(uri.startswith("pkg:generic/cpython@3.") for uri in materials)


def test_beside_an_archive_in_its_own_root(
    python: Python, tmp_path: Path, tree: Callable[[dict[str, str]], Path]
) -> None:
    """The statement beside an `unchecked-hash` archive in its own root does not make the archive outdated."""
    root = tree({"one.py": "", "two.py": ""})
    out = root / "app.pyca"
    build(python, out, "--invalidation-mode", "unchecked-hash", "--path", str(root))
    said = json.loads(python("-m", "pycachehook", "archive", "list", "--json", out).stdout)
    assert [each["used"] for each in said["roots"]] == [True]


def test_without_the_library(python: Python, tmp_path: Path) -> None:
    """One sentence names the missing extra, before anything is built."""
    hide = (
        "import sys; sys.modules['in_toto_attestation'] = None; from pycachehook.cli.main import main; sys.exit(main())"
    )
    words = ("archive", "build", "--attest", "--module", "json", tmp_path / "env.pyca")
    failed = python("-c", hide, *words, check=False)
    assert failed.returncode == 1
    assert "pip install 'pycachehook[attest]'" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.pyca*"))


def test_where_it_cannot_be_written(archive: Path, tmp_path: Path) -> None:
    """The error names the file that cannot be written."""
    path = tmp_path / "env.pyca"
    path.write_bytes(archive.read_bytes())
    (tmp_path / "env.pyca.intoto.json").mkdir()
    with pytest.raises(BundleError, match=r"env\.pyca\.intoto\.json cannot be written"):
        attestation.attest(str(path))
    assert {each.name for each in tmp_path.iterdir()} == {"env.pyca", "env.pyca.intoto.json"}
