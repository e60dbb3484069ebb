"""The function: a menu as HTML."""

import os

import pycachehook

# Comes first, because earlier imports are not read from the cache. PYCACHEHOOK_CACHE_DIR and PYCACHEHOOK_READ_ONLY=1 in
# the function's environment would have the same effect.
pycachehook.install(os.path.join(os.path.dirname(__file__), "pycache"), read_only=True)

from menu.page import page  # noqa: E402


def handler(event: dict[str, dict[str, str]], _context: object) -> dict[str, object]:
    """Answer one event."""
    return {"statusCode": 200, "body": page(event["dishes"])}
