"""Amounts are read as they are shown."""

import unittest

from receipts.amounts import parse, show


class TestAmounts(unittest.TestCase):
    """Reading and showing."""

    def test_there_and_back(self) -> None:
        """What is shown is what was read."""
        for text in ("0.05", "2.40", "12.00"):
            assert show(parse(text)) == text
