"""What this package raises. Nothing here is raised out of an import, unless `strict` asks for it."""


class PycacheHookError(Exception):
    """The base of everything that this package raises on purpose."""


class ConfigError(PycacheHookError, ValueError):
    """A wrong option: its text names the option, the value, where it came from and what is allowed."""


class CacheDirError(PycacheHookError):
    """A fault of the environment (no such directory, no space, not trusted), raised under `strict` only."""
