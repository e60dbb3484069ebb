"""Amounts in cents."""

from collections.abc import Iterable


def total(amounts: Iterable[tuple[int, int]]) -> int:
    """Return the sum of numbers times prices."""
    return sum(number * price for number, price in amounts)


def shown(cents: int) -> str:
    """Return an amount as people write it."""
    return f"{cents // 100}.{cents % 100:02}"
