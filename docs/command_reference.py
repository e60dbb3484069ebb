"""The page about the commands, generated from the command line's parser."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pycachehook.cli.arguments import parser

OPTIONS = Path(__file__).resolve().parent / "pages" / "reference" / "options.md"

INTRODUCTION = """\
# Commands

This page is made from the command line's own parser. `pycachehook COMMAND --help` prints the same.
`python -m pycachehook` is another way to write `pycachehook`.

Exit codes: 0 done, 1 something was found or failed, 2 wrong usage. What `--json` prints is described in
[JSON output](json.md), what the options mean in [Options](options.md).

With the extra `cli` (`pip install 'pycachehook[cli]'`) a terminal shows tables and progress bars; `NO_COLOR` is
honoured. The same extra brings shell completion: `eval "$(pycachehook --print-completion bash)"`, or `zsh`, `tcsh`.
"""


def command_reference() -> str:
    """Return the page as Markdown: one section per command, with its usage and a table of its arguments."""
    os.environ["COLUMNS"] = "100"  # argparse wraps the usage to this width
    return INTRODUCTION + "".join(f"\n{section}" for section in _sections(parser(), "##"))


def _sections(command: argparse.ArgumentParser, heading: str) -> Iterator[str]:
    for action in command._actions:  # noqa: SLF001 -- argparse has no public access to its sub-commands
        if not isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            continue
        seen: set[int] = set()
        for name, inner in action.choices.items():
            if id(inner) in seen:  # an alias
                continue
            seen.add(id(inner))
            aliases = [other for other, choice in action.choices.items() if choice is inner and other != name]
            yield _section(inner, heading, aliases)
            yield from _sections(inner, heading + "#")


def _section(command: argparse.ArgumentParser, heading: str, aliases: list[str]) -> str:
    name = command.prog.removeprefix("pycachehook ")
    description = (command.description or "").strip()
    parts = [f"{heading} {name}\n", f"{description[:1].upper()}{description[1:].rstrip('.')}.\n"]
    if aliases:
        parts.append(f"Also: {', '.join(f'`{alias}`' for alias in aliases)}.\n")
    usage = command.format_usage().removeprefix("usage: ").rstrip()
    parts.append(f"```text\n{usage}\n```\n")
    if command.epilog:
        kind, _, example = command.epilog.partition(": ")
        parts.append(f"{kind.capitalize()}: `{example}`\n" if example else f"{command.epilog}\n")
    rows = list(_rows(command))
    if rows:
        parts.append("".join(("| argument | meaning |\n|---|---|\n", *rows)))
    return "\n".join(parts)


def _rows(command: argparse.ArgumentParser) -> Iterator[str]:
    for action in command._actions:  # noqa: SLF001
        if isinstance(action, (argparse._HelpAction, argparse._SubParsersAction)):  # noqa: SLF001
            continue
        if action.help is argparse.SUPPRESS:
            continue
        metavar = action.metavar if isinstance(action.metavar, str) else None
        if action.choices is not None and metavar is None:
            metavar = "{" + ",".join(map(str, action.choices)) + "}"
        takes = "" if action.nargs == 0 or not action.option_strings else f" {metavar or action.dest.upper()}"
        if isinstance(action, argparse.BooleanOptionalAction):
            takes = ""
        names = ", ".join(f"{name}{takes}" for name in action.option_strings) or metavar or action.dest
        text = command._get_formatter()._expand_help(action) if action.help else _what_it_is(action)  # noqa: SLF001
        yield f"| `{names}` | {text} |\n".replace("`|`", "`&#124;`") if "|" not in names else _with_bars(names, text)


def _with_bars(names: str, text: str) -> str:
    """Escape bars, which is necessary in a cell of a table and works in `<code>` only."""
    return f"| <code>{names.replace('|', '&#124;')}</code> | {text} |\n"


def _what_it_is(action: argparse.Action) -> str:
    """Return a link to the option's section on the page about options, if there is one."""
    anchor = action.dest.replace("_", "-")
    if re.search(rf"^## {anchor}$|{{ #{anchor} }}$", OPTIONS.read_text(encoding="utf-8"), re.MULTILINE):
        return f"the option [`{action.dest}`](options.md#{anchor})"
    return f"the option `{action.dest}`" if action.option_strings else ""
