"""Conformance tests: the standard loader and this package's loader give the same results in every case."""

import pytest

pytest.register_assert_rewrite("conformance.harness")
