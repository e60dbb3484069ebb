"""Modules generated from the description of the interface."""
