"""Print the table of contents of a Markdown file: `python contents.py README.md`."""

import pycachehook

pycachehook.install()  # comes first, because earlier imports are not cached

from outline.command import main  # noqa: E402

main()
