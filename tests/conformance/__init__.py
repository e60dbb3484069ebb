"""Conformance: the stock loader and ours give the same answers, case by case."""

import pytest

pytest.register_assert_rewrite("conformance.harness")
