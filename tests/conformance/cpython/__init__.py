"""CPython's own regression suite, run with the hook and compared test by test with CPython alone.

`python -m tests.conformance.cpython` runs it; `tests/conformance/deviations.toml` lists the permitted differences.
"""
