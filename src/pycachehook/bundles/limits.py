"""Limits of what is read from a place that anybody may have written to, in bytes."""

BLOCK_SIZE = 1 << 20  # approximate size of one read
MANIFEST_LIMIT = 4 << 20  # OCI registries accept manifests of at least this size
SIGNATURE_LIMIT = 4096  # every signature and key is smaller
