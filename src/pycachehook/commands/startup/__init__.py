"""The start-up module in its parts. `enable` writes them into one file, see `activation`."""
