"""A bytecode cache for Python: in directories of your choosing, validated by source hash, compiled once.

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
    """Load what is asked for (PEP 562): start-up needs none of it.

    The activation files may have loaded the submodules before this module, which then does not know them.
    """
    if name in _HOME:
        return getattr(__import__(f"{__name__}.{_HOME[name]}", fromlist=["*"]), name)
    try:
        return sys.modules[f"{__name__}.{name}"]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None


def __dir__() -> list[str]:
    """Return the names of the API, whether they have been loaded or not."""
    return [*__all__, "__version__"]


def disabled_by_environment() -> bool:
    """Say whether `PYCACHEHOOK_DISABLE`, the kill switch, is set: to anything but an empty string, 0, false, no, off.

    It is here so that it can be asked before any other module of the package is loaded.
    """
    return os.environ.get("PYCACHEHOOK_DISABLE", "").lower() not in ("", "0", "false", "no", "off")
