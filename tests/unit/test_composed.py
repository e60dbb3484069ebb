"""What the processes of `precompile` and `archive build` are given: composed once, in the command's own process."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest

from pycachehook import archive, cache_dir, runtime
from pycachehook.commands import precompile
from pycachehook.commands.composed import Composed
from pycachehook.config import resolution
from pycachehook.events import Stats
from pycachehook.loader import CachingLoader

pytestmark = pytest.mark.usefixtures("no_hook")

RULES = ({"match": "*/plain/*", "enabled": False}, {"match": "*/other/*", "in_tree": "hashed"})


@pytest.mark.parametrize("layout", ["mirror", "shared"])
@pytest.mark.parametrize("in_tree", ["installed", "all", "hashed", "ignore"])
def test_policies_of_another_process(
    layout: str, in_tree: str, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pickled policies decide and store as the original ones do, and no directory is looked at to make them."""
    values = resolution.resolve(
        {"cache_dir": str(cache), "layout": layout, "in_tree": in_tree, "rules": RULES}
    ).values()
    pickled = pickle.dumps(Composed(runtime.compose(values, Stats())))
    with monkeypatch.context() as patch:
        patch.setattr(cache_dir.CacheDir, "__init__", lambda *_, **__: pytest.fail("composed again"))
        policies = pickle.loads(pickled).policies()
    assert policies.of("/plain/m.py") is None
    assert policies.of("/other/m.py") is not policies.of("/m.py")
    path = tmp_path / "m.py"
    path.write_text("answer = 42\n", encoding="utf-8")
    for misses in ({"absent": 1}, {}):
        policy = policies.of(str(path))
        policy.stats.reset()
        assert CachingLoader("m", str(path), policies).get_code("m")
        assert (policy.stats.misses, policy.stats.errors) == (misses, 0)


@pytest.mark.parametrize("jobs", [1, 2])
def test_precompile_composes_once(jobs: int, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And opens no archive, in no process."""
    (tmp_path / "no.pyca").write_bytes(b"no archive")
    calls = []
    compose = runtime.compose

    def counted(values: dict[str, Any], stats: Stats) -> runtime.Composition:
        calls.append(1)
        return compose(values, stats)

    monkeypatch.setattr(precompile, "compose", counted)
    monkeypatch.setattr(archive, "open_all", lambda *_, **__: pytest.fail("an archive is opened"))
    files = []
    for number in range(20):
        path = tmp_path / f"m{number}.py"
        path.write_text(f"answer = {number}\n", encoding="utf-8")
        files.append(str(path))
    values = resolution.resolve({"cache_dir": str(cache), "archives": [str(tmp_path / "no.pyca")]}).values()
    found = precompile.precompile(files, values, jobs)
    assert (found.compiled, found.valid, found.failed, calls) == (20, 0, [], [1])
    found = precompile.precompile(files, values, jobs)
    assert (found.compiled, found.valid, found.failed, calls) == (0, 20, [], [1, 1])
