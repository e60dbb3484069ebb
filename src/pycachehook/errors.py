"""The exceptions of this package. None is raised by an import, except under `strict`."""


class PycacheHookError(Exception):
    """The base class of all exceptions that this package raises on purpose."""


class ConfigError(PycacheHookError, ValueError):
    """A wrong option. The message names the option, its value, where that came from and what is allowed."""


class CacheDirError(PycacheHookError):
    """A fault of the environment, such as a missing directory or a full disk; raised under `strict` only."""
