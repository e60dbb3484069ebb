"""The syntax of numbers, sizes and ages on the command line; a wrong value raises `ArgumentTypeError`."""

import argparse

from .printing import KIBI


def _number_and_unit(text: str, units: dict[str, int], what: str) -> int:
    number, unit = text.rstrip("BbiI" if "K" in units else ""), ""
    if number[-1:].upper() in units or number[-1:] in units:
        number, unit = number[:-1], number[-1]
    if not number.isascii() or not number.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not {what}")
    return int(number) * units.get(unit, units.get(unit.upper(), 1))


def _at_least_one(text: str, what: str) -> int:
    number = _number_and_unit(text, {}, what)
    if number == 0:
        raise argparse.ArgumentTypeError(f"'0' is not {what}: at least 1 is needed")
    return number


def size(text: str) -> int:
    """Return the number of bytes in a size such as `500M`."""
    return _number_and_unit(text, {"K": KIBI, "M": KIBI**2, "G": KIBI**3, "T": KIBI**4}, "a size, such as 500M")


def count(text: str) -> int:
    """Return a number of files."""
    return _number_and_unit(text, {}, "a number of files")


def jobs(text: str) -> int:
    """Return a number of processes, at least 1."""
    return _at_least_one(text, "a number of processes")


def age(text: str) -> int:
    """Return the number of seconds in a time such as `30d`."""
    return _number_and_unit(text, {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}, "a time, such as 30d")


def runs(text: str) -> int:
    """Return a number of runs, at least 1."""
    return _at_least_one(text, "a number of runs")


def percentage(text: str) -> float:
    """Return the number in a percentage such as `10%`."""
    try:
        value = float(text.removesuffix("%"))
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a percentage, such as 10%")
    return value
