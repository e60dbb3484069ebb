"""What is in force here, for `pycachehook status`."""

import os
import platform
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pycachehook import __version__, hook, runtime
from pycachehook.cache_dir import DISABLED, WRITABLE, CacheDir
from pycachehook.paths import why_no_default_cache_dir

from .cache_walk import ENTRY, SHARED, TEMPORARY, walk
from .stats_file import read_stats_file

NOT_ACTIVE = "The hook is not active in this process: `pycachehook enable` turns it on in this environment."

# What `_by_distribution` calls what belongs to none.
STANDARD_LIBRARY, ELSEWHERE, OTHERS = "(standard library)", "(elsewhere)", "(other interpreters and tools)"
BY_CONTENT = "(shared)"


def status(config: object = None) -> dict[str, Any]:
    """Return the state of this process and its cache as plain data; the documentation has the keys.

    Raises ConfigError where the environment or the file holds a wrong option.
    """
    found = state(config)
    recorded = read_stats_file(os.environ.get("PYCACHEHOOK_STATS", ""))
    distributions = {} if found["cache_dir"] is None else _by_distribution(found["cache_dir"])
    ours = [counts for name, counts in distributions.items() if name != OTHERS]
    return {
        **found,
        "entries": sum(counts["entries"] for counts in ours),
        "bytes": sum(counts["bytes"] for counts in ours),
        "distributions": distributions,
        "bytes_saved": recorded.bytes_saved,
        "last_runs": recorded.runs,
        **({} if recorded.reason is None else {"stats_reason": recorded.reason}),
    }


def state(config: object = None) -> dict[str, Any]:
    """Return what `status` does, without a look at the entries; raises ConfigError as it does."""
    active = hook.active()
    options = (
        runtime.resolve({}, "flag", config)
        if active is None
        else runtime.resolve({}, "flag")
        if active.options is None
        else active.options
    )
    status: str
    if active is not None:
        status, reason = active.status, active.reason
    else:
        status, reason = _would_be(options.values())
    return {
        "active": active is not None,
        "version": __version__,
        "python": platform.python_version(),
        "cache_dir": options.cache_dir,
        "layout": options.layout,
        "invalidation_mode": options.invalidation_mode,
        "status": status,
        "writable": status == WRITABLE,
        "reason": reason,
        "archives": _archives(active, options),
        "options": options.as_dict(),
    }


def _archives(active: "hook.Hook | None", options: Any) -> list[dict[str, Any]]:
    """Return for each archive whether it is used, or would be, and why not."""
    if active is not None:
        opened: Any = active.archives
    else:
        from pycachehook.archive import open_all

        opened = open_all(options.archives, allow_shared=options.allow_shared, strict=False)
    return [{"path": each.path_name, "used": each.usable, "reason": each.reason} for each in opened]


def _would_be(values: dict[str, Any]) -> tuple[str, str | None]:
    if runtime.killed():
        return DISABLED, "PYCACHEHOOK_DISABLE is set."
    if values["cache_dir"] is None:
        return DISABLED, why_no_default_cache_dir()
    if not os.path.lexists(values["cache_dir"]):  # and `status` does not make it
        return DISABLED, NOT_ACTIVE
    names = ("read_only", "allow_shared", "force_write")
    directory = CacheDir(values["cache_dir"], **{name: values[name] for name in names})
    return directory.status, directory.reason or NOT_ACTIVE


def _by_distribution(cache_dir: str) -> dict[str, dict[str, int]]:
    """Return the number of entries and the sum of their bytes for each distribution, the largest first."""
    owner = _owners()
    found: dict[str, dict[str, int]] = {}
    with suppress(OSError):  # there is no cache yet, or it is not ours to read
        for each in walk(cache_dir):
            if each.kind == TEMPORARY:
                continue
            name = owner(each.source) if each.kind == ENTRY else BY_CONTENT if each.kind == SHARED else OTHERS
            counts = found.setdefault(name, {"entries": 0, "bytes": 0})
            counts["entries"] += 1
            counts["bytes"] += each.size
    return dict(sorted(found.items(), key=lambda pair: -pair[1]["bytes"]))


def _owners() -> Callable[[str], str]:
    """Return a function that tells the distribution of this environment to which a source belongs, by its path."""
    import sysconfig

    from importlib_metadata import packages_distributions

    names = packages_distributions()
    folders = {os.path.join(sysconfig.get_path(name), "") for name in ("purelib", "platlib")}
    standard = os.path.join(sysconfig.get_path("stdlib"), "")

    def owner(source: str) -> str:
        for folder in folders:
            if source.startswith(folder):
                top = source[len(folder) :].partition(os.sep)[0].removesuffix(".py")
                return names.get(top, [ELSEWHERE])[0]
        return STANDARD_LIBRARY if source.startswith(standard) else ELSEWHERE

    return owner
