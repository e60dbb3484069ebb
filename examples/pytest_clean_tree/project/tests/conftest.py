"""What the tests share."""

import pytest
from ledger.book import Book


@pytest.fixture
def book() -> Book:
    """Return a book with one debt."""
    found = Book()
    found.lend("Ada Lovelace", 1200)
    return found
