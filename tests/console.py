"""Console sessions in a text: ```` ```console ```` blocks of commands and their output.

`python -m tests.console FILE` runs them and writes the output into the file; the tests run them and compare.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

BLOCK = re.compile(r"(?<=^```console\n).*?(?=^```$)", re.DOTALL | re.MULTILINE)

# Parts of outputs that vary, with the text by which they are replaced before a comparison.
VARIABLE = (
    (r"cpython-3\d+", "cpython-TAG"),
    (r"^(python|magic) +\S+$", r"\1 VERSION"),
    (r"\b[0-9a-f]{16}\b", "HASH"),
    (r"\b\d+ bytes of code", "N bytes of code"),
    (r"constants: None, ", "constants: "),  # the implicit return, which newer versions no longer count
    (r"^ +constants: None\n", ""),
    (r"^bytes +\d+$", "bytes N"),
    (r"\d{4}-\d\d-\d\dT[\d:+]+", "DATE"),
    (r"\d+ (days|hours|minutes|seconds) ago", "AGO"),
    (r"/\S*(/project|/single|/ours)\b", r"PLACE\1"),
    (r"-pytest-[\d.]+\.pyc", "-pytest-VERSION.pyc"),
    (r"passed in [\d.]+s", "passed in SECONDS"),
)


class Console:
    """A shell in a new directory, with a given Python first on its path."""

    def __init__(self, folder: Path, executable: str) -> None:
        commands = folder / "bin"
        commands.mkdir()
        (commands / "python").write_text(f'#!/bin/sh\nexec "{executable}" "$@"\n', encoding="utf-8")
        (commands / "python").chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PYCACHEHOOK"))}
        path = f"{commands}{os.pathsep}{kept['PATH']}"
        self._environment = {**kept, "PATH": path, "HOME": str(folder), "TZ": "UTC", "LC_ALL": "C.UTF-8"}
        self._folder = folder / "work"
        self._folder.mkdir()

    def run(self, command: str) -> str:
        """Return the output of a command, including errors; `cd` stays in effect."""
        done = subprocess.run(
            ["sh", "-c", f'{command}\nstatus=$?; pwd > "$HOME/where"; exit $status'],
            cwd=self._folder,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self._folder = Path((Path(self._environment["HOME"]) / "where").read_text(encoding="utf-8").rstrip("\n"))
        return done.stdout


def commands(block: str) -> Iterator[tuple[str, str]]:
    """Yield each command of a block with its expected output."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield command, output


def normalized(output: str) -> str:
    """Return an output in which everything that varies has been replaced."""
    for pattern, replacement in VARIABLE:
        output = re.sub(pattern, replacement, output, flags=re.MULTILINE)
    return output


def update(path: Path) -> None:
    """Run all commands of a text and write their output into it."""
    with tempfile.TemporaryDirectory() as folder:
        console = Console(Path(folder).resolve(), sys.executable)

        def played(match: re.Match[str]) -> str:
            return "".join(f"$ {command}\n{console.run(command)}" for command, _ in commands(match[0]))

        text = BLOCK.sub(played, path.read_text(encoding="utf-8")).replace(str(Path(folder).resolve()), "/home/you")
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    update(Path(sys.argv[1]))
