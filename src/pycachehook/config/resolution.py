"""Resolution of the options from keywords, flags, environment, file, start-up file and defaults.

Loaded by `own_modules` where a start has options to resolve: imports modules of this package, and what is loaded already.
"""

import os
import sys

from pycachehook.config.options import (
    ALIASES,
    DEFAULT,
    NOT_FROM_ANOTHER_USER,
    PER_PROCESS,
    PER_SOURCE,
    PREFIX_ORIGIN,
    Option,
    Options,
    shown,
)
from pycachehook.errors import ConfigError
from pycachehook.paths import SHARED, absolute, default_cache_dir
from pycachehook.pyc import CHECKED_HASH
from pycachehook.trust import serves_another_user

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from pycachehook.config.options import Parser

ENVIRONMENT_PREFIX = "PYCACHEHOOK_"


def _rules(name: str, value: object, origin: str) -> object:
    from pycachehook.config.rules import parse_rules  # slow to load, and rarely needed

    return parse_rules(name, value, origin)


OPTIONS: "dict[str, tuple[Any, Parser]]" = {**PER_SOURCE, "rules": ((), _rules), **PER_PROCESS}
NAMES = tuple(OPTIONS)


def parse(name: str, value: object, origin: str) -> "Any":
    """Return the checked value of one option; raises `ConfigError` with option, value, origin and what is allowed."""
    if name not in OPTIONS:
        raise ConfigError(f"{shown(name)} ({origin}) is not an option: the options are {', '.join(NAMES)}.")
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
    """Return the value of every option, from the first source that has one.

    The sources, in order:

    1. a keyword or flag that is not None
    2. `PYCACHEHOOK_<NAME>`, unless it is empty
    3. the file named by `config`, or else by `PYCACHEHOOK_CONFIG`
    4. the options that `pycachehook enable` recorded in this environment
    5. for `cache_dir`, CPython's own cache prefix (`prefix`)
    6. the default

    Under -E and -I, 2 and `PYCACHEHOOK_CONFIG` are ignored. `cache_dir` is None if there is no default.

    Raises `ConfigError` for the first wrong value, even if an earlier source overrides it, and for a combination of
    values that is not allowed.
    """
    weaker = [] if not activation else [_from_activation(activation, activation_origin)]
    stronger = [_from_keywords(keywords, keyword_origin), _from_environment()]
    named_by_environment = "" if sys.flags.ignore_environment else os.environ.get(ENVIRONMENT_PREFIX + "CONFIG", "")
    if config or named_by_environment:
        trusting = any("allow_shared" in layer and layer["allow_shared"].value for layer in [*stronger, *weaker])
        layer = _from_file(config or named_by_environment, allow_shared=trusting)
        if not config and serves_another_user():
            layer = {name: option for name, option in layer.items() if name not in NOT_FROM_ANOTHER_USER}
        stronger.append(layer)
    chosen: dict[str, Option] = {}
    for layer in [*stronger, *weaker]:
        for name, option in layer.items():
            chosen.setdefault(name, option)
    if "cache_dir" not in chosen:
        directory = absolute(prefix) if prefix else None
        if directory is not None:
            chosen["cache_dir"] = Option(directory, PREFIX_ORIGIN)
        else:
            chosen["cache_dir"] = Option(default_cache_dir(), DEFAULT)
    options = Options({name: chosen.get(name) or Option(OPTIONS[name][0], DEFAULT) for name in OPTIONS})
    _check_together(options)
    return options


def as_recorded(
    values: "Mapping[str, Any]", activation: "Mapping[str, object]", origin: str, *, private: bool
) -> Options:
    """Return the options of a start-up that used the recorded values without calling `resolve`.

    `origin` is the path of the start-up file. `private` is whether a `cache_dir` that was not recorded is the default
    one.
    """
    options = {}
    for name, (default, _) in OPTIONS.items():
        options[name] = Option(values[name], DEFAULT if values[name] == default else origin)
    if activation.get("cache_dir") is None:
        options["cache_dir"].origin = DEFAULT if private else PREFIX_ORIGIN
    return Options(options)


def _check_together(options: Options) -> None:
    """Raise `ConfigError` if options, or those of a rule combined with them, exclude each other."""
    names = ("layout", "invalidation_mode")
    base = {name: (name, getattr(options, name), options.origin(name)) for name in names}
    combinations = [base]
    for number, rule in enumerate(options.rules):
        if rule.get("enabled", True):
            origin = options.origin("rules")
            own = {name: (f"rules[{number}].{name}", rule[name], origin) for name in names if name in rule}
            combinations.append({**base, **own})
    for combination in combinations:
        (layout_name, layout, layout_origin), (mode_name, mode, mode_origin) = (combination[name] for name in names)
        if layout == SHARED and mode != CHECKED_HASH:
            raise ConfigError(
                f"{layout_name} = {layout!r} ({layout_origin}) does not go with {mode_name} = {mode!r} ({mode_origin}): "
                f"a shared entry is named by the content of its source, which is read every time, so the mode can only be "
                f"{CHECKED_HASH}."
            )


def _from_activation(activation: "Mapping[str, Any]", origin: str) -> dict[str, Option]:
    """Return the recorded options that differ from the defaults; recorded rules are resolved already."""
    rules = {"rules": Option(activation["rules"], origin)} if activation.get("rules", ()) != () else {}
    known = ((name, value) for name, value in activation.items() if name in OPTIONS or name in ALIASES)
    parsed = _parsed((name, value, origin) for name, value in known if name != "rules" and value is not None)
    return {**rules, **{name: option for name, option in parsed.items() if option.value != OPTIONS[name][0]}}


def _from_keywords(keywords: "Mapping[str, object]", origin: str) -> dict[str, Option]:
    flags = origin == "flag"
    return _parsed(
        (name, value, f"--{name.replace('_', '-')}" if flags else origin)
        for name, value in keywords.items()
        if value is not None
    )


def _from_environment() -> dict[str, Option]:
    """Return the options that the environment sets; none under -E and -I, as for Python's own variables."""
    if sys.flags.ignore_environment:
        return {}
    names = [*OPTIONS, *ALIASES]
    if serves_another_user():
        names = [name for name in names if name not in NOT_FROM_ANOTHER_USER]
    variables = ((name, ENVIRONMENT_PREFIX + name.upper()) for name in names)
    return _parsed((name, os.environ[variable], variable) for name, variable in variables if os.environ.get(variable))


def _from_file(path: object, *, allow_shared: bool) -> dict[str, Option]:
    from pycachehook.config.toml_file import read_config_file  # loads tomllib

    origin, table = read_config_file(path, allow_shared=allow_shared)
    return _parsed((name, value, origin) for name, value in table.items())


def _parsed(given: "Iterable[tuple[str, object, str]]") -> dict[str, Option]:
    """Return the options given as (name, value, origin) by one source; an option's own name overrides its alias."""
    by_name, by_alias = {}, {}
    for name, value, origin in given:
        if name in ALIASES:
            target, parser = ALIASES[name]
            by_alias[target] = Option(parser(name, value, origin), origin)
        else:
            by_name[name] = Option(parse(name, value, origin), origin)
    return {**by_alias, **by_name}
