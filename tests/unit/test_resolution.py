"""Resolution of options, and the origin of each value."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pycachehook.config import resolution
from pycachehook.errors import ConfigError
from pycachehook.paths import default_cache_dir

if TYPE_CHECKING:
    from pathlib import Path

LAYERS = ["keyword", "environment", "file", "activation", "prefix", "default"]


pytestmark = [pytest.mark.usefixtures("no_options"), pytest.mark.alone]


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    """Return a configuration file with some options."""
    path = tmp_path / "options.toml"
    path.write_text('[tool.pycachehook]\ncache_dir = "/file"\nlock_timeout = 3\n', encoding="utf-8")
    return path


@pytest.mark.parametrize("strongest", range(len(LAYERS)), ids=LAYERS)
def test_order(strongest: int, toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first of keyword, environment, file, start-up file, Python's prefix and default that has a value wins."""
    present = dict.fromkeys(LAYERS[strongest:])
    if "environment" in present:
        monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", "/environment")
    options = resolution.resolve(
        {"cache_dir": "/keyword" if "keyword" in present else None},
        config=toml if "file" in present else None,
        activation={"cache_dir": "/activation"} if "activation" in present else None,
        activation_origin="startup.py",
        prefix="/prefix" if "prefix" in present else None,
    )
    expected = {
        "keyword": ("/keyword", "keyword"),
        "environment": ("/environment", "PYCACHEHOOK_CACHE_DIR"),
        "file": ("/file", str(toml)),
        "activation": ("/activation", "startup.py"),
        "prefix": ("/prefix", "PYTHONPYCACHEPREFIX"),
        "default": (default_cache_dir(), "default"),
    }
    assert (options.cache_dir, options.origin("cache_dir")) == expected[LAYERS[strongest]]


def test_defaults() -> None:
    """Without any source every option has its default, with that origin."""
    options = resolution.resolve({})
    assert options.values() == {
        "cache_dir": default_cache_dir(),
        "layout": "mirror",
        "invalidation_mode": "checked-hash",
        "read_only": False,
        "in_tree": "installed",
        "rules": (),
        "archives": (),
        "lock_timeout": 5.0,
        "force_write": False,
        "allow_shared": False,
        "gc": "default",
        "compile_ahead": 0,
        "open_code": "auto",
        "strict": False,
    }
    assert {options.origin(name) for name in resolution.NAMES} == {"default"}
    assert options.chosen() == {}


def test_layers_combine(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option comes from the first source that has it."""
    monkeypatch.setenv("PYCACHEHOOK_IN_TREE", "ignore")
    options = resolution.resolve(
        {"strict": True}, config=toml, activation={"read_only": True}, activation_origin="startup.py"
    )
    assert options.chosen() == {
        "cache_dir": "/file", "read_only": True, "in_tree": "ignore", "lock_timeout": 3.0, "strict": True,
    }  # fmt: skip
    assert [options.origin(name) for name in ("strict", "in_tree", "lock_timeout", "read_only")] == [
        "keyword", "PYCACHEHOOK_IN_TREE", str(toml), "startup.py",
    ]  # fmt: skip


def test_flags_are_named_as_typed() -> None:
    """An option from the command line has its flag as origin."""
    assert resolution.resolve({"lock_timeout": "3"}, "flag").origin("lock_timeout") == "--lock-timeout"


def test_wrong_flag_is_named_as_typed() -> None:
    """A wrong value from the command line is reported with its flag."""
    with pytest.raises(ConfigError, match=r"\(--lock-timeout\)"):
        resolution.resolve({"lock_timeout": "soon"}, "flag")


def test_empty_variable_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable counts as unset."""
    monkeypatch.setenv("PYCACHEHOOK_CACHE_DIR", "")
    monkeypatch.setenv("PYCACHEHOOK_CONFIG", "")
    assert resolution.resolve({}).origin("cache_dir") == "default"


def test_config_argument_goes_before_the_variable(toml: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PYCACHEHOOK_CONFIG names the file unless `config` is given."""
    monkeypatch.setenv("PYCACHEHOOK_CONFIG", str(toml))
    assert resolution.resolve({}).cache_dir == "/file"
    other = toml.with_name("other.toml")
    other.write_text('[tool.pycachehook]\ncache_dir = "/other"\n', encoding="utf-8")
    assert resolution.resolve({}, config=other).cache_dir == "/other"


def test_activation_counts_only_where_it_differs_from_the_default() -> None:
    """Recorded values that equal the default do not count as set; unknown options are ignored."""
    activation = {"cache_dir": None, "strict": False, "in_tree": "ignore", "from_another_version": 1}
    options = resolution.resolve({}, activation=activation, activation_origin="startup.py")
    assert options.chosen() == {"in_tree": "ignore"}
    assert options.origin("strict") == "default"


@pytest.mark.parametrize("layer", ["keyword", "environment", "file"])
def test_hidden_wrong_value_is_an_error(layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong value is an error with its origin, even if another source overrides it."""
    toml = tmp_path / "wrong.toml"
    if layer == "file":
        toml.write_text('[tool.pycachehook]\nlayout = "wrong"\n', encoding="utf-8")
    else:
        toml.write_text("[tool.pycachehook]\n", encoding="utf-8")
    monkeypatch.setenv("PYCACHEHOOK_LAYOUT", "wrong" if layer == "environment" else "mirror")
    origin = {"keyword": "keyword", "environment": "PYCACHEHOOK_LAYOUT", "file": str(toml)}[layer]
    with pytest.raises(ConfigError) as caught:
        resolution.resolve({"layout": "wrong" if layer == "keyword" else "mirror"}, config=toml)
    assert str(caught.value) == f"layout = 'wrong' ({origin}) is not valid: it must be mirror or shared."


@pytest.mark.parametrize("source", ["keyword", "file"])
def test_unknown_option(source: str, tmp_path: Path) -> None:
    """An unknown option is an error that lists the options."""
    toml = tmp_path / "unknown.toml"
    toml.write_text("[tool.pycachehook]\ncachedir = 1\n", encoding="utf-8")
    origin = str(toml) if source == "file" else "keyword"
    with pytest.raises(ConfigError) as caught:
        resolution.resolve({"cachedir": 1} if source == "keyword" else {}, config=toml if source == "file" else None)
    assert (
        str(caught.value) == f"'cachedir' ({origin}) is not an option: the options are {', '.join(resolution.NAMES)}."
    )


def test_rules_from_every_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules given as data, as TOML in a variable, and in the file have the same result."""
    rule = {"match": "*/site-packages/*", "invalidation_mode": "unchecked-hash"}
    text = '[{match = "*/site-packages/*", invalidation_mode = "unchecked-hash"}]'
    toml = tmp_path / "rules.toml"
    toml.write_text(f"[tool.pycachehook]\nrules = {text}\n", encoding="utf-8")
    expected = ({"match": ("*/site-packages/*",), "invalidation_mode": "unchecked-hash"},)
    assert resolution.resolve({"rules": [rule]}).rules == expected
    assert resolution.resolve({}, config=toml).rules == expected
    monkeypatch.setenv("PYCACHEHOOK_RULES", text)
    assert resolution.resolve({}).rules == expected


WHY = "a shared entry is named by the content of its source, which is read every time, so the mode can only be checked-hash."


@pytest.mark.parametrize("mode", ["unchecked-hash", "timestamp"])
def test_shared_is_checked(mode: str, no_options: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """`shared` with another mode than checked-hash is an error with both values, their origins and the reason."""
    monkeypatch.setenv("PYCACHEHOOK_INVALIDATION_MODE", mode)
    with pytest.raises(ConfigError) as caught:
        resolution.resolve({"layout": "shared"})
    assert str(caught.value) == (
        f"layout = 'shared' (keyword) does not go with invalidation_mode = {mode!r} (PYCACHEHOOK_INVALIDATION_MODE): {WHY}"
    )
    assert resolution.resolve({"layout": "shared", "invalidation_mode": "checked-hash"}).layout == "shared"


@pytest.mark.parametrize(
    ("base", "rule", "names"),
    [
        (
            {"invalidation_mode": "unchecked-hash"},
            {"layout": "shared"},
            "rules[1].layout = 'shared' (keyword) does not go with invalidation_mode = 'unchecked-hash' (keyword)",
        ),
        (
            {"layout": "shared"},
            {"invalidation_mode": "timestamp"},
            "layout = 'shared' (keyword) does not go with rules[1].invalidation_mode = 'timestamp' (keyword)",
        ),
        (
            {},
            {"layout": "shared", "invalidation_mode": "timestamp"},
            "rules[1].layout = 'shared' (keyword) does not go with rules[1].invalidation_mode = 'timestamp' (keyword)",
        ),
        ({"layout": "shared"}, {"layout": "mirror", "invalidation_mode": "timestamp"}, None),
        ({"invalidation_mode": "timestamp"}, {"layout": "shared", "invalidation_mode": "checked-hash"}, None),
        ({"layout": "shared"}, {"enabled": False, "invalidation_mode": "timestamp"}, None),
    ],
)
def test_shared_is_checked_by_rule(
    base: dict[str, object], rule: dict[str, object], names: str | None, no_options: None
) -> None:
    """The same holds for a rule combined with the general options, unless it excludes its sources."""
    options = {**base, "rules": [{"match": "*", "read_only": True}, {"match": "*", **rule}]}
    if names is None:
        assert len(resolution.resolve(options).rules) == 2
        return
    with pytest.raises(ConfigError) as caught:
        resolution.resolve(options)
    assert str(caught.value) == f"{names}: {WHY}"


@pytest.mark.parametrize(("value", "expected"), [(True, "pause"), (False, "default"), ("yes", "pause")])
def test_earlier_name(value: object, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`pause_gc` is an earlier name of `gc` in every source, with its own origin; the current name overrides it."""
    options = resolution.resolve({"pause_gc": value})
    assert (options.gc, options.origin("gc")) == (expected, "keyword")
    assert not hasattr(options, "pause_gc")
    assert resolution.resolve({"pause_gc": value, "gc": "freeze"}).gc == "freeze"
    options = resolution.resolve({"pause_gc": value}, "flag")
    assert options.origin("gc") == "--pause-gc"
    activation = {"pause_gc": value, "rules": ()}
    options = resolution.resolve({}, activation=activation, activation_origin="startup.py")
    assert (options.gc, options.chosen()) == (expected, {} if expected == "default" else {"gc": "pause"})
    (tmp_path / "options.toml").write_text(f"[tool.pycachehook]\npause_gc = {str(bool(value)).lower()}\n")
    options = resolution.resolve({}, config=tmp_path / "options.toml")
    assert (options.gc, options.origin("gc")) == (expected, str(tmp_path / "options.toml"))
    monkeypatch.setenv("PYCACHEHOOK_PAUSE_GC", str(value))
    options = resolution.resolve({})
    assert (options.gc, options.origin("gc")) == (expected, "PYCACHEHOOK_PAUSE_GC")
    monkeypatch.setenv("PYCACHEHOOK_GC", "freeze")
    assert resolution.resolve({}).gc == "freeze"


def test_wrong_earlier_name() -> None:
    """A wrong value of an earlier name is an error that uses this name."""
    with pytest.raises(ConfigError, match=r"pause_gc = 'maybe' \(keyword\)"):
        resolution.resolve({"pause_gc": "maybe"})


def test_options_as_recorded() -> None:
    """The values of a start have the start-up file as origin, except for defaults."""
    recorded = resolution.resolve({"in_tree": "ignore"}).values()
    values = {**recorded, "cache_dir": "/prefix"}
    for private, origin in ((True, "default"), (False, "PYTHONPYCACHEPREFIX")):
        options = resolution.as_recorded(values, {**recorded, "cache_dir": None}, "startup.py", private=private)
        assert options.values() == values
        assert options.origin("cache_dir") == origin
        assert options.chosen() == {"in_tree": "ignore"}
    options = resolution.as_recorded(values, values, "startup.py", private=False)
    assert options.origin("cache_dir") == "startup.py"
