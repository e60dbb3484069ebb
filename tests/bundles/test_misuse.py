"""Wrong arguments and hostile surroundings: one sentence on standard error, exit code 1 or 2, and nothing is lost."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .conftest import digest

if TYPE_CHECKING:
    from conftest import Python

    from .conftest import Keys

pytestmark = [pytest.mark.full, pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX files")]

COMMAND = ("-m", "pycachehook", "archive")


def refused(python: Python, *words: str | Path, code: int = 1, cwd: Path | None = None) -> str:
    """Run a command of `archive` that fails, check that it says why in one sentence, and return that."""
    done = python(*COMMAND, *words, check=False, cwd=cwd)
    assert done.returncode == code, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("pycachehook: error: ")
    assert len(line) < 400
    return line.removeprefix("pycachehook: error: ")


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("pull", "place"), 2, "are required: DEST"),
        (("pull", "place", "x", "y"), 2, "unrecognized arguments: y"),
        (("pull", "place", "x", "--pin", "zz"), 2, "'zz' is not a SHA-256 digest"),
        (("pull", "place", "x", "--timeout", "0"), 2, "is not a time"),
        (("pull", "place", "x", "--keys", "a"), 2, "did you mean --key"),
        (("pull", "place", "x"), 1, "--allow-unsigned"),
        (("pull", "place", "x", "--key", "gone"), 1, "The public key gone cannot be read: No such file"),
        (("pull", "place", "x", "--key", "."), 1, "The public key [.] cannot be read: "),
        (("pull", "place", "x", "--key", "secret"), 1, "secret is no public key"),
        (("pull", "", "x", "--key", "public"), 1, "The place of the bundle is empty"),
        (("pull", "place", "", "--key", "public"), 1, "is a directory"),
        (("pull", "place", ".", "--key", "public"), 1, "is a directory"),
        (("pull", "place", "/", "--key", "public"), 1, "/ is a directory"),
        (("pull", "place", "public/x", "--key", "public"), 1, "public cannot be used: Not a directory"),
        (("pull", "gone", "x", "--key", "public"), 1, "gone has no bundle for this interpreter"),
        (("pull", "public", "x", "--key", "public"), 1, "cannot be read: Not a directory"),
        (("pull", "ftp://host/x", "x", "--key", "public"), 1, "is not a place for bundles"),
        (("pull", "file:gone", "x", "--key", "public"), 1, "gone has no bundle for this interpreter"),
        (("pull", "s3:bucket/x", "x", "--key", "public"), 1, "s3: must be followed by //"),
        (("push", "gone.pyca", "there"), 1, "gone.pyca"),
        (("push", "archive", "OCI:host/x:1"), 1, "oci: must be followed by //"),
        (("push", "public", "there"), 1, "is no archive"),
        (("push", "archive", "public"), 1, "public cannot be written"),
        (("push", "archive", "there", "--sign", "gone"), 1, "The secret key gone cannot be read"),
        (("push", "archive", "there", "--sign", "public"), 1, "public is no secret key"),
    ],
)
def test_arguments(
    words: tuple[str, ...], code: int, why: str, pushed: Path, archive: Path, keys: Keys, tmp_path: Path, python: Python
) -> None:
    """A wrong argument is named."""
    for name, target in {"place": pushed, "archive": archive}.items():
        (tmp_path / name).symlink_to(target)
    shutil.copy(keys.public, tmp_path / "public")
    shutil.copy(keys.secret, tmp_path / "secret")
    before = sorted(os.listdir(tmp_path))
    assert re.search(why, refused(python, *words, code=code, cwd=tmp_path))
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("kind", ["fifo", "socket", "device"])
def test_no_regular_file_at_dest(kind: str, place: Path, keys: Keys, tmp_path: Path, python: Python) -> None:
    """A pipe, a socket or a device is neither replaced nor waited for."""
    dest = tmp_path / "dest"
    if kind == "fifo":
        os.mkfifo(dest)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(os.path.relpath(dest))
    else:
        try:
            os.mknod(dest, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        except OSError:
            pytest.skip("needs root: a device")
    before = dest.lstat()
    assert "is a device, a pipe or a socket" in refused(python, "pull", place, dest, "--key", keys.public)
    assert (dest.lstat().st_ino, dest.lstat().st_mode) == (before.st_ino, before.st_mode)
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith("dest")] == ["dest"]


def test_a_pipe_for_a_key_or_a_record(place: Path, keys: Keys, dest: Path, tmp_path: Path, python: Python) -> None:
    """Nothing waits for a writer."""
    os.mkfifo(tmp_path / "key")
    assert "no regular file" in refused(python, "pull", place, dest, "--key", tmp_path / "key")
    dest.parent.mkdir()
    os.mkfifo(f"{dest}.bundle.json")
    python(*COMMAND, "pull", place, dest, "--key", keys.public)
    assert Path(f"{dest}.bundle.json").is_file()


def test_a_link_at_dest(place: Path, archive: Path, keys: Keys, tmp_path: Path, python: Python) -> None:
    """A link is replaced, and its target remains; a link to a directory is refused."""
    target, dest = tmp_path / "target", tmp_path / "dest"
    target.write_bytes(b"precious")
    for points_to in (target, tmp_path / "gone", dest):
        dest.unlink(missing_ok=True)
        dest.symlink_to(points_to)
        python(*COMMAND, "pull", place, dest, "--key", keys.public)
        assert dest.read_bytes() == archive.read_bytes()
        assert target.read_bytes() == b"precious"
    dest.unlink()
    dest.symlink_to(tmp_path)
    assert "is a directory" in refused(python, "pull", place, dest, "--key", keys.public)
    assert dest.is_symlink()


def test_where_nothing_can_be_created(place: Path, keys: Keys, python: Python) -> None:
    """A file system without files of its own is named at once."""
    if not Path("/proc/self").exists():
        pytest.skip("needs /proc")
    assert "Nothing can be written to /proc: " in refused(python, "pull", place, "/proc/x", "--key", keys.public)


def test_a_full_disk(
    place: Path, archive: Path, older_archive: Path, keys: Keys, tmp_path: Path, python: Python
) -> None:
    """Too little space is noticed before the transfer, or while writing; the old archive remains."""
    from pycachehook.bundles.push import push

    push(str(older_archive), str(tmp_path / "older"), str(keys.secret))
    disk = tmp_path / "disk"
    disk.mkdir()
    need = older_archive.stat().st_size
    pull = [python.executable, *COMMAND, "pull"]
    for fill, why in ((0, "bytes free, and the bundle needs"), (1, "No space left on device")):
        # A `statvfs` that reports plenty stands for another process that fills the disk during the transfer.
        patch = tmp_path / "site" / "sitecustomize.py"
        patch.parent.mkdir(exist_ok=True)
        plenty = "import shutil\nshutil.disk_usage = lambda path: shutil._ntuple_diskusage(1 << 50, 0, 1 << 50)\n"
        patch.write_text(plenty if fill else "", encoding="utf-8")
        script = f"""
            set -e
            mount -t tmpfs -o size={2 * need + 40_000},mode=755 none {disk}
            {shlex.join([*pull, str(tmp_path / "older"), str(disk / "x"), "--key", str(keys.public)])}
            head -c {need} /dev/zero >{disk}/other
            status=0
            {shlex.join([*pull, str(place), str(disk / "x"), "--key", str(keys.public)])} || status=$?
            sha256sum {disk}/x
            ls {disk}
            exit $status
        """
        environment = {**python.environment, "PYTHONPATH": str(patch.parent), "PATH": os.environ["PATH"]}
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", script], env=environment, capture_output=True, text=True, check=False
        )
        if "unshare" in done.stderr or "mount:" in done.stderr:
            pytest.skip("needs root: mounts")
        assert done.returncode == 1, done.stdout + done.stderr
        (line,) = done.stderr.splitlines()
        assert why in line
        left = done.stdout.splitlines()[-3:]
        assert digest(older_archive) in done.stdout.splitlines()[1]
        assert left == ["other", "x", "x.bundle.json"]


def test_without_permission(place: Path, archive: Path, keys: Keys, dest: Path, python: Python) -> None:
    """A process that may not write to DEST's directory, or not read the place, says so; the old archive remains."""
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("needs setpriv, or another user than root")
        limited = type(python)("setpriv", **python.environment)
        words: tuple[str | Path, ...] = ("--bounding-set=-all", "--inh-caps=-all", python.executable, *COMMAND)
    else:
        limited, words = python, COMMAND
    python(*COMMAND, "pull", place, dest, "--key", keys.public)
    dest.write_bytes(b"old")
    for closed, mode, target, why in (
        (dest.parent, 0o555, dest, f"{dest.parent}: Permission denied"),
        (dest.parent, 0o555, dest.parent / "new" / "x.pyca", "new cannot be used: Permission denied"),
        (place, 0o000, dest, "cannot be read: Permission denied"),
    ):
        closed.chmod(mode)
        done = limited(*words, "pull", place, target, "--key", keys.public, check=False)
        closed.chmod(0o755)
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1), done.stderr
        assert why in done.stderr
        assert dest.read_bytes() == b"old"
    limited(*words, "pull", place, dest, "--key", keys.public)
    assert dest.read_bytes() == archive.read_bytes()


def test_a_closed_port_and_proxies(pushed: Path, keys: Keys, dest: Path, python: Python) -> None:
    """A connection that fails has its cause in the message, and a proxy that the environment names."""
    pytest.importorskip("obstore", reason="needs the extra `remote`: obstore")
    pytest.importorskip("oras", reason="needs the extra `remote`: oras")
    key = ("--key", keys.public)
    for place in ("http://127.0.0.1:1/x", "http://[::1]:1/x", "https://127.0.0.1:1/x"):
        assert "it refuses the connection." in refused(python, "pull", place, dest, *key)
    for place in ("oci://127.0.0.1:1/x:1", "oci://[::1]:1/x:1"):
        assert "cannot be reached, or cut the connection." in refused(python, "pull", place, dest, *key)
    proxied = python.within({"http_proxy": "http://127.0.0.1:1", "HTTP_PROXY": "http://127.0.0.1:1"})
    for place in ("http://192.0.2.1/x", "oci://127.0.0.1:1/x:1"):
        assert "(HTTP_PROXY is set)." in refused(proxied, "pull", place, dest, *key)


@pytest.fixture
def web(pushed: Path) -> Callable[[str, ssl.SSLContext | None], int]:
    """Return a function that serves the bundle at an address, and returns the port."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            pass

    def start(address: str, context: ssl.SSLContext | None) -> int:
        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in address else socket.AF_INET

            def handle_error(self, *_arguments: object) -> None:
                pass  # a client that ends the handshake

        try:
            server = Server((address, 0), lambda *given: Handler(*given, directory=str(pushed)))
        except OSError:
            pytest.skip(f"needs the address {address}")
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return int(server.server_address[1])

    return start


def test_ipv6(web: Callable[..., int], archive: Path, keys: Keys, dest: Path, python: Python) -> None:
    """An IPv6 address in brackets is a host like any other."""
    pytest.importorskip("obstore", reason="needs the extra `remote`: obstore")
    port = web("::1", None)
    without_proxy = python.within({"NO_PROXY": "*", "no_proxy": "*"})
    without_proxy(*COMMAND, "pull", f"http://[::1]:{port}", dest, "--key", keys.public)
    assert dest.read_bytes() == archive.read_bytes()


def test_certificates(web: Callable[..., int], keys: Keys, dest: Path, tmp_path: Path, python: Python) -> None:
    """An unknown certificate, and a server without TLS, are told apart."""
    pytest.importorskip("obstore", reason="needs the extra `remote`: obstore")
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "cert.pem")]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject, *files]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    client = python.within({"NO_PROXY": "*", "no_proxy": "*"})
    told = refused(client, "pull", f"https://127.0.0.1:{web('127.0.0.1', context)}", dest, "--key", keys.public)
    assert "its TLS certificate is not accepted" in told
    told = refused(client, "pull", f"https://127.0.0.1:{web('127.0.0.1', None)}", dest, "--key", keys.public)
    assert "it does not use TLS" in told
