"""A pytest plugin: one line in the report's header, and with `-v` the hit rate at the end.

It prints nothing if the hook is not active. It is a separate distribution, installed by the extra
`pycachehook[pytest]`, because pytest rewrites all modules of a distribution with a plugin and warns about those that
are loaded already.
"""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pycachehook import Hook

_COUNTERS = ("hits", "compiled")
_totals = dict.fromkeys(_COUNTERS, 0)  # of all pytest-xdist workers


def _active() -> "Hook | None":
    """Return the active hook; None also if pycachehook has been uninstalled and this plugin has not."""
    try:
        from pycachehook.hook import active
    except ImportError:
        return None
    return active()


def pytest_report_header(config: pytest.Config) -> str | None:  # noqa: ARG001 -- pytest passes arguments by name
    """Return one line with the hook's status and its cache directory."""
    active = _active()
    if active is None or active.options is None:
        return None
    reason = "" if active.reason is None else f" ({active.reason})"
    return f"pycachehook: {active.status}, {active.options.cache_dir}{reason}"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """In a worker of pytest-xdist, send the counters to the controller."""
    active, output = _active(), getattr(session.config, "workeroutput", None)
    if active is not None and output is not None:
        output["pycachehook"] = {name: getattr(active.stats, name) for name in _COUNTERS}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:  # noqa: ARG001
    """Add the counters of a worker."""
    counted = getattr(node, "workeroutput", {}).get("pycachehook", {})
    for name, number in counted.items():
        _totals[name] += number


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the hit rate of this process and its workers under `-v`."""
    active = _active()
    if active is None or config.get_verbosity() < 1:
        return
    hits, compiled = (_totals[name] + getattr(active.stats, name) for name in _COUNTERS)
    if hits + compiled:
        rate = f"{hits / (hits + compiled):.1%}"
        terminalreporter.write_line(f"pycachehook: {hits} modules from the cache, {compiled} compiled, {rate} hits")
