"""Rules: different options for some sources, by path."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pycachehook.config.rules import distribution_patterns, parse_rules
from pycachehook.errors import ConfigError
from pycachehook.patterns import matcher

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

OFF = {"enabled": False}


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([], ()),
        ([{"match": "/a/*", **OFF}], ({"match": ("/a/*",), "enabled": False},)),
        (({"match": ["/a/*", "/b/*"], "enabled": "yes"},), ({"match": ("/a/*", "/b/*"), "enabled": True},)),
        ([{"match": "~/a", "read_only": "1"}], ({"match": ("/home/me/a",), "read_only": True},)),
        (
            [{"match": "a", "cache_dir": "~/c", "layout": "mirror", "invalidation_mode": "timestamp",
              "in_tree": "ignore"}],
            ({"match": ("a",), "cache_dir": "/home/me/c", "layout": "mirror", "invalidation_mode": "timestamp",
              "in_tree": "ignore"},),
        ),
        ('[{match = "a", enabled = false}, {match = "b", in_tree = "read"}]',
         ({"match": ("a",), "enabled": False}, {"match": ("b",), "in_tree": "all"})),
        ("[]", ()),
        ([{"distribution": "no-such-distribution", **OFF}],
         ({"match": (), "distribution": ("no-such-distribution",), "enabled": False},)),
    ],
)  # fmt: skip
def test_parse_rules(value: object, expected: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The parsed rules are plain dicts in the same order, with patterns as tuples and checked options."""
    monkeypatch.setenv("HOME", "/home/me")
    assert parse_rules("rules", value, "keyword") == expected


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (3, "rules (its origin) is not valid: it must be a list of tables, not 3."),
        ({"match": "a", **OFF}, "rules (its origin) is not valid: it must be a list of tables, not {"),
        ("3", "rules (its origin) is not valid: it must be a list of tables, not 3."),
        ("[{match =", "rules = '[{match =' (its origin) is not a TOML array ("),
        ("[" * 5000, f"rules = '{'[' * 199}... (5002 characters) (its origin) is not a TOML array ("),
        (f"[{'1' * 5000}]", "rules = '[11111"),
        ("[]\nx = 1", "rules = '[]\\nx = 1' (its origin) is not a TOML array (something follows the array): write ["),
        (["a"], "rules[0] (its origin) is not valid: it must be a table, not 'a'."),
        ([{"match": "a", **OFF}, None], "rules[1] (its origin) is not valid: it must be a table, not None."),
        ([{"glob": "a", **OFF}], "rules[0] (its origin) has the unknown key 'glob': a rule's keys are match, "),
        ([{"match": "a", "strict": True}], "rules[0] (its origin) has the unknown key 'strict'"),
        ([OFF], "rules[0] (its origin) selects no sources: it needs `match` or `distribution`."),
        ([{"match": "a"}], "rules[0] (its origin) changes nothing: it needs one of enabled, cache_dir, "),
        ([{"match": 3, **OFF}], "rules[0].match (its origin) must be a string or a list of strings, not 3."),
        ([{"match": ["a", ""], **OFF}], "rules[0].match (its origin) must be a string or a list of strings"),
        ([{"distribution": [None], **OFF}], "rules[0].distribution (its origin) must be a string or a list"),
        ([{"match": "a", "enabled": 3}], "rules[0].enabled = 3 (its origin) is not valid: it must be true or false"),
        (
            [{"match": "a", "in_tree": "x"}],
            "rules[0].in_tree = 'x' (its origin) is not valid: it must be installed, all, hashed or ignore.",
        ),
    ],
)
def test_wrong_rules(value: object, complaint: str) -> None:
    """A wrong rule is an error that names the rule by its index and says what it needs."""
    with pytest.raises(ConfigError) as caught:
        parse_rules("rules", value, "its origin")
    assert str(caught.value).startswith(complaint)


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that installs files as a distribution in a separate directory, and returns the directory."""

    def make(*files: str, folder: str = "site", origin: str = "") -> Path:
        site = tmp_path / folder
        info = site / "some_thing-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: some-thing\nVersion: 1.0\n", encoding="utf-8")
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files), encoding="utf-8")
        if origin:
            content = {"url": origin, "dir_info": {"editable": True}}
            (info / "direct_url.json").write_text(json.dumps(content), encoding="utf-8")
        for file in files:
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).touch()
        monkeypatch.syspath_prepend(site)
        return site

    return make


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["pkg/__init__.py", "pkg/sub/__init__.py", "pkg/sub/m.py", "pkg/data.txt"], ["pkg/*"]),
        (["one.py", "two.py", "native.so"], ["one.py", "two.py"]),
        (["space/part/__init__.py", "space/part/m.py", "space/alone.py"], ["space/part/*", "space/alone.py"]),
        (["data.txt"], []),
    ],
    ids=["package", "modules", "namespace", "no source"],
)
def test_distribution_patterns(files: list[str], expected: list[str], distribution: Callable[..., Path]) -> None:
    """The patterns of a distribution match its packages and modules, and only its own part of a namespace package."""
    site = distribution(*files)
    assert distribution_patterns("Some.Thing") == [f"{site}/{each}" for each in expected]


@pytest.mark.parametrize("folder", ["plain", "with [brackets]"])
def test_distribution_rule_matches_its_own_sources_only(folder: str, distribution: Callable[..., Path]) -> None:
    """A rule by distribution matches only the distribution's sources, whatever the name of their directory is."""
    site = distribution("pkg/__init__.py", "pkg/m.py", "alone.py", folder=folder)
    (rule,) = parse_rules("rules", [{"distribution": "some-thing", "match": "/other/*", **OFF}], "keyword")
    sources = [
        str(site / "pkg" / "m.py"),
        str(site / "alone.py"),
        "/other/m.py",
        str(site / "pkg2" / "m.py"),
        "/pkg/m.py",
    ]
    assert [matcher(rule["match"])(each) for each in sources] == [True, True, True, False, False]


def test_editable_distribution(distribution: Callable[..., Path]) -> None:
    """The pattern of an editable distribution is its project directory (PEP 610), with the URL decoded."""
    distribution("__editable__.pth", origin="file:///home/me/my%20project/")
    assert distribution_patterns("some-thing") == ["/home/me/my project/*"]


def test_distribution_that_is_not_installed() -> None:
    """A distribution that is not installed has no patterns."""
    assert distribution_patterns("no-such-distribution") == []
