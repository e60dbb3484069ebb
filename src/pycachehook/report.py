"""What is in force here, for `pycachehook status`."""

import os
import platform
from typing import Any

from . import __version__, hook, in_force
from .cachedir import DISABLED, WRITABLE, CacheDir
from .paths import OWN_DIR

NOT_ACTIVE = "The hook is not active in this process: `pycachehook enable` turns it on in this environment."


def status(config: object = None) -> dict[str, Any]:
    """Return the state of this process and its cache as plain data; the README documents the keys.

    Raises ConfigError where the environment or the file holds a wrong option.
    """
    active = hook.active()
    options = (
        in_force.resolve({}, "flag", config)
        if active is None
        else in_force.resolve({}, "flag")
        if active.options is None
        else active.options
    )
    if active is not None:
        state, reason = active.status, active.reason
    else:
        state, reason = _would_be(options.values())
    entries, size = count_entries(options.cache_dir)
    return {
        "active": active is not None,
        "version": __version__,
        "python": platform.python_version(),
        "cache_dir": options.cache_dir,
        "layout": options.layout,
        "invalidation_mode": options.invalidation_mode,
        "status": state,
        "writable": state == WRITABLE,
        "reason": reason,
        "options": options.as_dict(),
        "entries": entries,
        "bytes": size,
    }


def _would_be(values: dict[str, Any]) -> tuple[str, str | None]:
    if in_force.killed():
        return DISABLED, "PYCACHEHOOK_DISABLE is set."
    if not os.path.lexists(values["cache_dir"]):  # and `status` does not make it
        return DISABLED, NOT_ACTIVE
    names = ("read_only", "allow_shared", "force_write")
    directory = CacheDir(values["cache_dir"], **{name: values[name] for name in names})
    return directory.status, directory.reason or NOT_ACTIVE


def count_entries(cache_dir: str) -> tuple[int, int]:
    """Return the number of pycs below `cache_dir` and the sum of their sizes in bytes. Links are not followed."""
    entries = size = 0
    folders = [cache_dir]
    while folders:
        try:
            with os.scandir(folders.pop()) as found:
                for each in found:
                    if each.is_dir(follow_symlinks=False):
                        if each.name != OWN_DIR:
                            folders.append(each.path)
                    elif each.name.endswith(".pyc") and each.is_file(follow_symlinks=False):
                        entries += 1
                        size += each.stat(follow_symlinks=False).st_size
        except OSError:
            continue
    return entries, size
