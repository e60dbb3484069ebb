"""One program, run on a standard interpreter, with a cold cache and with a warm one."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from conftest import PROJECT, clean_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOOK = """
import sys
sys.path.insert(0, {tree!r})
sys.dont_write_bytecode = {stock!r}
if not {stock!r}:
    sys.path.insert(1, {source!r})
    import pycachehook
    hook = pycachehook.install({cache!r}, in_tree="ignore", **{options!r})
"""


class Sides:
    """Runs a program in the three ways."""

    def __init__(self, root: Path) -> None:
        self.tree = root / "tree"
        self.cache = root / "cache"
        self.executable = sys.executable
        self.tree.mkdir()
        for number in range(4):
            (self.tree / f"lazy{number}.py").write_text(f"value = {number}\n")

    def run(self, program: str, *flags: str, stock: bool = False, before: str = "", **options: object) -> str:
        """Return the last line that the program prints, or of standard error if it fails.

        `before` is a part of the program that runs before the hook is installed.
        """
        text = HOOK.format(
            tree=str(self.tree), stock=stock, source=str(PROJECT / "src"), cache=str(self.cache), options=options
        )
        process = subprocess.run(
            [self.executable, *flags, "-c", before + text + program],
            env=clean_environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            cwd=self.tree,
        )
        return (process.stdout or process.stderr).strip().splitlines()[-1]

    def all(self, program: str, *flags: str, before: str = "", **options: Any) -> dict[str, str]:
        """Return the output of the program for each of the three."""
        stock = self.run(program, *flags, stock=True, before=before)
        cold = self.run(program, *flags, before=before, **options)
        return {"stock": stock, "cold": cold, "warm": self.run(program, *flags, before=before, **options)}

    @contextmanager
    def locks_held(self, then: str = "") -> Iterator[subprocess.Popen[str]]:
        """Have another process hold every lock of the cache, and execute `then` in it."""
        program = f"""
import fcntl, os, signal, sys
folder = {str(self.cache / ".pycachehook" / "locks")!r}
os.makedirs(folder, exist_ok=True)
files = [open(f"{{folder}}/{{number:02x}}", "ab") for number in range(64)]
for file in files:
    fcntl.flock(file, fcntl.LOCK_EX)
print("held", flush=True)
{then}
sys.stdin.read()
"""
        command = [self.executable, "-c", program]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=clean_environment()) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            try:
                yield process
            finally:
                process.kill()
