"""The benchmarks, run by `python -m tests.benchmarks` from the project's root."""
