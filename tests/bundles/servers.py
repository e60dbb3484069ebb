"""Real servers on the loopback interface; `docs/bundles.md` uses the same commands to start them."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

PACKAGES = {  # Debian packages, by program
    "docker-registry": "docker-registry",
    "htpasswd": "apache2-utils",
    "skopeo": "skopeo",
    "nginx": "nginx-light",
    "minisign": "minisign",
}


def program(name: str) -> str:
    """Return the path of a program, installed if this is root on a Debian system; skips the test elsewhere."""
    places = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", os.defpath), "/usr/sbin"))
    found = shutil.which(name, path=places)
    if found is None and name in PACKAGES and hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("apt-get"):
        # Prevents the installation from starting services, even without /usr/sbin/policy-rc.d.
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", PACKAGES[name]]
        done = subprocess.run(command, env=environment, capture_output=True, check=False)
        if done.returncode:
            subprocess.run(["apt-get", "update", "-qq"], capture_output=True, check=False)
            subprocess.run(command, env=environment, capture_output=True, check=False)
        found = shutil.which(name, path=places)
    if found is None:
        pytest.skip(f"needs the program {name}" + (f": apt-get install {PACKAGES[name]}" if name in PACKAGES else ""))
    return found


def free_port() -> int:
    """Return an unused port of the loopback interface."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextlib.contextmanager
def running(command: list[str | Path], port: int, log: Path, **environment: str) -> Iterator[None]:
    """Run a server during a `with` block, from its first accepted connection; its children end with it."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            start_new_session=True,
        )
    try:
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > end:
                    pytest.fail(
                        f"{command[0]} does not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}"
                    )
                time.sleep(0.02)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


Start = Callable[[Path], "contextlib.AbstractContextManager[tuple[str, dict[str, str]]]"]


@contextlib.contextmanager
def registry(folder: Path, *, login: bool = False) -> Iterator[tuple[str, dict[str, str]]]:
    """Run Debian's docker-registry; yield a URL in it and the environment with the credentials."""
    server, port = program("docker-registry"), free_port()
    configuration = {
        "version": "0.1",
        "storage": {"filesystem": {"rootdirectory": str(folder / "storage")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    environment = {}
    if login:
        users = folder / "htpasswd"
        command: list[str | Path] = [program("htpasswd"), "-Bbc", users, "me", "secret"]
        subprocess.run(command, check=True, capture_output=True)
        configuration["auth"] = {"htpasswd": {"realm": "tests", "path": str(users)}}
        encoded = base64.b64encode(b"me:secret").decode()
        docker = {"auths": {f"127.0.0.1:{port}": {"auth": encoded}}}
        (folder / "docker").mkdir()
        (folder / "docker" / "config.json").write_text(json.dumps(docker), encoding="utf-8")
        environment["DOCKER_CONFIG"] = str(folder / "docker")
    path = folder / "registry.yml"
    path.write_text(json.dumps(configuration), encoding="utf-8")  # JSON is valid YAML
    with running([server, "serve", path], port, folder / "registry.log"):
        yield f"oci://127.0.0.1:{port}/team/env:1", environment


@contextlib.contextmanager
def moto(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Run moto's S3; yield the URL of a new bucket."""
    pytest.importorskip("moto.server", reason="needs moto[s3], flask and flask-cors")
    port = free_port()
    environment = _aws(port)
    command: list[str | Path] = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with running(command, port, folder / "moto.log"):
        import urllib.request

        request = urllib.request.Request(f"http://127.0.0.1:{port}/bundles", method="PUT")
        urllib.request.urlopen(request, timeout=30).close()
        yield "s3://bundles/team/env", environment


@contextlib.contextmanager
def rclone(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """Run rclone's S3 server for a directory; yield the URL of a bucket."""
    server, port = program("rclone"), free_port()
    (folder / "objects" / "bundles").mkdir(parents=True)
    command: list[str | Path] = [
        server,
        "serve",
        "s3",
        "--addr",
        f"127.0.0.1:{port}",
        "--auth-key",
        "tests-key,tests-secret",
        folder / "objects",
    ]
    with running(command, port, folder / "rclone.log"):
        yield "s3://bundles/team/env", _aws(port)


def _aws(port: int) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "tests-key",
        "AWS_SECRET_ACCESS_KEY": "tests-secret",
        "AWS_REGION": "us-east-1",
    }


@contextlib.contextmanager
def nginx(folder: Path, rate: str = "0", port: int = 0) -> Iterator[tuple[str, dict[str, str]]]:
    """Run nginx for a directory, sending each body at a `rate` such as `100k`, if one is given."""
    server, port = program("nginx"), port or free_port()
    root = folder / "files"
    root.mkdir(exist_ok=True)
    (folder / "nginx.conf").write_text(
        f"""
        daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/error.log;
        events {{ }}
        http {{
            access_log {folder}/access.log; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            sendfile on;
            server {{ listen 127.0.0.1:{port}; root {root}; limit_rate {rate}; }}
        }}
        """,
        encoding="utf-8",
    )
    with running([server, "-p", folder, "-c", folder / "nginx.conf"], port, folder / "nginx.log"):
        yield f"http://127.0.0.1:{port}/env", {}
