"""The settings of one run that all processes share, as text for their command lines."""

from __future__ import annotations

import json
import os
from typing import NamedTuple

PROJECT = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)  # the current directory of all processes

STEERING = ("PYTHON", "PYCACHEHOOK_")  # prefixes of environment variables that configure Python or this project


class Settings(NamedTuple):
    """One run, with its own `directory`; `lock_timeout` in seconds; `subject` is a key of `subjects.SUBJECTS`.

    `mounted` says that `disk` is a separate file system, `other_user` that workers may become another user.
    """

    directory: str
    seed: int
    subject: str = "hook"
    lock_timeout: float = 1.0
    mounted: bool = False
    other_user: bool = False

    @property
    def tree(self) -> str:
        """The directory of the sources, which is on `sys.path`."""
        return f"{self.directory}/tree"

    @property
    def staging(self) -> str:
        """The directory in which an editor writes files that it renames into the tree, on the same file system."""
        return f"{self.directory}/staging"

    @property
    def disk(self) -> str:
        """The directory, perhaps a disk, that may be filled up; it contains the cache."""
        return f"{self.directory}/disk"

    @property
    def cache(self) -> str:
        """The cache directory."""
        return f"{self.disk}/cache"

    @property
    def archive(self) -> str:
        """The archive in front of the cache, if the subject has one."""
        return f"{self.directory}/archives/tree.pyca"

    @property
    def windows(self) -> str:
        """A file with one JSON line for each period in which a part of the cache could not be written to."""
        return f"{self.directory}/windows.jsonl"

    def board(self, name: str) -> str:
        """Return the file of the counters called `name`."""
        return f"{self.directory}/{name}.board"

    def as_text(self) -> str:
        """Return the text for `from_text`."""
        return json.dumps(self)

    @classmethod
    def from_text(cls, text: str) -> Settings:
        """Return the settings that `as_text` wrote."""
        return cls(*json.loads(text))


def clean_environment() -> dict[str, str]:
    """Return this process's environment without variables that configure Python or this project."""
    return {name: value for name, value in os.environ.items() if not name.startswith(STEERING)}
