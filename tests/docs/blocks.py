"""Blocks of code in the documentation, and the comments above them that say how they are run.

<!-- run -->                 a script of commands; `<!-- run: NAME -->` begins another directory and environment <!--
file: PATH -->          the block is that file's content, for all scripts of the page <!-- dockerfile: USER -->    the
instructions are run one by one, the last one as that user <!-- workflow -->            the workflow's `run` steps are
the commands <!-- not run: REASON -->     the block is not run
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PAGES = PROJECT / "docs" / "pages"

COMMANDS = ("sh", "console", "dockerfile", "powershell", "bash", "shell")  # languages whose blocks must have a comment

_BLOCK = re.compile(
    r"(?:^<!-- (?P<kind>run|file|dockerfile|workflow|not run)(?:: (?P<argument>[^\n]*?))? -->\n)?"
    r"^```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


@dataclass(frozen=True)
class Block:
    """A block of code: its location, its language, the comment above it, and its text."""

    line: int
    language: str
    kind: str
    argument: str
    text: str


def pages() -> list[Path]:
    """Return all texts that have blocks for a reader to run."""
    return [*sorted(PAGES.rglob("*.md")), PROJECT / ".github" / "CONTRIBUTING.md"]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the blocks of a page in their order."""
    text = page.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(line, match["language"], match["kind"] or "", match["argument"] or "", match["text"])


def sessions(page: Path) -> dict[str, list[Block]]:
    """Return the blocks of each session of a page, by its name; files come first if they come first in the page.

    A file belongs to every session.
    """
    found = list(blocks(page))
    names = dict.fromkeys(_session(block) for block in found if block.kind in {"run", "dockerfile", "workflow"})
    return {
        name: [block for block in found if block.kind == "file" or (_runs(block) and _session(block) == name)]
        for name in names
    }


def script(block: Block) -> str:
    """Return the shell script that a block of commands stands for."""
    if block.kind == "workflow":
        return "\n".join(re.findall(r"^ *- run: (.*)$", block.text, re.MULTILINE))
    return block.text


def dockerfile_script(block: Block) -> str:
    """Return a shell script that runs a Dockerfile's instructions in the current file system."""
    lines = []
    user = ""
    for line in block.text.replace("\\\n", " ").splitlines():
        word, _, rest = line.partition(" ")
        if word == "RUN":
            lines.append(rest)
        elif word == "ENV":
            lines.append(f"export {rest}")
        elif word == "COPY":
            source, target = rest.split()
            lines.append(f"mkdir -p $(dirname {target}) && cp -rT {source} {target}")
        elif word == "USER":
            uid, _, gid = rest.partition(":")
            user = f"setpriv --reuid={uid} --regid={gid} --clear-groups "
        elif word == "CMD":
            words = re.findall(r'"([^"]*)"', rest)
            lines.append(user + " ".join(words))
        elif word != "FROM":
            raise ValueError(f"line {block.line}: {line}")
    return "\n".join(lines)


def _runs(block: Block) -> bool:
    return block.kind in {"run", "dockerfile", "workflow"}


def _session(block: Block) -> str:
    return block.argument if block.kind == "run" and block.argument else block.kind


def shell(commands: str, folder: Path, environment: dict[str, str], *prefix: str) -> str:
    """Run commands as a reader's shell would, but stop at the first that fails; return what they print."""
    done = subprocess.run(
        [*prefix, "sh", "-e", "-c", commands],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}"
    return done.stdout
