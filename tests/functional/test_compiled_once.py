"""Simultaneous cold processes with real packages and the standard library: each file is compiled by one of them."""

from __future__ import annotations

import fcntl
import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Python

PROCESSES = 8
PROGRAM = """
import fcntl, json, sys
print("ready", flush=True)
with open(sys.argv[3]) as file:
    fcntl.flock(file, fcntl.LOCK_SH)
import pycachehook
hook = pycachehook.install(sys.argv[1], in_tree="ignore", lock_timeout=200, layout=sys.argv[2])
import importlib, pkgutil
for name in sys.argv[4:]:
    package = importlib.import_module(name)
    for each in pkgutil.walk_packages(package.__path__, name + ".", onerror=lambda _: None):
        try:
            importlib.import_module(each.name)
        except (Exception, SystemExit):  # what needs settings or another package, or is a program
            pass
sys.stdout.write("\\n" + json.dumps(hook.stats.as_dict()))
"""


@pytest.mark.full
@pytest.mark.alone
@pytest.mark.parametrize("layout", ["mirror", pytest.param("shared", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "requirement",
    ["jinja2", pytest.param("django", marks=pytest.mark.slow), pytest.param("sqlalchemy", marks=pytest.mark.slow)],
)
def test_real_package(
    requirement: str, layout: str, make_environment: Callable[..., Python], cache: Path, tmp_path: Path
) -> None:
    """Eight processes together compile and store each file once, files of the standard library too."""
    environment, log = make_environment(requirement), tmp_path / "log.txt"
    gate = tmp_path / "gate"
    arguments = ("-W", "ignore", "-c", PROGRAM, cache, layout, gate, requirement, "email", "asyncio", "unittest")
    with gate.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        started = [environment.start(*arguments, PYCACHEHOOK_LOG=str(log)) for _ in range(PROCESSES)]
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
    said = [process.communicate(timeout=600) for process in started]
    stats = [json.loads(output.splitlines()[-1]) for output, _ in said]  # modules that are programs print, too
    lines = [line.partition(": ")[2] for line in log.read_text(encoding="utf-8").splitlines()]
    compiled = Counter(line for line in lines if ", compiled" in line)
    assert set(compiled.values()) == {1}
    entries = sum(1 for _ in cache.rglob("*.pyc"))
    numbers = [sum(each[name] for each in stats) for name in ("compiled", "stored", "errors")]
    print(f"{requirement}, {layout}: {numbers[0]} compiled, {numbers[1]} stored, {entries} entries")
    same = entries if layout == "mirror" else numbers[0]  # in the shared layout all empty files have one entry
    assert numbers == [same, numbers[0], 0]
    assert entries <= numbers[0]
