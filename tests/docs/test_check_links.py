"""Links of the texts: `docs/check_links.py` reports those that lead nowhere, and only those."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Make a built site of one page and one picture that the build has generated."""
    for name in ("reference/commands/index.html", "assets/fleet.svg"):
        (tmp_path / "site" / name).parent.mkdir(parents=True)
        (tmp_path / "site" / name).write_text("<html></html>")
    return tmp_path / "site"


@pytest.mark.parametrize(
    ("link", "broken"),
    [
        ("docs/pages/reference/commands.md", False),
        ("docs/pages/assets/fleet.svg", False),
        ("docs/pages/how-to/fleet.md", False),
        ("https://example.org/elsewhere.md", False),
        ("docs/pages/reference/command.md", True),
        ("docs/pages/assets/none.svg", True),
        ("reference/commands.md", True),
        ("assets/fleet.svg", True),
    ],
)
def test_links_of_a_text(site: Path, link: str, broken: bool) -> None:
    """A link leads to a file of the repository, or to what the build generates below `docs/pages`."""
    text = PROJECT / f"links-of-a-test-{os.getpid()}.md"
    text.write_text(f"[a link]({link})\n")
    try:
        checked = subprocess.run(
            [sys.executable, str(PROJECT / "docs" / "check_links.py"), str(site), str(text)],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        text.unlink()
    assert checked.returncode == broken
    assert (f"{link} leads nowhere" in checked.stderr) == broken
