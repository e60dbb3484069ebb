"""The state of the hook and its cache in this environment: `pycachehook status`."""

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pycachehook import __version__, hook, runtime
from pycachehook.cache_dir import DISABLED, WRITABLE

from .cache_walk import ENTRY, SHARED, TEMPORARY, may_be_cache, walk
from .prospect import NOTHING_IS_STORED, activation_file, options_of_a_start, state_of_a_start
from .stats_file import read_stats_file

NOT_ACTIVE = "The hook is not active in this process: `pycachehook enable` turns it on in this environment."

# Names in the result of `_by_distribution` for files that belong to no distribution.
STANDARD_LIBRARY, ELSEWHERE, OTHERS = "(standard library)", "(elsewhere)", "(other interpreters and tools)"
BY_CONTENT = "(shared)"


def status(config: object = None, given: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Return the state of this process and its cache as plain data with documented keys.

    With options `given`, it is the state of a start with these options. Raises ConfigError if they, the environment or
    the file contain a wrong option.
    """
    current = state(config, given)
    recorded = read_stats_file(os.environ.get("PYCACHEHOOK_STATS", ""))
    distributions = {} if current["cache_dir"] is None else _by_distribution(current["cache_dir"])
    own_counts = [counts for name, counts in distributions.items() if name != OTHERS]
    return {
        **current,
        "entries": sum(counts["entries"] for counts in own_counts),
        "bytes": sum(counts["bytes"] for counts in own_counts),
        "distributions": distributions,
        "bytes_saved": recorded.bytes_saved,
        "last_runs": recorded.runs,
        **({} if recorded.reason is None else {"stats_reason": recorded.reason}),
    }


def state(config: object = None, given: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Return the result of `status` except for what requires visiting the entries; raises ConfigError as it does."""
    given = {name: value for name, value in (given or {}).items() if value is not None}
    active = hook.active()
    current = None if given else active
    options = None if current is None else current.options
    if options is None:
        options = options_of_a_start(given, config)
    values = options.values()
    start = state_of_a_start(values)
    if current is not None and not str(start[1]).startswith(NOTHING_IS_STORED):  # which says more than a failed attempt
        start = current.status, current.reason
    status, reason = start
    if current is None and active is None and not runtime.disabled_by_environment():
        if status != DISABLED and not os.path.exists(values["cache_dir"]):  # a start would create it, `status` does not
            status = DISABLED
        reason = reason or NOT_ACTIVE
    return {
        "active": active is not None,
        "enabled": activation_file(),
        "version": __version__,
        "python": platform.python_version(),
        "cache_dir": options.cache_dir,
        "layout": options.layout,
        "invalidation_mode": options.invalidation_mode,
        "status": status,
        "writable": status == WRITABLE,
        "reason": reason,
        "start": {"status": start[0], "reason": start[1]},
        "archives": _archives(current, options),
        "options": options.as_dict(),
    }


def _archives(active: "hook.Hook | None", options: Any) -> list[dict[str, Any]]:
    """Return for each archive whether it is or would be used, and why not."""
    if active is not None:
        opened: Any = active.archives
    else:
        from pycachehook.archive import open_all

        opened = open_all(options.archives, allow_shared=options.allow_shared, strict=False)
    return [{"path": archive.path_name, "used": archive.usable, "reason": archive.reason} for archive in opened]


def _by_distribution(cache_dir: str) -> dict[str, dict[str, int]]:
    """Return the number of entries and the sum of their bytes for each distribution, the largest first."""
    distributions: dict[str, dict[str, int]] = {}
    if not may_be_cache(cache_dir):
        return distributions
    owner = _owners()
    with suppress(OSError):  # there is no cache yet, or this user may not read it
        for file in walk(cache_dir):
            if file.kind == TEMPORARY:
                continue
            name = owner(file.source) if file.kind == ENTRY else BY_CONTENT if file.kind == SHARED else OTHERS
            counts = distributions.setdefault(name, {"entries": 0, "bytes": 0})
            counts["entries"] += 1
            counts["bytes"] += file.size
    return dict(sorted(distributions.items(), key=lambda pair: -pair[1]["bytes"]))


def _owners() -> Callable[[str], str]:
    """Return a function that maps the path of a source to the distribution in this environment that owns it."""
    import functools
    import sysconfig

    from importlib_metadata import packages_distributions

    names = functools.cache(packages_distributions)  # slow: called only if there is a source of this environment
    folders = {os.path.join(sysconfig.get_path(name), "") for name in ("purelib", "platlib")}
    standard = os.path.join(sysconfig.get_path("stdlib"), "")

    def owner(source: str) -> str:
        for folder in folders:
            if source.startswith(folder):
                top = source[len(folder) :].partition(os.sep)[0].removesuffix(".py")
                return names().get(top, [ELSEWHERE])[0]
        return STANDARD_LIBRARY if source.startswith(standard) else ELSEWHERE

    return owner
