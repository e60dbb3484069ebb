"""Outlines of texts."""
