"""A parser with short errors that say what was meant, and the part of `run`'s arguments that is the program's."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from pycachehook.terminal import visible

from .printing import USAGE, columns, complain

_NARROWEST = 40  # columns: below that, lines are left to the terminal


class HelpFormatter(argparse.HelpFormatter):
    """Wraps between words only, however narrow the terminal is."""

    def __init__(self, prog: str, **more: Any) -> None:
        width = max(columns() - 2, _NARROWEST)
        super().__init__(prog, max_help_position=24, width=width, **more)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return _wrapped(" ".join(text.split()), width, "")

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(_wrapped(" ".join(text.split()), width, indent))


def _wrapped(text: str, width: int, indent: str) -> list[str]:
    import textwrap

    return textwrap.wrap(
        text,
        width,
        initial_indent=indent,
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line: what is wrong, what may have been meant, and where the usage is shown."""

    def __init__(self, **more: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **more)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help and the like; an error of the stream is raised, unlike in argparse, which hides it."""
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """Print one line on standard error, and exit with code 2."""
        end = "" if message.endswith("?") else "."
        complain(f"{self.prog.split()[0]}: error: {visible(message)}{end} See `{self.prog} --help`.")
        sys.exit(USAGE)

    def refuse(self, arguments: Sequence[str]) -> NoReturn:
        """Print that these arguments are not known, with the option that may have been meant, and exit with code 2."""
        known = [each for each in self._option_string_actions if each.startswith("--")]
        names = (each.partition("=")[0] for each in arguments)
        meant = next((found for name in names if name.startswith("-") and (found := suggestion(name, known))), "")
        self.error(f"unrecognized arguments: {' '.join(arguments)}{meant}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:  # noqa: SLF001 -- no other name
            what = str(action.metavar) if action.metavar == "COMMAND" else f"{self.prog.split()[-1]} command"
            known = list(action.choices)
            raise argparse.ArgumentError(None, f"there is no {what.lower()} {value!r}{suggestion(str(value), known)}")
        super()._check_value(action, value)


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return which of the `known` words may have been meant, as the end of a sentence; else nothing."""
    from difflib import get_close_matches

    found = get_close_matches(word, known, 1)
    return f"; did you mean {found[0]}?" if found else ""


class Suggested(tuple[str, ...]):
    """The values of an option that help and completion show. Any value passes: `config` says what is wrong with it."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        return True


def split_program(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the arguments of `run` itself, and those of the program as `{"script" | "module" | "code": [...]}`.

    As with `python`, the program begins at `-m` or `-c`, with its value behind it or in the same word, or at the first
    word that is no option; a `--` may stand before a script.
    """
    actions = parser._option_string_actions  # noqa: SLF001 -- argparse tells it in no other way
    at = 0
    while at < len(arguments):
        word = arguments[at]
        if word == "--":
            return [*arguments[:at]], {"script": [*arguments[at + 1 :]]}
        if word == "-" or not word.startswith("-"):
            return [*arguments[:at]], {"script": [*arguments[at:]]}
        if word[:2] in ("-m", "-c"):
            joined = [word[2:]] if word[2:] else []
            return [*arguments[:at]], {"module" if word[1] == "m" else "code": [*joined, *arguments[at + 1 :]]}
        action = actions.get(word)
        at += 2 if action is not None and action.nargs is None else 1
    return [*arguments], {}
