"""Check the links between the pages of the built site, and those between the texts of the repository.

    python docs/check_links.py SITE [TEXT_OR_FOLDER ...]

Prints each broken link, and exits with 1 if there is one. Links to other hosts are not checked.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

PAGES = Path(__file__).resolve().parent / "pages"


class Page(HTMLParser):
    """The links, loaded resources and anchors of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect a tag's links and anchors."""
        given = dict(attrs)
        self.anchors |= {value for name, value in attrs if name in {"id", "name"} and value}
        if tag == "a" and given.get("href"):
            self.links.append(given["href"] or "")
        if tag in {"img", "script"} and given.get("src"):
            self.loaded.append(given["src"] or "")
        if tag == "link" and given.get("rel") in {"stylesheet", "icon"} and given.get("href"):
            self.loaded.append(given["href"] or "")


def parsed(path: Path) -> Page:
    """Return a page's links."""
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    return page


def broken_in_site(site: Path) -> Iterator[str]:
    """Yield the broken links of the site, and resources that it would load from another host."""
    pages = {path: parsed(path) for path in sorted(site.rglob("*.html")) if path.name != "404.html"}
    for path, page in pages.items():
        for link in page.loaded:
            if urlsplit(link).netloc:
                yield f"{path}: loads {link} from another host"
        for link in (*page.links, *page.loaded):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = path if not parts.path else (path.parent / unquote(parts.path)).resolve()
            if target.is_dir():
                target /= "index.html"
            if not target.exists():
                yield f"{path}: {link} leads nowhere"
            elif parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors:
                yield f"{path}: {link} has no such anchor"


def in_site(target: Path, site: Path) -> Path:
    """Return where the built site has a page or picture of `docs/pages`, which the build may have generated."""
    built = site / target.relative_to(PAGES)
    return built.with_suffix("") / "index.html" if built.suffix == ".md" else built


def broken_in_text(text: Path, site: Path) -> Iterator[str]:
    """Yield the links of a Markdown text to files that exist neither in the repository nor in the built site."""
    body = re.sub(r"^```.*?^```$", "", text.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", body)):
        parts = urlsplit(link)
        if parts.scheme or not parts.path:
            continue
        target = (text.parent / parts.path).resolve()
        if not target.exists() and not (target.is_relative_to(PAGES) and in_site(target, site).exists()):
            yield f"{text}: {link} leads nowhere"


def main(arguments: list[str]) -> int:
    """Print the broken links; return the exit code."""
    site = Path(arguments[0]).resolve()
    texts = [
        text for name in arguments[1:] for text in ([Path(name)] if Path(name).is_file() else Path(name).rglob("*.md"))
    ]
    broken = [*broken_in_site(site), *(line for text in texts for line in broken_in_text(text, site))]
    for line in broken:
        print(line, file=sys.stderr)
    print(f"{len(list(site.rglob('*.html')))} pages and {len(texts)} texts, {len(broken)} broken links")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
