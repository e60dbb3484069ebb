"""Text from file names, code and other programs, made safe for a terminal or a log.

May be loaded at a start, by `stats_log`: imports nothing.
"""


def visible(text: str) -> str:
    r"""Return `text` with every character that `repr` would escape written as `repr` writes it: `\x1b`, `\u202e`, `\n`.

    Those are the control characters (C0, DEL, C1), line and paragraph separators, the invisible format characters
    that change the direction of text, and lone surrogates, which stand for undecodable bytes of a file name.
    """
    if text.isprintable():
        return text
    return "".join([each if each.isprintable() else repr(each)[1:-1] for each in text])
