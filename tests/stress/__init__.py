"""The stress program: many processes import through one cache while sources change, entries break and processes die.

`python -m tests.stress --seconds 600 --seed 1` from the project's root. Every import's result is compared with the
versions that the source file had while the import ran. `--help` lists the options, `faulter.KINDS` the faults.
"""
