"""Options and rules: their values, and the origin of each value."""
