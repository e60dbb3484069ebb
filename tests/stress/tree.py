"""The package tree: small modules whose values are computed from the version in their own text.

A module's first line holds its version, which only increases, in digits of fixed width, so that all versions of a
module have the same size. Its `VALUE` is computed by code that no other module has: bytecode of another version or
module, or damaged bytecode that still runs, gives another value.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import NamedTuple

PACKAGES = 12
SUBPACKAGES = 2  # in each package
MODULES = 9  # in each package and subpackage, in addition to its __init__

FIRST_LINE = 'VERSION = "'
WIDTH = 8
MODULUS = 2**61 - 1

# Pycs that a package ships in its own `__pycache__`: none; checked-hash ones; timestamp ones, older than all edits.
NOTHING = "nothing"
CHECKED = "checked-hash"
TIMESTAMP = "timestamp"

SHIPPED_AGE = 3600 * 10**9  # nanoseconds
PINNED = 1_700_000_000 * 10**9  # the mtime of all other sources, which most edits keep; nanoseconds

_BODY = """"
'''One of many.'''
{require}
NAME = {name!r}


def derive(text, total=0):
    for character in text:
        total = (total * {multiplier} + ord(character)) % {modulus}
    return total


{filler}
VALUE = derive(NAME + VERSION)
"""

_FILLER = """
class Class{number}:
    '''Does nothing, {number} times.'''

    constants = ({constants})

    def method(self, *arguments, **options):
        try:
            return [argument + {number} for argument in arguments if argument in self.constants]
        finally:
            options.clear()
"""


class Module(NamedTuple):
    """One source file: `requires` is the module that it imports, or "", `ships` the kind of its package's pycs."""

    name: str
    path: str
    is_package: bool
    requires: str
    ships: str
    multiplier: int

    def text(self, version: int) -> str:
        """Return the source of this version; all versions have the same length."""
        drawn = random.Random(self.name)
        filler = "".join(
            _FILLER.format(number=number, constants="".join(f"{drawn.random()}, " for _ in range(8)))
            for number in range(drawn.choice((0, 0, 1, 2, 3, 5, 8, 13)))
        )
        body = _BODY.format(
            name=self.name,
            require=f"import {self.requires}" if self.requires else "",
            multiplier=self.multiplier,
            modulus=MODULUS,
            filler=filler,
        )
        return f"{FIRST_LINE}{digits(version)}{body}"

    def value(self, version: int) -> int:
        """Return the value of `VALUE` in this version."""
        total = 0
        for character in self.name + digits(version):
            total = (total * self.multiplier + ord(character)) % MODULUS
        return total

    def version(self) -> int:
        """Return the current version of the file; raises OSError."""
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            return int(os.pread(descriptor, WIDTH, len(FIRST_LINE)))
        finally:
            os.close(descriptor)


def digits(version: int) -> str:
    """Return a version as written in the text."""
    return f"{version:0{WIDTH}}"


class Tree:
    """All modules below the directory `root`, by name; equal for equal `seed`."""

    def __init__(self, root: str, seed: int) -> None:
        self.root = root
        self.modules = {module.name: module for module in _draw(root, random.Random(f"{seed}/tree"))}
        self._loads: dict[str, tuple[str, ...]] = {}

    def loads(self, name: str) -> tuple[str, ...]:
        """Return the names of all modules that `import name` loads, in the order of loading."""
        known = self._loads.get(name)
        if known is None:
            parts = name.split(".")
            parents = [".".join(parts[:count]) for count in range(1, len(parts))]
            requires = self.modules[name].requires
            required = self.loads(requires) if requires else ()
            known = self._loads[name] = tuple(dict.fromkeys((*parents, *required, name)))
        return known

    def write(self) -> None:
        """Write all sources in version 1, with old mtimes; those that ship timestamp pycs with one of an hour ago."""
        for module in self.modules.values():
            os.makedirs(os.path.dirname(module.path), exist_ok=True)
            with open(module.path, "w", encoding="utf-8") as file:
                file.write(module.text(1))
            mtime = time.time_ns() - SHIPPED_AGE if module.ships == TIMESTAMP else PINNED
            os.utime(module.path, ns=(mtime, mtime))


def _draw(root: str, drawn: random.Random) -> Iterator[Module]:
    earlier: list[str] = []
    for package in range(PACKAGES):
        for sub in ("", *(f".s{number}" for number in range(SUBPACKAGES))):
            name = f"p{package:02}{sub}"
            folder = f"{root}/{name.replace('.', '/')}"
            ships = drawn.choice((NOTHING, NOTHING, CHECKED, TIMESTAMP))
            yield Module(name, f"{folder}/__init__.py", True, "", ships, _multiplier(drawn))
            for number in range(MODULES):
                requires = drawn.choice(earlier) if earlier and drawn.random() < 0.3 else ""
                own = f"{name}.m{number:02}"
                yield Module(own, f"{folder}/m{number:02}.py", False, requires, ships, _multiplier(drawn))
                earlier.append(own)


def _multiplier(drawn: random.Random) -> int:
    return drawn.randrange(2**20, 2**40) | 1
