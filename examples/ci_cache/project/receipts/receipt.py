"""A receipt, line by line."""

from receipts.amounts import show
from receipts.goods import PRICES


def lines(bought: dict[str, int]) -> list[str]:
    """Return the lines of a receipt for so many of each."""
    found = [f"{count} x {name}: {show(count * PRICES[name])}" for name, count in bought.items()]
    return [*found, f"total: {show(sum(count * PRICES[name] for name, count in bought.items()))}"]
