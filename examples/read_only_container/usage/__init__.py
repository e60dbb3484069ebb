"""How much space directories take."""
