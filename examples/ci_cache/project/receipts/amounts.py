"""Amounts of money, in cents."""


def parse(text: str) -> int:
    """Return the cents of an amount such as `12.50`."""
    whole, _, cents = text.partition(".")
    return int(whole) * 100 + int(cents.ljust(2, "0"))


def show(cents: int) -> str:
    """Return cents as people write them."""
    return f"{cents // 100}.{cents % 100:02}"
