"""Property tests. `python -m tests.property --seconds 3600` repeats them with other examples for an hour."""
