"""Options: their values, the origin of each, and rules."""
