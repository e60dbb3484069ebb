"""What is in force here, for `pycachehook status`."""

import os
import platform
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from pycachehook import __version__, hook, runtime
from pycachehook.cache_dir import DISABLED, WRITABLE

from .cache_walk import ENTRY, SHARED, TEMPORARY, may_be_cache, walk
from .prospect import activation_file, options_of_a_start, state_of_a_start
from .stats_file import read_stats_file

NOT_ACTIVE = "The hook is not active in this process: `pycachehook enable` turns it on in this environment."

# What `_by_distribution` calls what belongs to none.
STANDARD_LIBRARY, ELSEWHERE, OTHERS = "(standard library)", "(elsewhere)", "(other interpreters and tools)"
BY_CONTENT = "(shared)"


def status(config: object = None, given: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Return the state of this process and its cache as plain data, whose keys are documented.

    With options `given`, it is the state of a start that has these. Raises ConfigError where they, the environment or
    the file hold a wrong option.
    """
    found = state(config, given)
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


def state(config: object = None, given: Mapping[str, object] | None = None) -> dict[str, Any]:
    """Return what `status` does, without a look at the entries; raises ConfigError as it does."""
    given = {name: value for name, value in (given or {}).items() if value is not None}
    active = hook.active()
    current = None if given else active
    options = None if current is None else current.options
    if options is None:
        options = options_of_a_start(given, config)
    values = options.values()
    would_be = state_of_a_start(values) if current is None else (current.status, current.reason)
    status, reason = would_be
    if current is None and active is None and not runtime.killed():
        if status != DISABLED and not os.path.exists(values["cache_dir"]):  # and `status` does not make it
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
        "start": {"status": would_be[0], "reason": would_be[1]},
        "archives": _archives(current, options),
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


def _by_distribution(cache_dir: str) -> dict[str, dict[str, int]]:
    """Return the number of entries and the sum of their bytes for each distribution, the largest first."""
    found: dict[str, dict[str, int]] = {}
    if not may_be_cache(cache_dir):
        return found
    owner = _owners()
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
