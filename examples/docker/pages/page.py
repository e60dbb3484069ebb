"""A page of HTML."""

from string import Template

from markdown_it import MarkdownIt

PAGE = Template('<!doctype html>\n<meta charset="utf-8">\n<title>$title</title>\n$body')


def page(text: str) -> str:
    """Return the Markdown text `text` as a page, with its first heading as the title."""
    title = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("# ")), "Untitled")
    return PAGE.substitute(title=title, body=MarkdownIt("commonmark").enable("table").render(text))
