"""Rules: different options for some sources, chosen by path. Loaded only if a rule is configured.

A rule is a table. It selects sources by `match`, one or more patterns for the whole source path in which `*` also
matches `/`, or by `distribution`, the names of one or more installed distributions. Its other keys are options.
"""

import os

from pycachehook.config.libraries import InstalledOnly
from pycachehook.config.options import PER_SOURCE, boolean, shown
from pycachehook.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SELECTORS = ("match", "distribution")
OVERRIDES = ("enabled", *PER_SOURCE)


def parse_rules(name: str, value: object, origin: str) -> "tuple[dict[str, Any], ...]":
    """Return the rules as plain dicts with checked options, and with `match` as a tuple of patterns.

    Distributions are resolved to patterns with importlib-metadata; one that is not installed matches nothing. A string
    from the environment or a flag is a TOML array of inline tables. Raises ConfigError.
    """
    if isinstance(value, str):
        value = _from_toml(name, value, origin)
    if not isinstance(value, (list, tuple)):
        raise ConfigError(f"{name} ({origin}) is not valid: it must be a list of tables, not {shown(value)}.")
    return tuple(_rule(f"{name}[{number}]", rule, origin) for number, rule in enumerate(value))


def _from_toml(name: str, text: str, origin: str) -> object:
    with InstalledOnly():
        import tomllib
    try:
        document = tomllib.loads(f"rules = {text}")
    except (ValueError, RecursionError) as error:  # ValueError: also an integer with too many digits
        why = str(error)
    else:
        if len(document) == 1:
            return document["rules"]
        why = "something follows the array"
    example = '[{match = "*/site-packages/*", invalidation_mode = "unchecked-hash"}]'
    raise ConfigError(f"{name} = {shown(text)} ({origin}) is not a TOML array ({why}): write {example}.")


def _rule(name: str, rule: object, origin: str) -> "dict[str, Any]":
    if not isinstance(rule, dict):
        raise ConfigError(f"{name} ({origin}) is not valid: it must be a table, not {shown(rule)}.")
    unknown = [key for key in rule if key not in SELECTORS + OVERRIDES]
    if unknown:
        known = ", ".join(SELECTORS + OVERRIDES)
        raise ConfigError(f"{name} ({origin}) has the unknown key {shown(unknown[0])}: a rule's keys are {known}.")
    if not any(key in rule for key in SELECTORS):
        raise ConfigError(f"{name} ({origin}) selects no sources: it needs `match` or `distribution`.")
    if not any(key in rule for key in OVERRIDES):
        raise ConfigError(f"{name} ({origin}) changes nothing: it needs one of {', '.join(OVERRIDES)}.")
    patterns = [*_strings(name, rule, "match", origin)]
    names = _strings(name, rule, "distribution", origin)
    for distribution in names:
        patterns += distribution_patterns(distribution)
    result: "dict[str, Any]" = {"match": tuple(os.path.expanduser(pattern) for pattern in patterns)}
    if names:
        result["distribution"] = tuple(names)
    for key in OVERRIDES:
        if key in rule:
            check = boolean if key == "enabled" else PER_SOURCE[key][1]
            result[key] = check(f"{name}.{key}", rule[key], origin)
    return result


def _strings(name: str, rule: "dict[str, Any]", key: str, origin: str) -> list[str]:
    value = rule.get(key, [])
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, (list, tuple)) or not all(isinstance(item, str) and item for item in values):
        raise ConfigError(f"{name}.{key} ({origin}) must be a string or a list of strings, not {shown(value)}.")
    return list(values)


def distribution_patterns(name: str) -> list[str]:
    """Return patterns for the sources of an installed distribution; none if it is not installed.

    An ordinary package gives one pattern, a namespace package one for each part that the distribution owns. An editable
    installation gives its project directory (PEP 610).
    """
    with InstalledOnly():
        return _distribution_patterns(name)


def _distribution_patterns(name: str) -> list[str]:
    import glob

    import importlib_metadata

    try:
        distribution = importlib_metadata.distribution(name)
    except importlib_metadata.PackageNotFoundError:
        return []
    origin = distribution.origin
    if getattr(getattr(origin, "dir_info", None), "editable", False):
        from urllib.parse import urlsplit
        from urllib.request import url2pathname

        return [glob.escape(url2pathname(urlsplit(origin.url).path).rstrip("/")) + "/*"]
    files = [str(file) for file in distribution.files or () if str(file).endswith(".py")]
    packages = {os.path.dirname(file) for file in files if os.path.basename(file) == "__init__.py"}
    patterns = []
    for file in files:
        folder = os.path.dirname(file)
        top = ""
        for part in folder.split("/"):
            top = f"{top}/{part}" if top else part
            if top in packages:
                break
        pattern = glob.escape(str(distribution.locate_file(top if top in packages else file)))
        patterns.append(f"{pattern}/*" if top in packages else pattern)
    return list(dict.fromkeys(patterns))
