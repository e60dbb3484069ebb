"""Read Markdown from standard input, and write a page of HTML."""

import sys

from .page import page

sys.stdout.write(page(sys.stdin.read()))
