"""Which options are in force: from keywords, flags, environment, file, activation and defaults.

Start-up module: imports nothing at module level that the interpreter has not already loaded.
"""

import os

from pycachehook.errors import ConfigError
from pycachehook.paths import SHARED, absolute, default_cache_dir
from pycachehook.pyc import CHECKED_HASH

from .options import DEFAULT, PER_PROCESS, PER_SOURCE, PREFIX_ORIGIN, Option, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .options import Parser

ENVIRONMENT_PREFIX = "PYCACHEHOOK_"


def _rules(name: str, value: object, origin: str) -> object:
    from .rules import parse_rules  # costs something, and few have any

    return parse_rules(name, value, origin)


OPTIONS: "dict[str, tuple[Any, Parser]]" = {**PER_SOURCE, "rules": ((), _rules), **PER_PROCESS}
NAMES = tuple(OPTIONS)


def parse(name: str, value: object, origin: str) -> "Any":
    """Return the checked value of one option; raise `ConfigError` naming option, value, origin and what is allowed."""
    if name not in OPTIONS:
        raise ConfigError(f"{name!r} ({origin}) is not an option: the options are {', '.join(NAMES)}.")
    return OPTIONS[name][1](name, value, origin)


def resolve(
    keywords: "Mapping[str, object]",
    keyword_origin: str = "keyword",
    *,
    config: object = None,
    activation: "Mapping[str, object] | None" = None,
    activation_origin: str = "",
    prefix: str | None = None,
) -> Options:
    """Return the options in force, in this order: the first that has a value wins.

    1. a keyword or flag that is not None
    2. `PYCACHEHOOK_<NAME>`, unless it is empty
    3. the file that `config`, or else `PYCACHEHOOK_CONFIG`, names
    4. what `pycachehook enable` wrote into this environment
    5. for `cache_dir`, CPython's own cache prefix (`prefix`)
    6. the default

    Raises `ConfigError` for the first wrong value, whether or not a stronger one hides it, and for values in force
    that do not go together.
    """
    found: dict[str, Option] = {}
    layers = [_from_keywords(keywords, keyword_origin), _from_environment()]
    config = config or os.environ.get(ENVIRONMENT_PREFIX + "CONFIG")
    if config:
        layers.append(_from_file(config))
    if activation:
        layers.append(_from_activation(activation, activation_origin))
    for layer in layers:
        for name, option in layer.items():
            found.setdefault(name, option)
    if "cache_dir" not in found:
        if prefix:
            found["cache_dir"] = Option(absolute(prefix), PREFIX_ORIGIN)
        else:
            found["cache_dir"] = Option(default_cache_dir(), DEFAULT)
    options = Options({name: found.get(name) or Option(OPTIONS[name][0], DEFAULT) for name in OPTIONS})
    _check_together(options)
    return options


def _check_together(options: Options) -> None:
    """Raise `ConfigError` if the options, or those of a rule over them, do not go together."""
    names = ("layout", "invalidation_mode")
    base = {name: (name, getattr(options, name), options.origin(name)) for name in names}
    found = [base]
    for number, rule in enumerate(options.rules):
        if rule.get("enabled", True):
            origin = options.origin("rules")
            own = {name: (f"rules[{number}].{name}", rule[name], origin) for name in names if name in rule}
            found.append({**base, **own})
    for each in found:
        (layout, place, place_origin), (mode, check, check_origin) = (each[name] for name in names)
        if place == SHARED and check != CHECKED_HASH:
            raise ConfigError(
                f"{layout} = {place!r} ({place_origin}) does not go with {mode} = {check!r} ({check_origin}): "
                f"a shared entry is found by what is in its source, which is read every time, so the mode can only be "
                f"{CHECKED_HASH}."
            )


def _from_activation(activation: "Mapping[str, Any]", origin: str) -> dict[str, Option]:
    """Return what `enable` recorded and is more than the default, written out; its rules are resolved already."""
    found = {}
    for name, value in activation.items():
        if name in OPTIONS and value != OPTIONS[name][0]:
            found[name] = Option(value if name == "rules" else parse(name, value, origin), origin)
    return found


def _from_keywords(keywords: "Mapping[str, object]", origin: str) -> dict[str, Option]:
    found = {}
    for name, value in keywords.items():
        if value is not None:
            where = f"--{name.replace('_', '-')}" if origin == "flag" else origin
            found[name] = Option(parse(name, value, where), where)
    return found


def _from_environment() -> dict[str, Option]:
    found = {}
    for name in OPTIONS:
        variable = ENVIRONMENT_PREFIX + name.upper()
        value = os.environ.get(variable)
        if value:
            found[name] = Option(parse(name, value, variable), variable)
    return found


def _from_file(path: object) -> dict[str, Option]:
    from .toml_file import read_config_file  # loads tomllib

    origin, table = read_config_file(path)
    return {name: Option(parse(name, value, origin), origin) for name, value in table.items()}
