"""Receipts add up."""

import unittest

from receipts.amounts import show
from receipts.goods import PRICES
from receipts.receipt import lines


class TestReceipt(unittest.TestCase):
    """Lines and the total."""

    def test_total(self) -> None:
        """The last line is the sum of the others."""
        total = PRICES["tea"] * 2 + PRICES["cake"]
        assert lines({"tea": 2, "cake": 1})[-1] == f"total: {show(total)}"
