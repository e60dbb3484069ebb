"""An argument parser with one-line errors and suggestions, and the separation of a program's arguments."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from pycachehook.terminal import visible

from .printing import EXIT_USAGE, columns, complain

_NARROWEST = 40  # columns; on a narrower terminal lines are not wrapped further


class HelpFormatter(argparse.HelpFormatter):
    """A help formatter that breaks lines between words only, however narrow the terminal is."""

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
    """A parser whose errors are one line: what is wrong, a suggestion, and how to see the usage."""

    def __init__(self, **more: Any) -> None:
        super().__init__(formatter_class=HelpFormatter, allow_abbrev=False, **more)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help and the like; unlike in argparse, an error of the stream is raised."""
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """Print one line on standard error and exit with code 2."""
        end = "" if message.endswith("?") else "."
        complain(f"{self.prog.split()[0]}: error: {visible(message)}{end} See `{self.prog} --help`.")
        sys.exit(EXIT_USAGE)

    def refuse(self, arguments: Sequence[str]) -> NoReturn:
        """Print that these arguments are unknown, with a similar option if there is one, and exit with code 2."""
        known = [option for option in self._option_string_actions if option.startswith("--")]
        names = (argument.partition("=")[0] for argument in arguments)
        meant = next((hint for name in names if name.startswith("-") and (hint := suggestion(name, known))), "")
        self.error(f"unrecognized arguments: {' '.join(arguments)}{meant}")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:  # noqa: SLF001 -- no other name
            what = str(action.metavar) if action.metavar == "COMMAND" else f"{self.prog.split()[-1]} command"
            known = list(action.choices)
            raise argparse.ArgumentError(None, f"there is no {what.lower()} {value!r}{suggestion(str(value), known)}")
        super()._check_value(action, value)


def suggestion(word: str, known: Sequence[str]) -> str:
    """Return the most similar of the `known` words as the end of a sentence, or ""."""
    from difflib import get_close_matches

    matches = get_close_matches(word, known, 1)
    return f"; did you mean {matches[0]}?" if matches else ""


class Suggested(tuple[str, ...]):
    """The values of an option for help and completion. It accepts any value, because `config` reports wrong ones."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        return True


def split_program(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Separate the arguments of `run` from those of the program, as `{"script" | "module" | "code": [...]}`.

    As for `python`, the program begins at `-m` or `-c`, whose value is the next word or the rest of the same word, or
    at the first word that is not an option. A `--` may precede a script.
    """
    actions = parser._option_string_actions  # noqa: SLF001 -- argparse has no public access to it
    index = 0
    while index < len(arguments):
        word = arguments[index]
        if word == "--":
            return [*arguments[:index]], {"script": [*arguments[index + 1 :]]}
        if word == "-" or not word.startswith("-"):
            return [*arguments[:index]], {"script": [*arguments[index:]]}
        if word[:2] in ("-m", "-c"):
            joined = [word[2:]] if word[2:] else []
            return [*arguments[:index]], {"module" if word[1] == "m" else "code": [*joined, *arguments[index + 1 :]]}
        action = actions.get(word)
        index += 2 if action is not None and action.nargs is None else 1
    return [*arguments], {}
