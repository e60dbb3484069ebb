"""Hooks of the documentation's build: pages that are generated from the code, and drawings.

- `reference/commands.md` is generated from the command line's parser.
- `tutorial/what-is-a-pycache.md` is `examples/what_is_a_pycache/README.md`.
- `assets/fleet.svg` is what `tests/benchmarks/fleet.py` draws.
- `contributing.md` is `.github/CONTRIBUTING.md`.
- `<!-- drawing: NAME -->` in a page is replaced by the SVG from `drawings.py`.
- `<!-- copy: PATH -->` in a page is replaced by a file of the repository, as a code block.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
sys.path[:0] = [str(HERE), str(PROJECT / "src"), str(PROJECT)]

from command_reference import command_reference  # noqa: E402
from drawings import DRAWINGS  # noqa: E402
from import_graph import import_graph  # noqa: E402
from tests.benchmarks import fleet  # noqa: E402

DRAWINGS["import_graph"] = import_graph

COPIES = {
    "tutorial/what-is-a-pycache.md": PROJECT / "examples" / "what_is_a_pycache" / "README.md",
    "contributing.md": PROJECT / ".github" / "CONTRIBUTING.md",
}

CHART = PROJECT / "tests" / "benchmarks" / "ratios.svg"


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that have no file in `pages`."""
    files.append(File.generated(config, "reference/commands.md", content=command_reference()))
    for name, source in COPIES.items():
        files.append(File.generated(config, name, content=source.read_text(encoding="utf-8")))
    files.append(File.generated(config, "assets/ratios.svg", abs_src_path=str(CHART)))
    files.append(File.generated(config, "assets/fleet.svg", content=fleet.chart(fleet.Figures())))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace the comments by drawings and copies of files."""
    markdown = re.sub(r"<!-- drawing: (\w+) -->", lambda match: DRAWINGS[match[1]](), markdown)
    return re.sub(r"<!-- copy: (\S+) (\w+) -->", _copy, markdown)


def _copy(match: re.Match[str]) -> str:
    text = (PROJECT / match[1]).read_text(encoding="utf-8").rstrip("\n")
    return f"```{match[2]}\n{text}\n```"
