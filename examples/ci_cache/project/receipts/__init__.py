"""Receipts for a till."""
