"""A bytecode cache for Python: in directories of your choosing, validated by source hash, compiled once.

    import pycachehook
    pycachehook.install()
"""

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

__all__ = ["CacheDirError", "ConfigError", "Hook", "PycacheHookError", "active", "install", "uninstall"]  # noqa: F822


def __getattr__(name: str) -> object:
    """Load what is asked for (PEP 562): start-up needs `pycachehook.hook`, and nothing of this."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(__import__(f"{__name__}.{_HOME[name]}", fromlist=["*"]), name)
