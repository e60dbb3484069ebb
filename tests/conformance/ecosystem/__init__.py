"""Test suites of other packages, from their source distributions: same outcomes with and without the hook."""
