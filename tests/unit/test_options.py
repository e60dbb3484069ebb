"""The options: values with an origin, and the permitted values."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pycachehook.config.options import PER_PROCESS, PER_SOURCE, PREFIX_ORIGIN, Option, Options, boolean
from pycachehook.errors import ConfigError

PARSERS = {name: parser for name, (_, parser) in {**PER_SOURCE, **PER_PROCESS}.items()}
SWITCHES = ["read_only", "force_write", "allow_shared", "strict"]
TRUE: list[object] = [True, "1", "true", "TRUE", "yes", "on"]
FALSE: list[object] = [False, "0", "false", "No", "off"]


@pytest.mark.parametrize("name", SWITCHES)
@pytest.mark.parametrize(("value", "expected"), [*((each, True) for each in TRUE), *((each, False) for each in FALSE)])
def test_switch(name: str, value: object, expected: bool) -> None:
    """Every switch accepts a bool, and the words of an environment variable in upper and lower case."""
    assert PARSERS[name](name, value, "keyword") is expected


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("cache_dir", "/a/../b/", "/b"),
        ("cache_dir", "rel", os.path.abspath("rel")),
        ("cache_dir", Path("/b"), "/b"),
        ("layout", "mirror", "mirror"),
        ("invalidation_mode", "checked-hash", "checked-hash"),
        ("invalidation_mode", "unchecked-hash", "unchecked-hash"),
        ("invalidation_mode", "timestamp", "timestamp"),
        ("in_tree", "installed", "installed"),
        ("in_tree", "all", "all"),
        ("in_tree", "read", "all"),
        ("in_tree", "hashed", "hashed"),
        ("in_tree", "ignore", "ignore"),
        ("archives", "/a:/b/../c:", ("/a", "/c")),
        ("archives", [Path("/a")], ("/a",)),
        ("archives", Path("/a"), ("/a",)),
        ("archives", "", ()),
        ("lock_timeout", 0, 0.0),
        ("lock_timeout", 1.5, 1.5),
        ("lock_timeout", "2.5", 2.5),
        ("lock_timeout", 86400, 86400.0),
        ("gc", "default", "default"),
        ("gc", "pause", "pause"),
        ("gc", "freeze", "freeze"),
        ("open_code", "always", "always"),
        ("open_code", "never", "never"),
        ("compile_ahead", 0, 0),
        ("compile_ahead", "64", 64),
    ],
)
def test_valid_value(name: str, value: object, expected: object) -> None:
    """A valid value is converted to the form that the package needs."""
    assert PARSERS[name](name, value, "keyword") == expected


def test_home_in_a_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A leading `~` in a directory is the user's home directory."""
    monkeypatch.setenv("HOME", "/home/me")
    assert PARSERS["cache_dir"]("cache_dir", "~/cache", "keyword") == "/home/me/cache"


WRONG: dict[str, tuple[str, list[object]]] = {
    "cache_dir": ("the path of a directory", ["", "  ", "a\0b", 3, True, b"/bytes", ["/a"]]),
    "archives": ("the path of a file, or a list of them", [3, [""], ["a\0b"], [None], {"a": 1}, True]),
    "layout": ("must be mirror or shared.", ["", "Shared", "Mirror", 3, ["mirror"]]),
    "invalidation_mode": (
        "checked-hash, unchecked-hash or timestamp",
        ["", "CHECKED_HASH", "checked_hash", None, 1, ["timestamp"]],
    ),
    "in_tree": ("must be installed, all, hashed or ignore.", ["write", True, {}]),
    "gc": ("must be default, pause or freeze.", ["", "Pause", True, None]),
    "open_code": ("must be auto, always or never.", ["", "yes", True, None]),
    "compile_ahead": ("a whole number from 0 to 64", [-1, 65, "65", "-1", "", "1.0", 1.0, True, None, "1" * 5000]),
    "lock_timeout": (
        "a number of seconds from 0 to 86400",
        [-1, "-0.1", 86401, "", "5s", "nan", float("inf"), True, None, [5], 10**400],
    ),
    **{name: ("true or false", ["", "maybe", "2", 1, 0.0, None, []]) for name in SWITCHES},
}


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [(name, value, allowed) for name, (allowed, values) in WRONG.items() for value in values],
)
def test_wrong_value(name: str, value: object, allowed: str) -> None:
    """A wrong value is a ConfigError, which is a ValueError, that names option, value, origin and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        PARSERS[name](name, value, "its origin")
    assert isinstance(caught.value, ValueError)
    message = str(caught.value)
    shown = repr(value)
    assert message.startswith(f"{name} = {shown[:200]}")
    assert len(shown) > 200 or f"{shown} (its origin) is not valid: " in message
    assert allowed in message


def test_boolean_is_the_parser_of_all_switches() -> None:
    """The command line recognizes switches by their parser."""
    assert [name for name, parser in PARSERS.items() if parser is boolean] == SWITCHES


def make_options() -> Options:
    """Return options with each kind of origin."""
    return Options(
        {
            "cache_dir": Option("/prefix", PREFIX_ORIGIN),
            "strict": Option(True, "PYCACHEHOOK_STRICT"),
            "layout": Option("mirror", "default"),
        }
    )


def test_options_values_and_origins() -> None:
    """Options have values as attributes and as dicts, with origins; `chosen` has those that were set explicitly."""
    options = make_options()
    assert (options.cache_dir, options.strict, options.layout) == ("/prefix", True, "mirror")
    assert options.origin("strict") == "PYCACHEHOOK_STRICT"
    assert options.values() == {"cache_dir": "/prefix", "strict": True, "layout": "mirror"}
    assert options.chosen() == {"strict": True}
    assert options.as_dict() == {
        "cache_dir": {"value": "/prefix", "origin": "PYTHONPYCACHEPREFIX"},
        "strict": {"value": True, "origin": "PYCACHEHOOK_STRICT"},
        "layout": {"value": "mirror", "origin": "default"},
    }


def test_options_equality() -> None:
    """Options with equal values are equal, whatever their origins; they are not hashable."""
    other = Options({name: Option(value, "keyword") for name, value in make_options().values().items()})
    assert make_options() == other
    assert make_options() != Options({})
    assert make_options() != make_options().values()
    with pytest.raises(TypeError):
        hash(other)


def test_unknown_option() -> None:
    """An unknown option is an AttributeError."""
    with pytest.raises(AttributeError, match="nonesuch"):
        make_options().nonesuch  # noqa: B018


def test_long_value() -> None:
    """Of a wrong value that is long a message shows the beginning."""
    with pytest.raises(ConfigError) as caught:
        PARSERS["layout"]("layout", "x" * 100_000, "its origin")
    assert str(caught.value) == (
        f"layout = '{'x' * 199}... (100002 characters) (its origin) is not valid: it must be mirror or shared."
    )


@pytest.mark.parametrize(("name", "what"), [("cache_dir", "a directory"), ("archives", "a file, or a list of them")])
def test_path_that_cannot_be_encoded(name: str, what: str) -> None:
    """A lone surrogate that stands for no byte cannot occur in a path."""
    with pytest.raises(ConfigError, match=f"it must be the path of {what}"):
        PARSERS[name](name, "/srv/\ud800", "keyword")
    undecodable = os.fsdecode(b"/srv/\xe9")
    assert PARSERS["cache_dir"]("cache_dir", undecodable, "keyword") == undecodable
