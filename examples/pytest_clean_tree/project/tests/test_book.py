"""Debts add up."""

from ledger.book import Book

FIRST, MORE = 1200, 50


def test_sum(book: Book) -> None:
    """What is lent later is added."""
    book.lend("ada  lovelace", MORE)
    assert book.owed("Ada Lovelace") == FIRST + MORE


def test_nobody(book: Book) -> None:
    """Who has borrowed nothing owes nothing."""
    assert book.owed("Grace Hopper") == 0
