"""Names are tidied."""

import pytest
from ledger.names import tidy


@pytest.mark.parametrize("typed", ["ada lovelace", " Ada  Lovelace", "ADA LOVELACE"])
def test_tidy(typed: str) -> None:
    """However a name is typed, it is the same."""
    assert tidy(typed) == "Ada Lovelace"
