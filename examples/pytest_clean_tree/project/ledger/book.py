"""A book of debts."""

from collections import Counter

from ledger.names import tidy


class Book:
    """Debts by name, in cents."""

    def __init__(self) -> None:
        self._owed: Counter[str] = Counter()

    def lend(self, name: str, cents: int) -> None:
        """Write down that somebody owes us more."""
        self._owed[tidy(name)] += cents

    def owed(self, name: str) -> int:
        """Return what somebody owes us."""
        return self._owed[tidy(name)]
