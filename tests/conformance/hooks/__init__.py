"""Conformance with other tools that hook into imports, one at a time: both the tool and the cache keep working."""
