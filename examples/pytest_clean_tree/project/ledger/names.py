"""Names as people type them."""


def tidy(name: str) -> str:
    """Return a name in the one way in which it is written here."""
    return " ".join(name.split()).title()
