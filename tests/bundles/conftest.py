"""Fixtures of the tests of bundles: archives, keys, and an HTTP server with configurable faults."""

from __future__ import annotations

import hashlib
import http.server
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pycachehook.bundles.pull import Policy, policy
from pycachehook.bundles.push import push
from pycachehook.commands import archive_build, precompile

if TYPE_CHECKING:
    from conftest import Python

minisign = pytest.importorskip("minisign", reason="needs the extra `remote`: py-minisign")
if sys.version_info < (3, 14):
    pytest.importorskip("zstandard", reason="needs the extra `remote`: zstandard")

IMPORT = """
import json, pycachehook, json.tool, wave
hook = pycachehook.active()
print(json.dumps({**hook.stats.as_dict(), "reason": hook.reason}))
"""


@dataclass(frozen=True)
class Keys:
    """A pair of keys as files."""

    secret: Path
    public: Path

    def policy(self, **more: Any) -> Policy:
        """Return a policy that accepts only bundles signed by this key."""
        return policy((str(self.public),), **more)


def make_keys(folder: Path) -> Keys:
    """Write a pair of keys into a new folder."""
    folder.mkdir(parents=True)
    pair = minisign.KeyPair.generate()
    keys = Keys(folder / "key.sec", folder / "key.pub")
    keys.secret.write_bytes(bytes(pair.secret_key) + b"\n")
    keys.public.write_bytes(bytes(pair.public_key) + b"\n")
    return keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Return the trusted keys."""
    return make_keys(tmp_path_factory.mktemp("keys") / "ours")


@pytest.fixture(scope="session")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Return keys that no policy trusts."""
    return make_keys(tmp_path_factory.mktemp("keys") / "theirs")


def build(folder: Path, *modules: str, created: int = 1_700_000_000) -> Path:
    """Build an archive of modules of the standard library with the given creation time, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    out = folder / "built.pyca"
    files = precompile.sources([], [], list(modules), [])
    archive_build.build(str(out), files, mode="unchecked-hash")
    os.utime(out, (created, created))
    return out


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of a few modules."""
    return build(tmp_path_factory.mktemp("archive"), "json", "wave", created=1_700_000_000)


@pytest.fixture(scope="session")
def older_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return another archive, built a day earlier."""
    return build(tmp_path_factory.mktemp("archive"), "json", created=1_700_000_000 - 86400)


@pytest.fixture(scope="session")
def pushed(archive: Path, keys: Keys, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the archive as a signed bundle; tests that change it must copy it first."""
    place = tmp_path_factory.mktemp("pushed") / "place"
    push(str(archive), str(place), str(keys.secret))
    return place


@pytest.fixture
def place(pushed: Path, tmp_path: Path) -> Path:
    """Return a copy of that directory."""
    return Path(shutil.copytree(pushed, tmp_path / "place"))


@pytest.fixture
def dest(tmp_path: Path) -> Path:
    """Return a path for a pulled archive, in a directory that does not exist yet."""
    return tmp_path / "pulled" / "env.pyca"


def digest(path: Path) -> str:
    """Return a file's SHA-256 digest."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def only(place: Path, pattern: str) -> Path:
    """Return the only file that matches."""
    (found,) = place.glob(pattern)
    return found


def left_beside(dest: Path) -> set[str]:
    """Return the names of files beside an archive, except itself, its record and its lock."""
    return {
        each.name
        for each in dest.parent.iterdir()
        if each.name not in (dest.name, f"{dest.name}.bundle.json", f".pycachehook-{dest.name}.lock.tmp")
    }


def assert_imports_from(python: Python, archive: Path, cache: Path) -> None:
    """Check that a new process with the archive compiles nothing and loads modules from it."""
    import json

    # `--in-tree all`, because an editable installation has the package's own modules outside site-packages.
    options = ("--archives", archive, "--cache-dir", cache, "--in-tree", "all")
    said = json.loads(python("-m", "pycachehook", "run", *options, "-c", IMPORT).stdout)
    assert (said["compiled"], said["reason"]) == (0, None)
    assert said["hits_by_place"]["archive"] >= 2  # for json.tool and wave


@dataclass
class Server:
    """An HTTP server for a directory; `behave` may answer a request itself, and then returns true."""

    url: str
    requests: list[str] = field(default_factory=list)
    behave: Callable[[http.server.BaseHTTPRequestHandler, bytes], bool] = lambda _handler, _data: False


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Server]]:
    """Return a function that serves a directory on the loopback interface, with ranges."""
    running: list[http.server.ThreadingHTTPServer] = []

    def start(place: Path) -> Server:
        class Handler(_Handler):
            pass

        httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        httpd.daemon_threads = True
        httpd.block_on_close = False
        server = Server(f"http://127.0.0.1:{httpd.server_address[1]}")
        Handler.place, Handler.server_state = place, server
        threading.Thread(target=httpd.serve_forever, args=(0.01,), daemon=True).start()
        running.append(httpd)
        return server

    yield start
    for httpd in running:
        httpd.shutdown()
        httpd.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    place: Path
    server_state: Server

    def do_GET(self) -> None:
        path = self.place / self.path.lstrip("/")
        self.server_state.requests.append(f"{self.path} {self.headers.get('Range', '')}".strip())
        data = path.read_bytes() if path.is_file() else b""
        try:
            if self.server_state.behave(self, data):
                return
            if not path.is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            send(self, data)
        except OSError:
            self.close_connection = True

    def log_message(self, *_arguments: object) -> None:
        pass


def send(handler: http.server.BaseHTTPRequestHandler, data: bytes, announced: int | None = None) -> None:
    """Answer with `data`, or the requested part of it, and announce this many bytes."""
    wanted = handler.headers.get("Range")
    size, start = len(data), 0
    if wanted is not None:
        start = int(wanted.removeprefix("bytes=").partition("-")[0])
        data = data[start:]
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
    else:
        handler.send_response(200)
    handler.send_header("Content-Length", str(len(data) if announced is None else announced))
    handler.send_header("Accept-Ranges", "bytes")
    handler.end_headers()
    handler.wfile.write(data)
