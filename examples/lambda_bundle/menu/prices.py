"""Prices."""

from decimal import Decimal

TAX = Decimal("1.19")


def with_tax(price: str) -> str:
    """Return a price with tax, to the cent."""
    return str((Decimal(price) * TAX).quantize(Decimal("0.01")))
