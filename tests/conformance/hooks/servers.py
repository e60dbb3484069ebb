"""A server process that a test starts, queries, and ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Self

PATIENCE = 60  # seconds until a missing answer is a failure


class Server:
    """A server process with its children, on a local port; `{port}` in the command stands for the port."""

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._log = folder.parent / "server.log"
        with self._log.open("w", encoding="utf-8") as log:
            self._process = subprocess.Popen(
                [word.replace("{port}", str(self.port)) for word in command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def answers(self, expected: str, cause: Callable[[], None] = lambda: None) -> bool:
        """Return whether the server gives this answer within the time limit; other answers are ignored until then.

        `cause` is called now, and every two seconds, because a reloader does not detect changes before its first scan.
        """
        deadline = time.monotonic() + PATIENCE
        again = 0.0
        while time.monotonic() < deadline and self._process.poll() is None:
            if time.monotonic() > again:
                cause()
                again = time.monotonic() + 2
            if self._ask() == expected:
                return True
            time.sleep(0.1)
        return False

    def _ask(self) -> str | None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=PATIENCE) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.URLError):
            return None

    @property
    def log(self) -> str:
        """The end of the server's output, shown when a test fails."""
        return self._log.read_text(encoding="utf-8")[-2000:]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        """End all processes as Ctrl-C in a terminal does, so that their exit handlers run."""
        for number in (signal.SIGINT, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, number)
                self._process.wait(20)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue
