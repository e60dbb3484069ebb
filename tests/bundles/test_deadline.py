"""Calls and transfers with a deadline."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from pycachehook.bundles.deadline import Deadline
from pycachehook.bundles.errors import BundleError, DeadlineError, NotFoundAtSourceError, TransferError


def test_a_result() -> None:
    """A call returns what the function returns."""
    assert Deadline(60).call(lambda: [1, 2]) == [1, 2]


def test_errors() -> None:
    """An error of a bundle is raised as it is, any other one as a failed transfer, in one line."""

    def missing() -> None:
        raise NotFoundAtSourceError("It is not there.")

    def panic(*_arguments: object) -> None:
        raise BaseException("a panic\nof a library")  # noqa: TRY002 -- as of Rust

    with pytest.raises(NotFoundAtSourceError):
        Deadline(60).call(missing)
    with pytest.raises(TransferError, match=r"^The transfer failed: BaseException: a panic of a library\.$"):
        Deadline(60).call(panic)
    with pytest.raises(TransferError, match="a panic of a library"):
        list(Deadline(60).iterate(lambda: map(panic, [1])))


def test_too_late() -> None:
    """A call and a transfer that never end are abandoned."""
    over = threading.Event()

    def parts() -> Iterator[int]:
        yield 1
        over.wait()

    with pytest.raises(DeadlineError, match=r"^It took longer than 0\.1 seconds \(--timeout\)\.$"):
        Deadline(0.1).call(over.wait)
    transfer = Deadline(0.1).iterate(parts)
    assert next(transfer) == 1
    with pytest.raises(DeadlineError):
        next(transfer)
    over.set()


def test_a_slow_consumer() -> None:
    """The producer waits for the consumer, and all parts arrive in order."""
    ahead = threading.Semaphore(0)

    def parts() -> Iterator[int]:
        for number in range(20):
            ahead.release()
            yield number

    transfer = Deadline(60).iterate(parts)
    got = [next(transfer)]
    for _ in range(5):  # more than fit between the two
        assert ahead.acquire(timeout=60)
    got += transfer
    assert got == list(range(20))


def test_an_abandoned_transfer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of a transfer ends soon after its consumer."""
    ended = threading.Event()

    def parts() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            ended.set()

    transfer = Deadline(60).iterate(parts)
    next(transfer)
    transfer.close()  # type: ignore[attr-defined]
    assert ended.wait(60)


def test_no_time_is_left() -> None:
    """Nothing begins after the deadline."""
    late = Deadline(0)
    with pytest.raises(BundleError, match="longer than 0 seconds"):
        late.left()
