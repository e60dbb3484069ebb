"""Test what the benchmarks compute; no test depends on the duration of anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from conftest import run_tests_module

from .__main__ import MEASUREMENTS, main
from .chart import rows
from .conditions import emptied, protected, restamped, swept
from .counts import ONCE, WARM, Claim, ClaimError, Counts, our_counts, stock_counts
from .measure import Sample, Variant, check, clean_environment, interleave, means, median_ms, ratios, sample, spread

PROJECT = Path(__file__).resolve().parents[2]
QUICK = set(MEASUREMENTS) - {"slow_disk", "million", "scale"}

SERIES = {
    "base": [Sample(1.0, 2.0), Sample(2.0, 2.0), Sample(10.0, 2.0)],
    "ours": [Sample(2.0, 1.0), Sample(2.0, 1.0), Sample(5.0, 4.0)],
}


def variant(folder: Path, code: str = "pass", **settings: object) -> Variant:
    """Return a variant that runs `code` in this interpreter, from `folder`."""
    return Variant("tiny", Path(sys.executable), code, folder, **settings)  # type: ignore[arg-type]


def test_ratios_are_taken_round_by_round() -> None:
    """A round's ratio is between the two samples of that round, by wall time or processor time."""
    assert ratios(SERIES, "ours", "base") == [2.0, 1.0, 0.5]
    assert ratios(SERIES, "ours", "base", "cpu") == [0.5, 0.5, 2.0]


def test_ratios_need_as_many_rounds_on_both_sides() -> None:
    """A sample without a counterpart is an error."""
    with pytest.raises(ValueError, match="zip"):
        ratios({**SERIES, "ours": SERIES["ours"][:2]}, "ours", "base")


def test_median_is_in_milliseconds() -> None:
    """The median of samples in seconds is given in milliseconds."""
    assert median_ms(SERIES, "base") == 2000.0
    assert median_ms(SERIES, "ours", "cpu") == 1000.0


def test_spread_shows_the_quartiles() -> None:
    """The quartiles are those of the values; a single value is its own quartile."""
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]) == "2.00-4.00"
    assert spread([1.5]) == "1.50-1.50"


def test_means_are_geometric_over_medians() -> None:
    """With ratios of 1/4 and 1 the mean is 1/2, not 0.625."""
    fast = {"base": [Sample(4.0, 4.0)] * 3, "ours": [Sample(1.0, 1.0), Sample(1.0, 1.0), Sample(9.0, 9.0)]}
    same = {"base": [Sample(1.0, 1.0)], "ours": [Sample(1.0, 1.0)]}
    base, ours = means({"fast": fast, "same": same}, ["base"])
    assert base == {"variant": "base", "wall/base": 1.0, "cpu/base": 1.0}
    assert ours == {"variant": "ours", "wall/base": 0.5, "cpu/base": 0.5}


def test_rounds_are_interleaved(tmp_path: Path) -> None:
    """Each round takes every variant once, the next in the opposite order; the first round is not counted."""
    order = tmp_path / "order"
    first, second = (
        Variant(name, Path(sys.executable), f"print({name!r}, file=open({str(order)!r}, 'a'))", tmp_path)
        for name in ("first", "second")
    )
    series = interleave([first, second], 2)
    assert order.read_text().split() == ["first", "second", "second", "first", "first", "second"]
    assert {name: len(samples) for name, samples in series.items()} == {"first": 2, "second": 2}


def test_processor_time_is_summed_over_processes(tmp_path: Path) -> None:
    """Three processes that compute for 0.1 s each have taken 0.3 s of processor time."""
    code = "import time\nwhile time.process_time() < 0.1: pass"
    assert sample(variant(tmp_path, code, processes=3)).cpu >= 0.3


def test_the_condition_holds_for_the_run_and_no_longer(tmp_path: Path) -> None:
    """A program runs inside its condition, which ends with it."""
    flag = tmp_path / "flag"

    @contextmanager
    def flagged() -> Iterator[None]:
        flag.touch()
        yield
        flag.unlink()

    sample(variant(tmp_path, "open('flag').close()", condition=flagged))
    assert not flag.exists()


def test_a_program_that_fails_is_no_sample(tmp_path: Path) -> None:
    """A failing program raises instead of giving a sample."""
    with pytest.raises(subprocess.CalledProcessError):
        sample(variant(tmp_path, "raise SystemExit(3)"))


def test_programs_are_steered_by_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Variables that configure Python or the hook are removed; the variant's own are set."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setenv("PYCACHEHOOK_DISABLE", "1")
    environment = clean_environment(PYTHONPYCACHEPREFIX="/x")
    assert "PYTHONDONTWRITEBYTECODE" not in environment
    assert "PYCACHEHOOK_DISABLE" not in environment
    assert environment["PYTHONPYCACHEPREFIX"] == "/x"
    assert environment["PATH"] == os.environ["PATH"]


def test_counts_by_what_the_interpreter_says(tmp_path: Path) -> None:
    """Modules without and with bytecode are counted from the output of `-v`."""
    (tmp_path / "leaf.py").write_text("")
    program = variant(tmp_path, "import leaf", environment={"PYTHONPYCACHEPREFIX": str(tmp_path / "cache")})
    cold, warm = check(program), check(program)
    assert cold.compiled == cold.stored == cold.distinct == warm.hits
    assert (cold.hits, warm.compiled, warm.stored) == (0, 0, 0)


def test_counts_are_summed_over_processes() -> None:
    """Two processes that compiled the same file count as two compilations of one file."""
    line = json.dumps({"hits": 3, "compiled": 1, "stored": 1})
    log = "pycachehook[7]: m: hit (store) /m.py\npycachehook[7]: a b: miss (absent) /a, b.py, compiled and stored\n"
    assert our_counts(f"{line}\n{line}\n", log + log) == Counts(hits=6, compiled=2, stored=2, distinct=1)
    assert stock_counts("# code object from /a.py\n" * 2) == Counts(hits=0, compiled=2, stored=0, distinct=1)


def test_a_claim_that_does_not_hold_is_an_error(tmp_path: Path) -> None:
    """A start that compiles is not warm, and the message has the counts."""
    (tmp_path / "leaf.py").write_text("")
    cold = {"environment": {"PYTHONPYCACHEPREFIX": str(tmp_path / "cache")}, "claim": WARM}
    with pytest.raises(ClaimError, match=r"compiles nothing, or should: Counts\(hits=0, compiled=[1-9]"):
        check(variant(tmp_path, "import leaf", **cold))


@pytest.mark.parametrize(
    ("claim", "counts", "holds"),
    [
        (WARM, Counts(5, 0, 0, 0), True),
        (WARM, Counts(5, 1, 1, 1), False),
        (ONCE, Counts(5, 3, 3, 3), True),
        (ONCE, Counts(5, 4, 3, 3), False),
        (ONCE, Counts(5, 3, 2, 3), False),
        (ONCE, Counts(5, 0, 0, 0), False),
    ],
)
def test_claims(claim: Claim, counts: Counts, *, holds: bool) -> None:
    """Warm means to compile nothing; once means to compile and store each file, at least one, once."""
    assert claim.holds(counts) is holds


def test_emptied_puts_back_what_was_there(tmp_path: Path) -> None:
    """The contents are away for the run, and restored afterwards, whatever was added."""
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "old").touch()
    with emptied(cache):
        assert not cache.exists()
        cache.mkdir()
        (cache / "new").touch()
    assert [each.name for each in tmp_path.rglob("*")] == ["cache", "old"]


def test_swept_leaves_no_bytecode(tmp_path: Path) -> None:
    """Every `__pycache__` is removed, and nothing else."""
    with swept(tmp_path):
        (tmp_path / "package" / "__pycache__").mkdir(parents=True)
        (tmp_path / "package" / "m.py").touch()
    assert {each.name for each in tmp_path.rglob("*")} == {"package", "m.py"}


def test_restamped_changes_each_time_and_puts_back(tmp_path: Path) -> None:
    """For the duration of the condition, sources have an mtime that they never had before."""
    source = tmp_path / "m.py"
    source.touch()
    found, seen = source.stat().st_mtime_ns, set()
    for _ in range(2):
        with restamped(tmp_path):
            seen.add(source.stat().st_mtime)
        assert source.stat().st_mtime_ns == found
    assert len(seen) == 2


def test_protected_directories_cannot_be_written_to(tmp_path: Path) -> None:
    """All directories lose their write permissions, which are restored."""
    folders = [tmp_path / "a", tmp_path / "a" / "b"]
    folders[1].mkdir(parents=True)
    found = [each.stat().st_mode for each in folders]
    with protected(folders[0]):
        assert [each.stat().st_mode & 0o222 for each in folders] == [0, 0]
    assert [each.stat().st_mode for each in folders] == found


@pytest.mark.full
def test_a_slow_disk(tmp_path: Path) -> None:
    """It shows the same files for its duration, to other programs as well."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").write_text("text")
    show = f"import os, sys; print(os.listdir({str(tmp_path)!r}), open({str(tmp_path / 'folder' / 'file')!r}).read())"
    program = f"""
import os, subprocess, sys
from pathlib import Path
from tests.benchmarks.conditions import slow
from tests.benchmarks.measure import Skipped
root = Path({str(tmp_path)!r})
try:
    with slow(root, delay=0.01):
        subprocess.run([sys.executable, "-c", {show!r}], check=True)
        print(os.path.ismount(root))
    print(os.path.ismount(root))
except Skipped as reason:
    print("skipped:", reason)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    if done.stdout.startswith("skipped: "):
        pytest.skip(done.stdout.strip())
    assert done.stdout.split("\n")[:3] == ["['folder'] text", "True", "False"]


@pytest.mark.full
@pytest.mark.parametrize("names", [{"warm", "cold"}, pytest.param(QUICK, marks=pytest.mark.slow)], ids=["two", "all"])
def test_the_command_measures_a_tiny_application(names: set[str], tmp_path: Path, wheel: Path) -> None:
    """One round on one small package prints every table and writes every sample.

    The slow disk, the million entries and the large trees are left out, because they take long.
    """
    report = tmp_path / "report.json"
    options: list[str | Path] = [
        "--applications",
        "tiny",
        "--rounds",
        "1",
        "--environment",
        tmp_path / "environment",
        "--only",
        *names,
    ]
    done = run_tests_module("benchmarks", *options, "--json", report, timeout=600, wheel=wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    measurements = json.loads(report.read_text())["measurements"]
    assert set(measurements) == names
    for name, measurement in measurements.items():
        assert f"\n{name}\n====" in done.stdout
        assert "Skipped" in measurement or measurement["tables"]
    assert set(measurements["warm"]["samples"]["tiny"]) == {"cpython", "prefix", "checked", "unchecked", "default"}
    assert all(len(samples) == 1 for samples in measurements["warm"]["samples"]["tiny"].values())


@pytest.mark.slow
def test_scale_counts_what_a_start_compiles(tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On small trees the measurement of scale has a line for each command, and its processes compile nothing."""
    monkeypatch.setenv("SCALE", "200 400")
    monkeypatch.setenv("SCALE_PROCESSES", "4")
    report = tmp_path / "report.json"
    options: list[str | Path] = ["--only", "scale", "--rounds", "1", "--environment", tmp_path / "environment"]
    done = run_tests_module("benchmarks", *options, "--json", report, timeout=600, wheel=wheel)
    assert done.returncode == 0, done.stdout + done.stderr
    tables = json.loads(report.read_text())["measurements"]["scale"]["tables"]
    assert {row["what"].partition(" ")[0] for row in tables["commands"]} == {
        "precompile",
        "status",
        "doctor",
        "prune",
        "archive",
        "start",
    }
    assert [row["compiled"] for row in tables["at once"]] == [0] * 4


REPORT = {
    "measurements": {
        "warm": {
            "tables": {
                "median times": [
                    {"case": "tiny", "variant": "cpython", "wall/cpython": 1.0, "iqr/cpython": "1.00-1.00"},
                    {"case": "tiny", "variant": "checked", "wall/cpython": 0.5, "iqr/cpython": "0.40-0.60"},
                    {"case": "tiny", "variant": "prefix", "wall/cpython": 1.25, "iqr/cpython": "1.00-1.50"},
                ]
            }
        },
        "cold": {"Skipped": "there is no tree"},
        "memory": {"tables": {"memory": [{"case": "tiny", "variant": "archive", "MiB": 1.0}]}},
    }
}


def test_chart_shows_what_was_measured() -> None:
    """Every variant except the baseline has a bar in its colour; skipped ones have none."""
    ((title, bars),) = rows([REPORT]).items()
    assert title == "warm: wall time in terms of cpython's"
    assert [(bar["label"], bar["ratio"], bar["quartiles"], bar["ours"]) for bar in bars] == [
        ("tiny  checked", 0.5, [0.4, 0.6], True),
        ("tiny  prefix", 1.25, [1.0, 1.5], False),
    ]


def test_chart_is_drawn_from_a_report(tmp_path: Path) -> None:
    """The command draws an SVG with the medians, with the same bytes each time."""
    pytest.importorskip("matplotlib", reason="matplotlib (group bench) is not installed")
    report, charts = tmp_path / "report.json", [tmp_path / "one.svg", tmp_path / "two.svg"]
    report.write_text(json.dumps(REPORT), encoding="utf-8")
    for chart in charts:
        assert main(["--read", str(report), "--chart", str(chart)]) == 0
    text = charts[0].read_text(encoding="utf-8")
    assert text == charts[1].read_text(encoding="utf-8")
    for each in ("tiny  checked", "0.50", "1.25", "</svg>"):
        assert each in text
