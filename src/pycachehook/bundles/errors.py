"""The errors of bundles. Each message is one sentence for the user of the command."""

from pycachehook.errors import PycacheHookError


class BundleError(PycacheHookError):
    """The base class of all errors that end a push, a pull or a spread."""


class NotFoundAtSourceError(BundleError):
    """The source answers, but does not have the object."""


class TransferError(BundleError):
    """The connection or the server failed; the same request may succeed later."""


class RangeIgnoredError(TransferError):
    """The server cannot send the rest of an object, so the transfer has to start again."""


class DeadlineError(BundleError):
    """`--timeout` has passed."""


def missing_library(name: str, extra: str = "remote") -> BundleError:
    """Return the error for a library that is not installed: it names the extra that brings it."""
    from pycachehook.commands.installer import install_command

    return BundleError(f"This needs the library {name}: {install_command(f'pycachehook[{extra}]')}.")


def printable(text: str, length: int = 300) -> str:
    """Return foreign text as one printable line: no control characters, at most `length` characters."""
    line = "".join(character if character.isprintable() else " " for character in text)
    line = " ".join(line.split())
    return line if len(line) <= length else line[: length - 3] + "..."
