"""The process under attack: it installs the hook and imports, between two marks in the trace of its system calls.

`python victim.py TREE CACHE OPTIONS [CALLS]`; CALLS are system calls that a filter refuses, and the error. It prints
the result of each import, and whether the hook raised, as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from typing import Any

# Modules of this package that `install()` imports from `sys.path`; those for a miss are loaded under attack.
import pycachehook.archive
import pycachehook.config.options
import pycachehook.config.resolution
import pycachehook.config.rules
import pycachehook.content_store
import pycachehook.errors
import pycachehook.hook
import pycachehook.runtime

NAMES = ("first", "package", "package.second", "third")
BEGIN, END = "/begin-of-attack", "/end-of-attack"


def outcome(name: str) -> Any:
    """Import a module; return its value, or the exception's name."""
    try:
        return importlib.import_module(name).value
    except Exception as error:  # noqa: BLE001 -- the exception is the result
        return type(error).__name__


def main() -> None:
    """Install the hook and import all modules."""
    tree, cache, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
    sys.path.insert(0, tree)
    if sys.argv[4:]:
        import system_call_filter  # type: ignore[import-not-found]  # beside this file

        system_call_filter.forbid(*json.loads(sys.argv[4]))
    os.access(BEGIN, os.F_OK)
    try:
        hook = pycachehook.install(cache, in_tree="ignore", lock_timeout=1, **options)
    except Exception as error:  # noqa: BLE001 -- the exception is the result
        print(json.dumps({"install": repr(error)}))
        return
    found = {name: outcome(name) for name in NAMES}
    os.access(END, os.F_OK)
    print(json.dumps({"values": found, **hook.stats.as_dict()}))


if __name__ == "__main__":
    main()
