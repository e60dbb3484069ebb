"""Shell patterns that select sources in rules, with the semantics of `fnmatch.fnmatchcase`.

`fnmatch` itself would load `re` in the middle of an import.

Start-up module where rules are configured: imports nothing at module level that the interpreter has not already loaded.
"""

from .system import BUILTINS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Letter = str | tuple[bool, str] | None  # a character; (negated, set with ranges); None: any character

__builtins__ = BUILTINS  # so that later patches of `builtins` do not reach this module


def matcher(patterns: "Sequence[str]") -> "Callable[[str], bool]":
    """Return a function that tells whether any of the patterns matches a whole path; `*` also matches `/`."""
    tests = [
        _plain(pattern) if "?" not in pattern and "[" not in pattern else _with_sets(pattern) for pattern in patterns
    ]

    def matches(path: str) -> bool:
        for test in tests:  # noqa: SIM110 -- runs for every import, and a generator costs more
            if test(path):
                return True
        return False

    return matches


def _plain(pattern: str) -> "Callable[[str], bool]":
    """Return the test for a pattern whose only special character is `*`."""
    first, *between = pattern.split("*")
    if not between:
        return pattern.__eq__
    last = between.pop()
    shortest = len(first) + len(last)

    def test(path: str) -> bool:
        if not path.startswith(first) or not path.endswith(last) or len(path) < shortest:
            return False
        position, end = len(first), len(path) - len(last)
        for part in between:
            position = path.find(part, position, end)
            if position < 0:
                return False
            position += len(part)
        return True

    return test


def _with_sets(pattern: str) -> "Callable[[str], bool]":
    """Return the test for a pattern that contains `?`, `[...]` or `[!...]`."""
    first, *between = _parts(pattern)
    last = between.pop() if between else None

    def test(path: str) -> bool:
        if last is None:
            return len(path) == len(first) and _fits(first, path, 0)
        end = len(path) - len(last)
        if end < len(first) or not _fits(first, path, 0) or not _fits(last, path, end):
            return False
        position = len(first)
        for part in between:
            while position + len(part) <= end and not _fits(part, path, position):
                position += 1
            position += len(part)
            if position > end:
                return False
        return True

    return test


def _parts(pattern: str) -> "list[list[Letter]]":
    """Split a pattern at its stars; each part lists, character by character, what the path may contain."""
    parts: list[list[Letter]] = [[]]
    at = 0
    while at < len(pattern):
        letter, at = pattern[at], at + 1
        if letter == "*":
            parts.append([])
            continue
        if letter == "?":
            parts[-1].append(None)
            continue
        negated = letter == "[" and pattern[at : at + 1] == "!"
        close = pattern.find("]", at + negated + 1) if letter == "[" else -1
        if close < 0:
            parts[-1].append(letter)
        else:
            parts[-1].append((negated, pattern[at + negated : close]))
            at = close + 1
    return parts


def _fits(part: "list[Letter]", path: str, begin: int) -> bool:
    """Return whether `part` matches the characters of `path` from index `begin` on."""
    for letter, character in zip(part, path[begin : begin + len(part)], strict=False):
        if type(letter) is tuple:
            if _is_in(letter[1], character) is letter[0]:
                return False
        elif letter is not None and letter != character:
            return False
    return True


def _is_in(ranges: str, character: str) -> bool:
    """Return whether a character is in a set written as in `[...]`: characters, and ranges such as `a-z`."""
    at = 0
    while at < len(ranges):
        if ranges[at + 1 : at + 2] == "-" and at + 2 < len(ranges):
            if ranges[at] <= character <= ranges[at + 2]:
                return True
            at += 3
        else:
            if ranges[at] == character:
                return True
            at += 1
    return False
