"""The outcomes of lookups, and the counters."""

from __future__ import annotations

from pycachehook import events
from pycachehook.events import Miss, Stats
from pycachehook.stats_log import event_line


def test_reasons() -> None:
    """The reasons of misses and the names of places are the documented ones, without duplicates."""
    assert events.REASONS == (
        "absent", "stale-source", "other-mode", "wrong-magic", "corrupt", "untrusted", "io-error", "lock-timeout",
    )  # fmt: skip
    assert events.PLACES == ("archive", "store", "in_tree")


def test_miss() -> None:
    """A miss has a reason, and a detail or none."""
    assert (Miss("corrupt", "seal").reason, Miss("corrupt", "seal").detail) == ("corrupt", "seal")
    assert Miss("absent").detail == ""


def test_counters() -> None:
    """Each event increments the right counter, and the counters have the documented names."""
    stats = Stats()
    stats.hit("store", "a", "/a.py")
    stats.hit("store", "b", "/b.py")
    stats.hit("in_tree", "c", "/c.py")
    stats.miss("absent", "d", "/d.py", stored=True)
    stats.miss("absent", "e", "/e.py", stored=False)
    stats.miss("corrupt", "f", "/f.py", stored=True)
    stats.fault("The disk is full.")
    assert stats.as_dict() == {
        "hits": 3,
        "hits_by_place": {"archive": 0, "store": 2, "in_tree": 1},
        "compiled": 3,
        "stored": 2,
        "misses": {"absent": 2, "corrupt": 1},
        "errors": 1,
    }


def test_counters_are_handed_out_as_copies() -> None:
    """A change of the result of `as_dict` does not change the counters."""
    stats = Stats()
    record = stats.as_dict()
    for counters in (record["hits_by_place"], record["misses"]):
        assert isinstance(counters, dict)
        counters["store"] = 99
    assert (stats.hits, stats.misses) == (0, {})


def test_reset() -> None:
    """A reset sets every counter to zero and keeps the listener."""
    stats, lines = Stats(), list[str]()
    stats.log = lambda event: lines.append(event_line(event))
    stats.hit("store", "a", "/a.py")
    stats.miss("absent", "b", "/b.py", stored=True)
    stats.fault("The disk is full.")
    stats.reset()
    assert stats.as_dict() == Stats().as_dict()
    stats.hit("store", "a", "/a.py")
    assert [*filter(None, lines)] == [lines[0], lines[1], lines[4], lines[0]]


def test_log_lines() -> None:
    """The log has one line for each lookup and fault, with the module, the outcome and the path."""
    stats, lines = Stats(), list[str]()
    stats.log = lambda event: lines.append(event_line(event))
    stats.hit("in_tree", "a", "/a.py")
    stats.miss("stale-source", "b", "/b.py", stored=True)
    stats.miss("io-error", "c", "/c.py", stored=False)
    stats.fault("The disk is full.")
    assert [*filter(None, lines)] == [
        "a: hit (in_tree) /a.py",
        "b: miss (stale-source) /b.py, compiled and stored",
        "c: miss (io-error) /c.py, compiled",
        "fault: The disk is full.",
    ]
