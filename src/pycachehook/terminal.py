"""Escaping of text from file names, code and other programs for terminals and logs.

May be loaded at a start by `stats_log`: imports nothing that a start has not loaded.
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
