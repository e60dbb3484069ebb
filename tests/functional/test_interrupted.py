"""Exceptions of signal handlers: what they interrupt leaves no more behind than it does without the hook."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import pytest

from . import interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from conftest import Python

TIMES = 400
BODY = "".join(f"def function_{number}(a):\n    return a + {number}\n" for number in range(30))

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="needs /proc to count descriptors")


@pytest.mark.parametrize(
    "options", [{}, pytest.param({"layout": "shared"}, marks=pytest.mark.slow)], ids=["mirror", "shared"]
)
def test_no_descriptor_is_lost(
    options: dict[str, Any], python: Python, tree: Callable[[Mapping[str, str]], Path], cache: Path
) -> None:
    """Of hundreds of imports that an exception interrupts, no more leave a descriptor open than without the hook."""
    names = [f"module_{number}" for number in range(4)]
    root = tree({f"{name}.py": f"{BODY}VALUE = {name!r}\n" for name in names})
    said = {}
    for side in ("stock", "hook"):
        place = cache / side
        place.mkdir(parents=True)
        command = (interrupted.__file__, side, root, place, json.dumps(options), "5", str(TIMES))
        said[side] = json.loads(python(*command).stdout)
    print(json.dumps(said), file=sys.stderr)
    for state in ("cold", "warm"):
        count, left = said["hook"][state]
        others, others_left = said["stock"][state]
        assert count > TIMES / 10
        assert left / count <= others_left / others + 0.02  # 0.25 and more before descriptors were held in lists
    assert said["hook"] | {"cold": 0, "warm": 0} == {"cold": 0, "warm": 0, "right": True, "temporary": 0, "errors": 0}
