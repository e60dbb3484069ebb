"""What is sold, and for how much."""

from decimal import Decimal

GOODS = {"tea": Decimal("2.40"), "cake": Decimal("3.10")}
