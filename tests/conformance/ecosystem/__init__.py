"""Test suites of other packages, from their source distributions: the same outcomes with the hook and without it."""
