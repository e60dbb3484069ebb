"""The configuration file: `[tool.pycachehook]` of a TOML file. Loaded only where one is named."""

import os
import tomllib

from pycachehook.errors import ConfigError


def read_config_file(path: object) -> tuple[str, dict[str, object]]:
    """Return the TOML file's absolute path and its table `[tool.pycachehook]`, unchecked.

    Relative directories in it start from the file's own directory.
    Raises ConfigError when the file cannot be read, is not TOML, or has no such table.
    """
    name = os.fsdecode(path)  # type: ignore[arg-type]
    try:
        with open(name, "rb") as file:
            document = tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"The configuration file {name} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"The configuration file {name} is not valid TOML: {error}.") from None
    table = document.get("tool", {})
    table = table.get("pycachehook") if isinstance(table, dict) else None
    if not isinstance(table, dict):
        raise ConfigError(f"The configuration file {name} has no table [tool.pycachehook].")
    origin = os.path.abspath(name)
    return origin, {key: _absolute(key, value, os.path.dirname(origin)) for key, value in table.items()}


def _absolute(key: str, value: object, folder: str) -> object:
    """Make the paths that an option names absolute, from the file's own `folder`."""
    if key == "cache_dir" and isinstance(value, str) and value.strip():
        return os.path.join(folder, os.path.expanduser(value))
    if key == "archives":
        listed = value if isinstance(value, list) else [value]
        return [_absolute("cache_dir", each, folder) for each in listed]
    if key == "rules" and isinstance(value, list):
        return [
            {each: _absolute(each, setting, folder) for each, setting in rule.items()}
            if isinstance(rule, dict)
            else rule
            for rule in value
        ]
    return value
