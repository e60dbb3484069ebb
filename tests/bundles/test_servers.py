"""Push, pull and import through real servers, in processes that have only their addresses and credentials."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.bundles import MB, make_archive
from conftest import Python
from pycachehook.bundles.push import push

from . import servers
from .conftest import assert_imports_from, digest, left_beside

if TYPE_CHECKING:
    from .conftest import Keys

pytestmark = pytest.mark.full
pytest.importorskip("obstore", reason="needs the extra `remote`: obstore")
pytest.importorskip("oras", reason="needs the extra `remote`: oras")

HEAVY = {"oras", "requests", "minisign", "zstandard", "rich", "filelock", "dataclasses", "subprocess", "tarfile"}
HEAVY |= {"hashlib", "shutil", "importlib_metadata", "pycachehook.runtime", "argparse"}
HEAVY |= {"base64", "queue", "http.client", "ssl", "pycachehook.bundles.pull", "pycachehook.bundles.manifest"}
COMMAND = ("-m", "pycachehook", "archive")
STARTS: dict[str, servers.Start] = {
    "registry": servers.registry,
    "registry with login": functools.partial(servers.registry, login=True),
    "moto": servers.moto,
    "rclone": servers.rclone,
}


@pytest.mark.parametrize("kind", STARTS)
def test_there_and_back(
    kind: str, archive: Path, older_archive: Path, tmp_path: Path, dest: Path, keys: Keys, python: Python, cache: Path
) -> None:
    """Two pushes, a pull, an import, and a second pull that transfers nothing."""
    with STARTS[kind](tmp_path) as (place, environment):
        for each in (older_archive, archive):
            python.within(environment)(*COMMAND, "push", each, place, "--sign", keys.secret)
            pulled = python.within(environment)(*COMMAND, "pull", place, dest, "--key", keys.public, "--json")
            said = json.loads(pulled.stdout)
            assert (said["changed"], said["sha256"], said["source"]) == (True, digest(each), place)
            assert dest.read_bytes() == each.read_bytes()
        again = python.within(environment)(*COMMAND, "pull", place, dest, "--key", keys.public, "--if-changed")
        assert "unchanged" in again.stdout
        assert not left_beside(dest)
        assert_imports_from(python, dest, cache)
        for wrong in (place + "2", place.replace("/team/", "/nobody/")):
            failed = python.within(environment)(*COMMAND, "pull", wrong, dest, "--key", keys.public, check=False)
            assert failed.returncode == 1
            assert failed.stderr.count("\n") == 1, failed.stderr


@pytest.mark.parametrize("kind", ["registry with login", "rclone"])
def test_without_credentials(kind: str, archive: Path, tmp_path: Path, dest: Path, python: Python) -> None:
    """Missing and wrong credentials are refused in one sentence without a secret."""
    with STARTS[kind](tmp_path) as (place, environment):
        kept = {name: value for name, value in environment.items() if name in ("AWS_ENDPOINT_URL", "AWS_ALLOW_HTTP")}
        for given in (
            kept,
            {**kept, "AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "wrong-secret", "AWS_REGION": "x"},
        ):
            for arguments in (("push", archive, place), ("pull", place, dest, "--allow-unsigned", "--timeout", "20")):
                failed = python.within(given)(*COMMAND, *arguments, check=False)
                assert failed.returncode == 1
                assert failed.stderr.count("\n") == 1, failed.stderr
                assert "secret" not in failed.stderr


def test_nothing_to_do_costs_one_request(
    pushed: Path, archive: Path, tmp_path: Path, dest: Path, keys: Keys, python: Python
) -> None:
    """A pull without changes makes one request, and loads no module for transfers."""
    with servers.nginx(tmp_path) as (web, _), servers.registry(tmp_path, login=True) as (tag, environment):
        shutil.copytree(pushed, tmp_path / "files" / "env")
        client = Python(python.executable, **{**python.environment, **environment})
        client(*COMMAND, "push", archive, tag, "--sign", keys.secret)
        for place, log in ((pushed, None), (web, tmp_path / "access.log"), (tag, tmp_path / "registry.log")):
            words = (*COMMAND, "pull", place, dest, "--key", keys.public)
            client(*words)
            before = requests(log)
            again = client("-X", "importtime", *words, "--if-changed")
            assert "unchanged" in again.stdout
            assert len(requests(log)) - len(before) == (log is not None)
            loaded = imports(again) - imports(client("-X", "importtime", "-c", "pass"))  # what `.pth` files import
            assert "pycachehook.bundles.unchanged" in loaded
            assert not loaded & (HEAVY | {"typing", "obstore"} if log is None else HEAVY)
            dest.unlink()


def imports(process: subprocess.CompletedProcess[str]) -> set[str]:
    """Return the modules that a process under `-X importtime` has loaded."""
    return {line.rpartition("|")[2].strip() for line in process.stderr.splitlines()}


def requests(log: Path | None) -> list[str]:
    """Return the lines of a server's log that record requests."""
    lines = log.read_text(encoding="utf-8").splitlines() if log is not None else []
    return [line for line in lines if line.startswith("127.0.0.1 - ")]


def test_nginx(
    pushed: Path, archive: Path, tmp_path: Path, dest: Path, keys: Keys, python: Python, cache: Path
) -> None:
    """Any web server's directory works for a pull: three requests, then one."""
    with servers.nginx(tmp_path) as (place, _):
        shutil.copytree(pushed, tmp_path / "files" / "env")
        python(*COMMAND, "pull", place, dest, "--key", keys.public)
        assert dest.read_bytes() == archive.read_bytes()
        log = tmp_path / "access.log"
        assert len(log.read_text(encoding="utf-8").splitlines()) == 3
        python(*COMMAND, "pull", place, dest, "--key", keys.public, "--if-changed")
        assert len(log.read_text(encoding="utf-8").splitlines()) == 4
        assert_imports_from(python, dest, cache)


def test_slow_and_cut_bodies(tmp_path: Path, dest: Path, keys: Keys, python: Python) -> None:
    """A body too slow ends with the time that is allowed, a killed server with one sentence; then a range brings the rest."""
    archive = make_archive(tmp_path, 4 * MB)
    (tmp_path / "files").mkdir()
    push(str(archive), str(tmp_path / "files" / "env"), str(keys.secret))
    words = (*COMMAND, "pull", "{place}", tmp_path / "sources" / "pulled.pyca", "--key", keys.public)
    port = servers.free_port()

    def pull(place: str, *more: str, client: Callable[..., Any]) -> Any:
        return client(*(place if word == "{place}" else word for word in words), *more)

    with servers.nginx(tmp_path, "200k", port) as (place, _):
        slow = pull(place, "--timeout", "2s", client=functools.partial(python, check=False))
        assert (slow.returncode, slow.stderr.count("\n")) == (1, 1)
        assert "longer than 2 seconds" in slow.stderr
        running = pull(place, client=python.start)
        wait_for(lambda: any(each.stat().st_size for each in (tmp_path / "sources").glob(f"*-{running.pid}-*.part*")))
    _, told = running.communicate(timeout=60)  # nginx is no more
    assert (running.returncode, told.count("\n")) == (1, 1)
    assert not (tmp_path / "sources" / "pulled.pyca").exists()
    log = tmp_path / "access.log"
    log.unlink()
    with servers.nginx(tmp_path, "0", port) as (place, _):
        pull(place, client=python)
    assert (tmp_path / "sources" / "pulled.pyca").read_bytes() == archive.read_bytes()
    assert [line.split('"')[2].split()[0] for line in log.read_text(encoding="utf-8").splitlines()][-1] == "206"


def wait_for(condition: Callable[[], bool]) -> None:
    """Return as soon as something is so, which another process brings about; fail after a minute."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_an_image_for_others(archive: Path, tmp_path: Path, python: Python) -> None:
    """The bundle in a registry is an image: skopeo copies it, and its layer is a tar file with the archive."""
    skopeo = servers.program("skopeo")
    with servers.registry(tmp_path) as (place, environment):
        python.within(environment)(*COMMAND, "push", archive, place)
        image = tmp_path / "image"
        source = place.replace("oci://", "docker://")
        options = ["--override-os", "linux", "--src-tls-verify=false"]
        subprocess.run([skopeo, "copy", *options, source, f"dir:{image}"], check=True, capture_output=True)
        layout = f"oci:{tmp_path / 'layout'}:1"
        subprocess.run([skopeo, "copy", "--all", *options[2:], source, layout], check=True, capture_output=True)
    manifest = json.loads((image / "manifest.json").read_bytes())
    (layer,) = manifest["layers"]
    zstandard = pytest.importorskip("zstandard", reason="needs zstandard")
    reader = zstandard.ZstdDecompressor().stream_reader(
        (image / layer["digest"].removeprefix("sha256:")).read_bytes(), read_across_frames=True
    )
    import hashlib
    import io
    import tarfile

    data = reader.read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["archive.pyca"]
        member = tar.extractfile("archive.pyca")
        assert member is not None
        assert member.read() == archive.read_bytes()
    config = json.loads((image / manifest["config"]["digest"].removeprefix("sha256:")).read_bytes())
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(data).hexdigest()]


def test_several_interpreters_under_one_tag(
    archive: Path, tmp_path: Path, dest: Path, python: Python, keys: Keys
) -> None:
    """A push for one interpreter keeps the bundles of others."""
    import urllib.request

    with servers.registry(tmp_path) as (place, _):
        python(*COMMAND, "push", archive, place, "--sign", keys.secret)
        host = place.removeprefix("oci://").partition("/")[0]
        url = f"http://{host}/v2/team/env/manifests/1"
        kind = "application/vnd.oci.image.index.v1+json"
        index = json.loads(urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": kind})).read())
        index["manifests"][0]["annotations"]["io.pycachehook.variant"] = "cpython-399"
        data = json.dumps(index).encode()
        put = urllib.request.Request(url, data, {"Content-Type": kind}, method="PUT")
        urllib.request.urlopen(put).close()
        failed = python(*COMMAND, "pull", place, dest, "--key", keys.public, check=False)
        assert "has no bundle for" in failed.stderr
        python(*COMMAND, "push", archive, place, "--sign", keys.secret)
        index = json.loads(urllib.request.urlopen(urllib.request.Request(url, headers={"Accept": kind})).read())
        variants = [each["annotations"]["io.pycachehook.variant"] for each in index["manifests"]]
        assert len(variants) == 2
        assert "cpython-399" in variants
        python(*COMMAND, "pull", place, dest, "--key", keys.public)
