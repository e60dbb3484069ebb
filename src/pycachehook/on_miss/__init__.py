"""What a cache miss leads to: the source is compiled by one process only, and the entry is written."""
