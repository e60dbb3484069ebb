"""What goes wrong with a bundle. Each error's text is one sentence for the person who runs the command."""

from pycachehook.errors import PycacheHookError


class BundleError(PycacheHookError):
    """The base of everything that stops a push, a pull or a spread."""


class NotFoundAtSourceError(BundleError):
    """The source answers, and has no such thing."""


class TransferError(BundleError):
    """The connection or the server failed; the same request may succeed later."""


class RangeIgnoredError(TransferError):
    """The server cannot send the rest of an object: only a transfer from the beginning can succeed."""


class DeadlineError(BundleError):
    """`--timeout` has passed."""


def missing_library(name: str, extra: str = "remote") -> BundleError:
    """Return the error for a library that is not installed: it names the extra that brings it."""
    from pycachehook.commands.installer import install_command

    return BundleError(f"This needs the library {name}: {install_command(f'pycachehook[{extra}]')}.")


def printable(text: str, most: int = 300) -> str:
    """Return foreign text as one line that is safe to print: no control characters, at most `most` characters."""
    line = "".join(each if each.isprintable() else " " for each in text)
    line = " ".join(line.split())
    return line if len(line) <= most else line[: most - 3] + "..."
