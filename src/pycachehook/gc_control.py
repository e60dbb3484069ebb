"""The loader under `pause_gc`. Loaded where that is set: `gc` is not among the modules that every start has."""

import gc

from ._compat import SourceFileLoader, hidden_from_tracebacks
from .loader import CachingLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

NEVER = 100_000_007  # objects; no start-up makes so many. A prime: who multiplies a threshold is seen to have done so


class PausingLoader(CachingLoader):
    """A loader under which no cyclic garbage is collected while a module's body runs.

    What modules make, they keep: the collector would only walk it, again and again. It is paused by a threshold that
    nothing reaches, so that a body may turn the collector off and on, or set thresholds of its own, and these stay.
    What is there after the outermost body goes to the oldest generation at once, as it would have gone in time.
    """

    __slots__ = ()

    @hidden_from_tracebacks
    def exec_module(self, module: "ModuleType") -> None:
        """Run the module's code in `module`, as the stock loader does."""
        found = gc.get_threshold()
        if found[0] % NEVER == 0:  # it is off, or paused by an import around this one
            SourceFileLoader.exec_module(self, module)
            return
        gc.set_threshold(NEVER, *found[1:])
        try:
            SourceFileLoader.exec_module(self, module)
        finally:
            if gc.get_count()[0] > found[0] and gc.get_freeze_count() == 0:
                gc.freeze()
                gc.unfreeze()  # which puts everything into the oldest generation
            left = gc.get_threshold()
            if left[0] and left[0] % NEVER == 0:  # ours, or a multiple that the body made of it
                gc.set_threshold(found[0] * (left[0] // NEVER), *left[1:])
