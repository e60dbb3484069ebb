"""What is under test: the hook, the stock loader, or one of the saboteurs that show that the checks can fail."""

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
    """Return the options of the hook that the subject of a run is about."""
    if settings.subject == SHARED:
        return {"layout": "shared"}
    return {"archives": [settings.archive]} if settings.subject == ARCHIVE else {}


class Subject:
    """A way to import; `install` is called at the start, and now and then again."""

    harassed = True  # whether to make writing fail for it

    def __init__(self, settings: Settings, drawn: random.Random) -> None:
        self.settings = settings
        self.drawn = drawn

    def install(self) -> None:
        """Put it in force."""

    def counters(self) -> Counters:
        """Return what it counted itself, under names of `board.WORKER_FIELDS`."""
        return {}


class Hooked(Subject):
    """Through pycachehook, in one of several variants."""

    def __init__(self, settings: Settings, drawn: random.Random) -> None:
        super().__init__(settings, drawn)
        self._hooks: list[Any] = []  # each has counters of its own

    def install(self) -> None:
        """Install the hook as this process's variant has it; if it is installed, take it out before, or do not."""
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
        """Return the sums of the counters of all hooks that were in force here."""
        sums: Counters = {}
        for stats in (hook.stats for hook in self._hooks):
            own = {"hits": stats.hits, "compiled": stats.compiled, "stored": stats.stored, "errors": stats.errors}
            for name, value in (*own.items(), *stats.misses.items()):
                sums[name] = sums.get(name, 0) + value
        return sums


class Plain(Hooked):
    """Through pycachehook with all its defaults."""

    def install(self) -> None:
        """Install the hook."""
        self.put_in_force()


class Stock(Subject):
    """Through the stock loader, with its cache in the same place: validated by mtime and size."""

    harassed = False  # it would leave truncated pycs behind (CPython gh-126606), and hardly an import would get through

    def install(self) -> None:
        """Set `sys.pycache_prefix`."""
        sys.pycache_prefix = self.settings.cache


class _Saboteur(Plain):
    """The hook, and a finder in front of it that now and then does harm: a finder and its own `find_spec`."""

    one_in = 100

    def install(self) -> None:
        """Put the finder in front of all others."""
        super().install()
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(self, *_: object) -> None:
        """Do harm, or do nothing."""
        if self.drawn.randrange(self.one_in) == 0:
            self.harm()

    def harm(self) -> None:
        """Do what must be noticed."""
        raise NotImplementedError


class Raising(_Saboteur):
    """Imports that fail."""

    def harm(self) -> None:
        """Raise what no import should raise here."""
        raise OSError("sabotage")


class Stuck(_Saboteur):
    """Imports that do not end."""

    def harm(self) -> None:
        """Wait for longer than any run lasts."""
        time.sleep(10**6)


class Crashing(_Saboteur):
    """Imports that end the process."""

    def harm(self) -> None:
        """Exit without a word."""
        os._exit(3)


class Littering(_Saboteur):
    """Temporary files of processes that were not killed."""

    def harm(self) -> None:
        """Leave one where faults do not remove it."""
        with contextlib.suppress(OSError):  # the faults may have taken the directory
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
