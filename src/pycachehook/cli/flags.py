"""Flags that several commands have in common: those of the options, the selection of sources, `--json`."""

import argparse
import os
from collections.abc import Sequence
from typing import Any

from pycachehook.config import options, resolution
from pycachehook.config.options import ALIASES, boolean

from .parsing import Suggested
from .units import jobs

_MEANINGS: dict[str, tuple[str | tuple[str, ...], str]] = {
    "cache_dir": ("DIR", "where entries are stored (default: PYTHONPYCACHEPREFIX, else in the user's cache directory)"),
    "layout": (options.LAYOUTS, "one entry per source path, or one per source content, which checkouts share"),
    "invalidation_mode": (options.INVALIDATION_MODES, "how an entry is compared with its source (PEP 552)"),
    "in_tree": (options.IN_TREE, "which pycs in the sources' own __pycache__ are read"),
    "read_only": ("", "never write an entry"),
    "rules": ("TOML", "overrides by source path or distribution, an array of tables: the first that matches wins"),
    "archives": ("FILES", f"read-only archives to look in first, separated by {os.pathsep!r}"),
    "lock_timeout": ("SECONDS", "how long an import may wait for a process that compiles the same file"),
    "force_write": ("", "write even under -B or PYTHONDONTWRITEBYTECODE"),
    "allow_shared": ("", "accept a cache directory that others may write to: their bytecode then runs here"),
    "gc": (options.GC, "what the garbage collector does during imports"),
    "compile_ahead": ("N", "processes that compile in advance what a cold start imports"),
    "open_code": (options.OPEN_CODE, "whether files are read through io.open_code (PEP 578)"),
    "strict": ("", "fail if the environment has a fault"),
}


def add_options(parser: argparse.ArgumentParser, names: Sequence[str] = resolution.NAMES) -> None:
    """Add a flag for every option, or the given ones; `config` checks the values and names the flag in errors."""
    group = parser.add_argument_group("options (PYCACHEHOOK_<NAME> sets them too)")
    group.add_argument("--config", metavar="FILE", help="a TOML file with a table [tool.pycachehook]")
    for name in names:
        default, parse = resolution.OPTIONS[name]
        flag = f"--{name.replace('_', '-')}"
        values, text = _MEANINGS.get(name, (name.upper(), ""))
        if parse is boolean:
            group.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, default=None, help=text)
            continue
        text += f" (default: {default})" if default else ""
        if isinstance(values, tuple):
            shown = "|".join(values)
            group.add_argument(flag, dest=name, choices=Suggested(values), metavar=shown, help=text)
        else:
            group.add_argument(flag, dest=name, metavar=values, help=text)
    for name in ALIASES if names is resolution.NAMES else ():
        flag = f"--{name.replace('_', '-')}"
        group.add_argument(flag, dest=name, action=argparse.BooleanOptionalAction, default=None, help=argparse.SUPPRESS)


def flags(parsed: argparse.Namespace) -> dict[str, Any]:
    """Return the values of all option flags, None for those that were not given."""
    return {name: getattr(parsed, name, None) for name in (*resolution.OPTIONS, *ALIASES)}


def add_selection(command: argparse.ArgumentParser) -> None:
    """Add the arguments that `precompile` and `archive build` have in common: sources and number of processes."""
    command.add_argument(
        "--distribution", action="append", default=[], metavar="NAME", help="all sources of an installed distribution"
    )
    command.add_argument(
        "--module", action="append", default=[], metavar="NAME", help="a module, or a package with everything in it"
    )
    command.add_argument("--exclude", action="append", default=[], metavar="GLOB", help="leave out matching paths")
    command.add_argument("-j", "--jobs", type=jobs, metavar="N", help="processes (default: one per processor)")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def add_json(command: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    command.add_argument("--json", action="store_true", help="print one JSON object")
