"""The patterns of rules: the same results as `fnmatch`, without loading it."""

from __future__ import annotations

import itertools
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from hypothesis import example, given
from hypothesis import strategies as st

from conftest import examples
from pycachehook.patterns import matcher

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Python


def test_every_short_pattern() -> None:
    """Patterns match whole paths as in fnmatch."""
    short = ["".join(letters) for length in range(5) for letters in itertools.product("ab/*", repeat=length)]
    patterns = [*short, "?", "a?b", "[ab]*", "*[!a]", "*.py", "*/site-packages/*", "a*b*a"]
    paths = [each for each in short if "*" not in each] + ["/x/site-packages/m.py", "ababa", "a\nb", "*"]
    differing = []
    for pattern in patterns:
        matches = matcher((pattern,))
        differing += [(pattern, path) for path in paths if matches(path) != fnmatchcase(path, pattern)]
    assert differing == []


@examples(2000)
@given(st.text("ab-[]!?*/", max_size=12), st.text("ab-[]!?/", max_size=8))
@example("[]-a]", "b")
@example("[!]]*", "a]")
@example("[a-", "[a-")
@example("[b-a]", "a")
@example("[a-b-/]?", "-a")
def test_any_pattern(pattern: str, path: str) -> None:
    """Sets, negated sets, ranges and similar text have the same meaning as in fnmatch."""
    assert matcher((pattern,))(path) == fnmatchcase(path, pattern)


def test_any_pattern_is_enough() -> None:
    """A path matches if one of the patterns does; no patterns match nothing."""
    matches = matcher(("/a/*", "/b/?*"))
    assert matches("/b/m.py")
    assert not matches("/c/m.py")
    assert not matcher(())("/b/m.py")


def test_start_with_rules_loads_no_configuration(python: Python, cache: Path) -> None:
    """Recorded rules need neither `config` nor `re`, whatever their patterns contain."""
    program = f"""
import sys
from pycachehook.config import resolution
rules = [{{"match": "*/?[ab]*", "read_only": True}}]
values = resolution.resolve({{"cache_dir": {str(cache)!r}, "rules": rules}}).values()
for name in list(sys.modules):
    if name.startswith("pycachehook") or name in ("re", "fnmatch", "typing"):
        del sys.modules[name]
from pycachehook import runtime
assert runtime.start_up(values, runtime.__version__, "startup.py")
assert runtime.installed().policies.of("/x/zb.py").store.read_only
assert not {{"re", "fnmatch", "typing", "pycachehook.config"}} & {{*sys.modules}}
"""
    python("-c", program)
