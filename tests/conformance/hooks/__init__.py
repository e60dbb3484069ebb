"""Conformance with what others hook into imports, one tool each: what the tool is for still happens, and so does ours."""
