"""The table `[tool.pycachehook]` of a TOML configuration file. Loaded only if such a file is named."""

import os
import stat

from pycachehook.config.libraries import InstalledOnly
from pycachehook.errors import ConfigError
from pycachehook.paths import absolute
from pycachehook.system import is_foreign, system
from pycachehook.trust import fault_of, trusted_owners, why_untrusted

# O_NONBLOCK: opening a FIFO must not block.
_FLAGS = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
_READ_SIZE = 1 << 16
_LARGEST = 1 << 24  # bytes: a larger file is refused before it is read


def read_config_file(path: object, *, allow_shared: bool = False) -> tuple[str, dict[str, object]]:
    """Return the TOML file's absolute path and its table `[tool.pycachehook]`, unchecked.

    Relative directories in the table are resolved from the file's own directory. The file can decide whose bytecode
    runs, so it must be trusted by the rules for cache directories, unless `allow_shared`. Raises ConfigError if the
    file cannot be read, is not trusted, is not TOML, or has no such table.
    """
    with InstalledOnly():
        import tomllib
    try:
        name = os.fsdecode(path)  # type: ignore[arg-type]
    except TypeError:
        raise ConfigError(f"config = {path!r} is not valid: it must be the path of a file.") from None
    try:
        data = _read(name, () if allow_shared else trusted_owners())
    except ConfigError:
        raise
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        if isinstance(error, OSError) and is_foreign(error):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"The configuration file {name} cannot be read: {reason}.") from None
    try:
        document = tomllib.loads(data.decode("utf-8-sig"))  # editors on Windows add a byte order mark
    except (ValueError, RecursionError) as error:  # ValueError: also an integer with too many digits
        raise ConfigError(f"The configuration file {name} is not valid TOML: {error}.") from None
    table = document.get("tool", {})
    table = table.get("pycachehook") if isinstance(table, dict) else None
    if not isinstance(table, dict):
        raise ConfigError(f"The configuration file {name} has no table [tool.pycachehook].")
    origin = os.path.abspath(name)
    return origin, {key: _absolute(key, value, os.path.dirname(origin)) for key, value in table.items()}


def _read(name: str, owners: tuple[int, ...]) -> bytes:
    """Return the bytes of a regular file if it and its directories are trusted; raises ConfigError or OSError."""
    descriptor = system.open(name, _FLAGS)
    try:
        status = system.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            what = "Is a directory" if stat.S_ISDIR(status.st_mode) else "it is not a regular file"
            raise ConfigError(f"The configuration file {name} cannot be read: {what}.")
        fault = why_untrusted(name if os.path.isabs(name) else os.path.join(system.getcwd(), name), owners)
        if fault is None:
            fault = fault_of(status, owners)  # of the opened file, even if its name now refers to another one
            fault = fault and f"it {fault}."
        if fault is not None:
            reason = fault.replace("choose another cache_dir, or set", "or set")
            raise ConfigError(f"The configuration file {name} is not trusted: {reason}")
        if status.st_size > _LARGEST:
            raise ConfigError(f"The configuration file {name} cannot be read: it has more than {_LARGEST} bytes.")
        parts = [system.read(descriptor, _READ_SIZE)]
        while parts[-1]:
            parts.append(system.read(descriptor, _READ_SIZE))
        return b"".join(parts)
    finally:
        system.close(descriptor)


def _absolute(key: str, value: object, folder: str) -> object:
    """Make the paths in an option's value absolute, relative to the file's `folder`."""
    if key == "cache_dir" and isinstance(value, str) and value.strip():
        return absolute(value, folder) or value
    if key == "archives":
        listed = value if isinstance(value, list) else [value]
        return [_absolute("cache_dir", path, folder) for path in listed]
    if key == "rules" and isinstance(value, list):
        return [
            {option: _absolute(option, rule[option], folder) for option in rule} if isinstance(rule, dict) else rule
            for rule in value
        ]
    return value
