"""The arguments of an ordinary `archive pull`, read without `argparse`, whose import takes as long as a pull's check.

The pulls of a timer mostly have nothing to do. Whatever is unusual or wrong is left to `arguments.parse`.
"""

from collections.abc import Sequence
from types import SimpleNamespace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SWITCHES = ("--if-changed", "--allow-unsigned", "--allow-older", "--json")
_VALUES = ("--key", "--pin", "--timeout", "--max-size")
_PIN_DIGITS = 64  # hexadecimal digits of SHA-256
_DIGITS = 6  # of a number at most
_LONGEST = 1e6  # seconds
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_BYTES = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse(arguments: Sequence[str]) -> "Any":
    """Return the parsed command line, see `arguments.parse`."""
    read = parse_pull(arguments)
    if read is not None:
        return read
    from . import arguments as ordinary

    return ordinary.parse(arguments)


def parse_pull(arguments: Sequence[str]) -> SimpleNamespace | None:
    """Return what `arguments.parse` returns for the arguments of a pull, or None if they are not as simple as usual."""
    if [*arguments[:2]] != ["archive", "pull"]:
        return None
    read = _read(arguments[2:])
    if read is None or len(read[0]) != len(("SRC", "DEST")):
        return None
    (source, dest), switches, values = read
    pins = [_pin(text) for text in values["--pin"]]
    timeouts = [_scaled(text, _SECONDS) for text in values["--timeout"]]
    sizes = [_scaled(text, _BYTES) for text in values["--max-size"]]
    if None in (*pins, *timeouts, *sizes) or any(timeout is None or timeout > _LONGEST for timeout in timeouts):
        return None
    return SimpleNamespace(
        command="archive",
        verb="pull",
        arguments=[*arguments],
        own=[*arguments[1:]],
        source=source,
        archive=dest,
        key=values["--key"],
        pin=pins[-1] if pins else None,
        max_size=sizes[-1] if sizes else 4 << 30,
        timeout=timeouts[-1] if timeouts else 600.0,
        **{name[2:].replace("-", "_"): name in switches for name in _SWITCHES},
    )


def _read(words: Sequence[str]) -> tuple[list[str], set[str], dict[str, list[str]]] | None:
    """Return the words that are no options, the switches, and the values of the other options; None if unusual."""
    places: list[str] = []
    switches: set[str] = set()
    values: dict[str, list[str]] = {name: [] for name in _VALUES}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if word in _SWITCHES:
            switches.add(word)
        elif name in values:
            if not equals:
                value = next(rest, "")
            if not value or value.startswith("-"):
                return None
            values[name].append(value)
        elif not word or word.startswith("-"):
            return None
        else:
            places.append(word)
    return places, switches, values


def _pin(text: str) -> str | None:
    digest = text.removeprefix("sha256:")
    return digest if len(digest) == _PIN_DIGITS and set(digest) <= set("0123456789abcdef") else None


def _scaled(text: str, units: dict[str, int]) -> int | None:
    number = text[:-1] if text[-1] in units else text
    if not (number.isascii() and number.isdigit() and len(number) <= _DIGITS) or not int(number):
        return None
    return int(number) * units.get(text[-1], 1)
