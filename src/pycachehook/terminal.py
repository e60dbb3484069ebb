"""Escaping of text from file names, code and other programs: for terminals and logs, and as JSON.

May be loaded at a start by `stats_log` and `tracing`: imports nothing that a start has not loaded.
"""

from .system import BUILTINS

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module


def visible(text: str) -> str:
    r"""Return `text` with every non-printable character escaped as `repr` does: `\x1b`, `\u202e`, `\n`.

    Those are the control characters (C0, DEL, C1), line and paragraph separators, the invisible format characters that
    change the direction of text, and lone surrogates, which represent undecodable bytes of a file name.
    """
    if text.isprintable():
        return text
    return "".join([character if character.isprintable() else repr(character)[1:-1] for character in text])


def to_json(value: object) -> str:
    """Return numbers, strings and dicts of them as ASCII JSON.

    The `json` package is avoided: it would be loaded from the program's `sys.path`, and only with statistics on.
    """
    if isinstance(value, dict):
        return "{" + ", ".join([f"{to_json(str(name))}: {to_json(item)}" for name, item in value.items()]) + "}"
    if isinstance(value, int):
        return str(int(value))
    text = str(value)
    return f'"{text if is_plain(text) else "".join([_json_character(character) for character in text])}"'


def is_plain(text: str) -> bool:
    """Return whether `text` is the same in JSON."""
    return text.isascii() and text.isprintable() and '"' not in text and "\\" not in text


def _json_character(character: str) -> str:
    if " " <= character <= "~":
        return f"\\{character}" if character in '"\\' else character
    number = ord(character)
    if number > 0xFFFF:  # noqa: PLR2004 -- encoded as two UTF-16 surrogates
        number -= 0x10000
        return f"\\u{0xD800 | number >> 10:04x}\\u{0xDC00 | number & 0x3FF:04x}"
    return f"\\u{number:04x}"
