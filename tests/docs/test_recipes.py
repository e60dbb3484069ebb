"""The recipes for many nodes, carried out as they are written: where there is no engine, its part is played by the test."""

from __future__ import annotations

import configparser
import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from conftest import MakeOnce, clean_environment, copy_environment, make_bare_environment, pip_install

from .blocks import PAGES, blocks, sessions, shell

pytestmark = pytest.mark.full

PAGE = PAGES / "how-to" / "fleet.md"
FILES = {block.argument: block.text for block in blocks(PAGE) if block.kind == "file"}
KEYS = """
import minisign
pair = minisign.KeyPair.generate()
open("env.key", "wb").write(bytes(pair.secret_key) + b"\\n")
open("env.pub", "wb").write(bytes(pair.public_key) + b"\\n")
"""
COUNT = """
import json, pycachehook
import rich.table
hook = pycachehook.active()
print(json.dumps([hook.stats.compiled, hook.stats.hits_by_place["archive"]]))
"""


@pytest.fixture(scope="session")
def template(wheel: Path, make_once: MakeOnce) -> Path:
    """Return an environment with rich, and with pycachehook and all that it needs for bundles."""

    def install(folder: Path) -> None:
        copy_environment(make_once("environment", make_bare_environment), folder)
        pip_install(folder / "bin" / "python", f"pycachehook[remote] @ {wheel.as_uri()}", "rich")

    return make_once("node", install)


@pytest.fixture
def node(environment: dict[str, str], template: Path, tmp_path: Path) -> dict[str, str]:
    """Return a shell's variables in a copy of that environment."""
    copy_environment(template, tmp_path / "node")
    return {**environment, "PATH": f"{tmp_path / 'node' / 'bin'}{os.pathsep}{environment['PATH']}"}


@pytest.fixture(scope="session")
def bundle(template: Path, make_once: MakeOnce) -> Path:
    """Return a directory with `pushed`, a signed bundle of that environment, and `env.pub`, the key."""

    def push(folder: Path) -> None:
        folder.mkdir()
        (folder / "keys.py").write_text(KEYS, encoding="utf-8")
        # Distributions only, and not the standard library: that takes long.
        names = " ".join(f"--distribution {name}" for name in ("rich", "pygments", "pycachehook"))
        shell(
            f"python keys.py && pycachehook archive build {names} env.pyca\n"
            "pycachehook archive push env.pyca pushed --sign env.key",
            folder,
            clean_environment(PATH=f"{template / 'bin'}{os.pathsep}{os.environ['PATH']}"),
        )

    return make_once("bundle", push)


def counted(command: str, folder: Path, variables: dict[str, str]) -> tuple[int, int]:
    """Return how many modules a start has compiled, and how many it has taken from the archive."""
    compiled, hits = json.loads(shell(command, folder, variables).splitlines()[-1])
    return compiled, hits


def substituted(text: str, **values: object) -> str:
    """Return a text in which places that only an engine has are directories of the test."""
    for name, value in values.items():
        text = text.replace({"bytecode": "/bytecode", "keys": "/keys"}.get(name, name), str(value))
    return text


def pod(name: str) -> dict[str, Any]:
    """Return the Kubernetes object in a file of the page."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    found: dict[str, Any] = yaml.safe_load(FILES[name])["spec"]
    return found


def test_init_container(node: dict[str, str], bundle: Path, tmp_path: Path) -> None:
    """The volume is writable for all, as the kubelet makes it; the pod's container starts from the archive."""
    spec = pod("pod.yaml")
    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o777)
    first, main = spec["initContainers"][0], spec["containers"][0]
    assert first["image"] == main["image"]
    command = first["command"][2].replace("oci://registry.example.org/app-bytecode:1", str(bundle / "pushed"))
    shell(substituted(command, bytecode=volume, keys=bundle), tmp_path, node)
    variables = {each["name"]: substituted(each["value"], bytecode=volume) for each in main["env"]}
    assert {"bytecode", "keys"} == {each["name"] for each in first["volumeMounts"]}
    shell(f"pycachehook enable --cache-dir {tmp_path}/cache", tmp_path, node)
    (tmp_path / "count.py").write_text(COUNT, encoding="utf-8")
    compiled, hits = counted("python count.py", tmp_path, {**node, **variables})
    assert (compiled, hits > 10) == (0, True)


def test_image_volume(node: dict[str, str], bundle: Path, tmp_path: Path) -> None:
    """What is in the image is one file of the name that the pod asks for; the kubelet's copy is root's, and read-only."""
    (main,) = pod("volume.yaml")["containers"]
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o755)
    from pycachehook.bundles.transports.oci import MEMBER

    shutil.copy(bundle / "env.pyca", volume / MEMBER)
    variables = {each["name"]: substituted(each["value"], bytecode=volume) for each in main["env"]}
    (tmp_path / "count.py").write_text(COUNT, encoding="utf-8")
    shell(f"pycachehook enable --cache-dir {tmp_path}/cache", tmp_path, node)
    compiled, hits = counted("python count.py", tmp_path, {**node, **variables})
    assert (compiled, hits > 10) == (0, True)


def test_systemd_timer(node: dict[str, str], bundle: Path, tmp_path: Path) -> None:
    """The service's command works twice, and the timer names the service; `systemd-analyze verify` agrees, if there."""
    units = {}
    for name in ("bytecode.service", "bytecode.timer"):
        units[name] = configparser.ConfigParser(strict=False, interpolation=None)
        units[name].read_string(FILES[name])
        (tmp_path / name).write_text(FILES[name].replace("/opt/app/bin/pycachehook", "/bin/true"), encoding="utf-8")
    assert set(units["bytecode.timer"]["Timer"]) == {"onbootsec", "onunitactivesec", "randomizeddelaysec"}
    command = units["bytecode.service"]["Service"]["ExecStart"]
    (tmp_path / "cache").mkdir()
    for place, other in (
        ("/opt/app/bin/pycachehook", "pycachehook"),
        ("https://bytecode.example.org/app", bundle / "pushed"),
        ("/var/cache/app", tmp_path / "cache"),
        ("/etc/app", bundle),
    ):
        assert place in command
        command = command.replace(place, str(other))
    assert "signed by" in shell(command, tmp_path, node)
    assert "unchanged" in shell(command, tmp_path, node)
    enabling = re.findall(r"`/opt/app/bin/(pycachehook enable [^`]*)`", PAGE.read_text(encoding="utf-8"))[0]
    shell(enabling.replace("/var/cache/app", str(tmp_path / "cache")), tmp_path, node)
    (tmp_path / "count.py").write_text(COUNT, encoding="utf-8")
    compiled, hits = counted("python count.py", tmp_path, node)
    assert (compiled, hits > 10) == (0, True)
    if shutil.which("systemd-analyze"):
        shell("systemd-analyze verify ./bytecode.service ./bytecode.timer", tmp_path, node)


def test_slurm(node: dict[str, str], bundle: Path, tmp_path: Path) -> None:
    """`srun` runs its command, `sbcast` copies; the job's program starts from the copy, and nothing stays behind."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (
        ("srun", 'while [ "${1#--}" != "$1" ]; do shift; done; exec "$@"'),
        ("sbcast", '[ "$1" = --force ] && shift; exec cp "$1" "$2"'),
    ):
        (tools / name).write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        (tools / name).chmod(0o755)
    shutil.copy(bundle / "env.pub", tmp_path)
    (tmp_path / "simulation.py").write_text(
        f"import os, pycachehook\npycachehook.install({str(tmp_path / 'cache')!r}){COUNT}", encoding="utf-8"
    )
    variables = {**node, "PATH": f"{tools}{os.pathsep}{node['PATH']}", "SLURM_JOB_ID": str(os.getpid())}
    script = FILES["job.sh"].replace("https://bytecode.example.org/app", str(bundle / "pushed"))
    compiled, hits = counted(script, tmp_path, variables)
    assert (compiled, hits > 10) == (0, True)
    assert not Path(f"/dev/shm/bytecode-{os.getpid()}").exists()


def test_lambda_layer(environment: dict[str, str], tmp_path: Path) -> None:
    """The layer, unpacked elsewhere with other modification times, serves a function that compiles nothing of it."""
    work = tmp_path / "work"
    work.mkdir()
    for block in sessions(PAGE)["layer"]:
        if block.kind == "file":
            (work / block.argument).write_text(block.text, encoding="utf-8")
        else:
            shell(block.text, work, environment)
    opt = tmp_path / "opt"
    with zipfile.ZipFile(work / "layer.zip") as layer:
        layer.extractall(opt)
    variables = {**environment, "PYTHONPATH": f"{opt}/python", "PYCACHEHOOK_ARCHIVES": f"{opt}/env.pyca"}
    program = "import json, function; print(json.dumps(function.handler(None, None)))"
    cache = str(tmp_path / "pyc")
    (work / "function.py").write_text(FILES["function.py"].replace("/tmp/pyc", cache), encoding="utf-8")
    said = json.loads(shell(f"{sys.executable} -B -c '{program}'", work, variables))
    assert said["compiled"] == 0  # the function itself is loaded before it installs the hook
    assert said["hits"]["archive"] > 10


@pytest.mark.slow
def test_github_artifact(environment: dict[str, str], tmp_path: Path) -> None:
    """The steps of one job, then in a new environment those of the other; the digest passes by the jobs' outputs."""
    yaml = pytest.importorskip("yaml", reason="needs PyYAML")
    jobs = yaml.safe_load(FILES["bytecode.yml"])["jobs"]
    (tmp_path / "build").mkdir()
    (tmp_path / "use").mkdir()
    (tmp_path / "build" / "requirements.txt").write_text(FILES["requirements.txt"], encoding="utf-8")
    outputs = tmp_path / "outputs"
    for step in jobs["build"]["steps"]:
        if "run" in step:
            shell(step["run"], tmp_path / "build", {**environment, "GITHUB_OUTPUT": str(outputs)})
    name, _, value = outputs.read_text(encoding="utf-8").strip().partition("=")
    assert name == "sha256"
    shutil.copytree(tmp_path / "build" / "bundle", tmp_path / "use" / "bundle")  # what the artifact's actions do
    shell("pip uninstall --quiet --yes rich", tmp_path, environment)
    for step in jobs["use"]["steps"]:
        if "run" in step:
            shell(step["run"].replace("${{ needs.build.outputs.sha256 }}", value), tmp_path / "use", environment)
    (tmp_path / "count.py").write_text(COUNT, encoding="utf-8")
    compiled, hits = counted("python count.py", tmp_path, environment)
    assert (compiled, hits > 10) == (0, True)
