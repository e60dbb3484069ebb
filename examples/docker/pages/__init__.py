"""Pages from texts."""
