"""The benchmarks; `python -m tests.benchmarks` from the project's root runs them."""
