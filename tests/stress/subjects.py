"""The subjects of a test: the hook, the standard loader, or a saboteur, which shows that the checks can fail."""

from __future__ import annotations

import contextlib
import os
import random
import sys
import time
from collections.abc import Callable
from typing import Any

from .settings import Settings

Counters = dict[str, int]


SHARED, ARCHIVE = "shared", "archive"


def options_of(settings: Settings) -> dict[str, Any]:
    """Return the options of the hook for the subject of a run."""
    if settings.subject == SHARED:
        return {"layout": "shared"}
    return {"archives": [settings.archive]} if settings.subject == ARCHIVE else {}


class Subject:
    """A way to import; `install` is called at the start, and repeatedly during the run."""

    harassed = True  # whether writes are made to fail

    def __init__(self, settings: Settings, drawn: random.Random) -> None:
        self.settings = settings
        self.drawn = drawn

    def install(self) -> None:
        """Install the subject in this process."""

    def counters(self) -> Counters:
        """Return its own counters, under names of `board.WORKER_FIELDS`."""
        return {}


class Hooked(Subject):
    """pycachehook, in one of several variants."""

    def __init__(self, settings: Settings, drawn: random.Random) -> None:
        super().__init__(settings, drawn)
        self._hooks: list[Any] = []  # each has its own counters

    def install(self) -> None:
        """Install the hook of this process's variant, sometimes after uninstalling it."""
        if self._hooks and self.drawn.random() < 0.5:
            self._hooks[-1].uninstall()
        read_only = self.drawn.random() < 0.15
        self.put_in_force(read_only=read_only, in_tree="ignore" if self.drawn.random() < 0.2 else "read")

    def put_in_force(self, **options: Any) -> None:
        """Install the hook with these options."""
        import pycachehook

        more = options_of(self.settings)
        hook = pycachehook.install(self.settings.cache, lock_timeout=self.settings.lock_timeout, **more, **options)
        if hook not in self._hooks:
            self._hooks.append(hook)

    def counters(self) -> Counters:
        """Return the sums of the counters of all hooks installed in this process."""
        sums: Counters = {}
        for stats in (hook.stats for hook in self._hooks):
            own = {"hits": stats.hits, "compiled": stats.compiled, "stored": stats.stored, "errors": stats.errors}
            for name, value in (*own.items(), *stats.misses.items()):
                sums[name] = sums.get(name, 0) + value
        return sums


class Plain(Hooked):
    """pycachehook with all options at their defaults."""

    def install(self) -> None:
        """Install the hook."""
        self.put_in_force()


class Stock(Subject):
    """The standard loader, with its cache in the same directory, validated by mtime and size."""

    harassed = False  # it would leave truncated pycs (CPython gh-126606), with which most imports would fail

    def install(self) -> None:
        """Set `sys.pycache_prefix`."""
        sys.pycache_prefix = self.settings.cache


class _Saboteur(Plain):
    """The hook, and a finder before it that sometimes does harm."""

    one_in = 100

    def install(self) -> None:
        """Install the finder before all others."""
        super().install()
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(self, *_: object) -> None:
        """Do harm, or do nothing."""
        if self.drawn.randrange(self.one_in) == 0:
            self.harm()

    def harm(self) -> None:
        """Do something that the checks must notice."""
        raise NotImplementedError


class Raising(_Saboteur):
    """Imports that fail."""

    def harm(self) -> None:
        """Raise an exception that no import should raise here."""
        raise OSError("sabotage")


class Stuck(_Saboteur):
    """Imports that do not end."""

    def harm(self) -> None:
        """Wait for longer than any run lasts."""
        time.sleep(10**6)


class Crashing(_Saboteur):
    """Imports that end the process."""

    def harm(self) -> None:
        """Exit without a message."""
        os._exit(3)


class Littering(_Saboteur):
    """Temporary files of processes that were not killed."""

    def harm(self) -> None:
        """Leave a temporary file where faults do not remove it."""
        with contextlib.suppress(OSError):  # a fault may have removed the directory
            os.makedirs(self.settings.cache, exist_ok=True)
            with open(f"{self.settings.cache}/.pycachehook-{os.getpid()}-{time.time_ns():x}.tmp", "wb"):
                pass


SUBJECTS: dict[str, Callable[[Settings, random.Random], Subject]] = {
    "hook": Hooked,
    SHARED: Hooked,
    ARCHIVE: Hooked,
    "plain": Plain,
    "stock": Stock,
    "raising": Raising,
    "stuck": Stuck,
    "crashing": Crashing,
    "littering": Littering,
}
