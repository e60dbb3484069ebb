"""What is sold, and for how much."""

from receipts.amounts import parse

PRICES = {"tea": parse("2.40"), "cake": parse("3.10"), "soup": parse("5.90")}
