"""Calls with a deadline, whatever the library or server does: each runs in a thread that is abandoned if it is late."""

import threading
import time

from .errors import BundleError, DeadlineError, TransferError, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    import queue
    from collections.abc import Callable, Iterator
    from typing import Any, TypeVar

    T = TypeVar("T")

_AHEAD = 4  # parts that a transfer may be ahead of its consumer
_STEP = 0.1  # seconds between checks whether there still is a consumer


class Deadline:
    """A point in time, `seconds` from now, on the monotonic clock."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def left(self) -> float:
        """Return the remaining seconds; raises `DeadlineError` if there are none."""
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise DeadlineError(f"It took longer than {self.seconds:g} seconds (--timeout).")
        return remaining

    def call(self, function: "Callable[[], T]") -> "T":
        """Return the result of `function`; raises `DeadlineError` if it takes too long, `BundleError` if it fails."""
        results: list[T] = []
        failures: list[BundleError] = []

        def run() -> None:
            try:
                results.append(function())
            except BaseException as error:  # noqa: BLE001 -- see `_failure`
                failures.append(_failure(error))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(self.left())  # `left` raises
        if failures:
            raise failures[0]
        return results[0]

    def iterate(self, function: "Callable[[], Iterator[T]]") -> "Iterator[T]":
        """Yield the items of the iterator returned by `function`, with the same errors."""
        import queue  # not needed by `call`

        parts: queue.Queue[tuple[bool, Any]] = queue.Queue(_AHEAD)
        abandoned = threading.Event()
        threading.Thread(target=_produce, args=(function, parts, abandoned), daemon=True).start()
        try:
            while True:
                try:
                    more, value = parts.get(timeout=self.left())
                except queue.Empty:
                    continue  # `left` raises
                if not more:
                    if value is not None:
                        raise value
                    return
                yield value
        finally:
            abandoned.set()


def _produce(
    function: "Callable[[], Iterator[Any]]", parts: "queue.Queue[tuple[bool, Any]]", abandoned: threading.Event
) -> None:
    failure: BundleError | None = None
    try:
        for part in function():
            if not _put(parts, (True, part), abandoned):
                return
    except BaseException as error:  # noqa: BLE001 -- see `_failure`
        failure = _failure(error)
    _put(parts, (False, failure), abandoned)


def _failure(error: BaseException) -> BundleError:
    """Return an error as `BundleError`; a library may raise anything, including a panic of Rust."""
    if isinstance(error, BundleError):
        return error
    return TransferError(f"The transfer failed: {type(error).__name__}: {printable(str(error))}.")


def _put(parts: "queue.Queue[tuple[bool, Any]]", item: "tuple[bool, Any]", abandoned: threading.Event) -> bool:
    import queue

    while not abandoned.is_set():
        try:
            parts.put(item, timeout=_STEP)
        except queue.Full:
            continue
        return True
    return False
