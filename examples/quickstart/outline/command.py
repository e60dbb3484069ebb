"""The command line."""

import argparse
from pathlib import Path

from .headings import headings
from .layout import indented


def main() -> None:
    """Print the outline of the given file."""
    parser = argparse.ArgumentParser(description="Print the table of contents of a Markdown file.")
    parser.add_argument("file", type=Path)
    text = parser.parse_args().file.read_text(encoding="utf-8")
    print("\n".join(indented(headings(text))))
