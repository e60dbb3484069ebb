"""A bytecode cache for Python: in directories of your choosing, validated by source hash, compiled once.

import pycachehook
pycachehook.install()
"""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .errors import CacheDirError, ConfigError, PycacheHookError
    from .hook import Hook, active, install, uninstall

__version__ = "0.1.0"

_HOME = {
    "install": "hook",
    "uninstall": "hook",
    "active": "hook",
    "Hook": "hook",
    "PycacheHookError": "errors",
    "ConfigError": "errors",
    "CacheDirError": "errors",
}

__all__ = ["CacheDirError", "ConfigError", "Hook", "PycacheHookError", "active", "install", "uninstall"]


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
