"""CPython's own regression suite, run with the hook on and compared test by test with CPython alone.

`python -m tests.conformance.cpython` runs it; what may differ stands in `tests/conformance/deviations.toml`.
"""
