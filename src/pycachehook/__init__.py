"""A bytecode cache for CPython that validates by source hash and compiles each file once.

import pycachehook
pycachehook.install()
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .errors import CacheDirError, ConfigError, PycacheHookError
    from .events import Event
    from .hook import Hook, active, install, on_event, uninstall

__version__ = "0.1.0"

_HOME = {
    "install": "hook",
    "uninstall": "hook",
    "active": "hook",
    "on_event": "hook",
    "Hook": "hook",
    "Event": "events",
    "PycacheHookError": "errors",
    "ConfigError": "errors",
    "CacheDirError": "errors",
}

__all__ = [
    "CacheDirError",
    "ConfigError",
    "Event",
    "Hook",
    "PycacheHookError",
    "active",
    "install",
    "on_event",
    "uninstall",
]


def __getattr__(name: str) -> "Any":
    """Load an attribute of the API when it is first used (PEP 562), because a start needs none of them.

    The activation files may load submodules before this module exists, so those are looked up in `sys.modules`.
    """
    if name in _HOME:
        return getattr(__import__(f"{__name__}.{_HOME[name]}", fromlist=["*"]), name)
    try:
        return sys.modules[f"{__name__}.{name}"]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    """Return the names of the API, whether or not they have been loaded."""
    return [*__all__, "__version__"]


def environ() -> "Any":
    """Return `os.environ`, as the start-up file has seen it if there is one: a program may have replaced it since."""
    start_up_file = sys.modules.get("_pycachehook_startup")  # no function of `builtins` is called here, not even `len`
    seen = None if start_up_file is None else start_up_file.__dict__.get("environ")
    return os.environ if seen is None else seen


def disabled_by_environment() -> bool:
    """Return whether the kill switch `PYCACHEHOOK_DISABLE` is set to anything but "", 0, false, no or off.

    The function is defined here so that it can be called before any other module of the package is loaded.
    """
    return environ().get("PYCACHEHOOK_DISABLE", "").lower() not in ("", "0", "false", "no", "off")
