"""Recorded starts: the content of a recording, its file formats, and the output of the commands."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import PROJECT, Python, clean_environment
from pycachehook.commands import trace, trace_summary
from pycachehook.errors import ConfigError

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a directory with a package that imports an extension, a frozen and a builtin module, and itself."""
    tree = tmp_path / "tree"
    (tree / "pack").mkdir(parents=True)
    (tree / "pack" / "__init__.py").write_text("import pack.one, pack.two\n")
    (tree / "pack" / "one.py").write_text("import _elementtree, xxsubtype\n")  # no other module imports these
    (tree / "pack" / "two.py").write_text(
        "try:\n    import pack.nowhere\nexcept ImportError:\n    pass\nimport pack.three\n"
    )
    (tree / "pack" / "three.py").write_text("")
    return tree


@pytest.fixture
def command(tree: Path) -> Run:
    """Return a function that runs `pycachehook` in the tree, with a separate cache."""

    def run(*arguments: str | Path, check: bool = True, **more: Any) -> subprocess.CompletedProcess[str]:
        process = subprocess.run(
            [sys.executable, "-m", "pycachehook", *map(str, arguments)],
            env=clean_environment(PYCACHEHOOK_CACHE_DIR=str(tree.parent / "cache")),
            cwd=tree,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
            **more,
        )
        assert not check or process.returncode == 0, process.stderr
        return process

    return run


def traced(tree: Path, code: str, folder: Path | str) -> subprocess.CompletedProcess[str]:
    """Run code in the tree with `PYCACHEHOOK_TRACE`."""
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tree,
        env=clean_environment(PYCACHEHOOK_CACHE_DIR=str(tree.parent / "cache"), PYCACHEHOOK_TRACE=str(folder)),
        capture_output=True,
        text=True,
        check=False,
    )


def recorded(path: Path) -> dict[str, trace.Import]:
    """Return the imports of the process that began first, by name."""
    return {one.name: one for one in trace.read(str(path))[0].imports}


def test_every_import_is_recorded_with_its_outcome(tree: Path, command: Run) -> None:
    """With a cold and a warm cache, cached modules have a verdict, others their loader, and all their parent."""
    command("run", "--trace", tree / "cold.json", "-c", "import pack")
    command("run", "--trace", tree / "warm.json", "-c", "import pack")
    cold, warm = recorded(tree / "cold.json"), recorded(tree / "warm.json")
    names = ["pack", "pack.one", "pack.two", "pack.three"]
    assert [cold[name].verdict for name in names] == ["miss"] * 4
    assert {cold[name].reason for name in names} == {"absent"}
    assert [(warm[name].verdict, warm[name].place) for name in names] == [("hit", "store")] * 4
    assert warm["pack.one"].path == str(tree / "pack" / "one.py")
    assert warm["pack.nowhere"].verdict == "not found"
    assert [one.name for one in warm["pack"].children] == ["pack.one", "pack.two"]
    assert [one.name for one in warm["pack.two"].children] == ["pack.nowhere", "pack.three"]
    assert warm["_elementtree"].loader in ("ExtensionFileLoader", "BuiltinImporter")
    assert warm["xxsubtype"].loader == "BuiltinImporter"


def test_times_add_up(tree: Path, command: Run) -> None:
    """The sum of the parts is the process, of own times the imports, of phases an import's own time."""
    command("run", "--trace", tree / "a.json", "-c", "import pack, gc; gc.collect()")
    process = trace.read(str(tree / "a.json"))[0]
    assert process.began < process.recorded < process.exit < process.torn_down < process.ended  # type: ignore[operator]
    assert sum(process.parts().values()) == pytest.approx(process.duration)
    assert sum(one.own for one in process.imports) == pytest.approx(sum(one.duration for one in process.outermost))
    for one in process.imports:
        assert sum(one.phases.values()) == pytest.approx(one.own, abs=1)
    assert process.collections or process.short_collections[0]


@pytest.mark.parametrize("mode", ["timestamp", "checked-hash"])
def test_phases_of_a_pyc_in_the_source_tree(tree: Path, command: Run, mode: str) -> None:
    """It is read, unmarshalled, and compared with its source."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", f"--invalidation-mode={mode}", tree / "pack"], check=True)
    command("run", "--in-tree", "all", "--trace", tree / "a.json", "-c", "import pack")
    one = recorded(tree / "a.json")["pack.one"]
    assert (one.verdict, one.place) == ("hit", "in_tree")
    assert {"find", "read", "check", "unmarshal", "execute"} == set(one.phases)


def test_search_without_an_import(tree: Path, command: Run) -> None:
    """`importlib.util.find_spec` and `importlib.reload` are no imports; later ones are not nested in them."""
    code = "import importlib.util, importlib\nimportlib.util.find_spec('pack')\nimport pack\nimportlib.reload(pack)\nimport pack.nothing"
    command("run", "--trace", tree / "a.json", "-c", code, check=False)
    process = trace.read(str(tree / "a.json"))[0]
    assert [one.name for one in process.outermost if one.name.startswith("pack")] == ["pack", "pack.nothing"]
    assert recorded(tree / "a.json")["pack.nothing"].verdict == "not found"


def test_phases_of_a_miss_and_of_a_hit(tree: Path, command: Run) -> None:
    """A miss has the phase compile, a hit has unmarshal, and neither has both."""
    command("run", "--trace", tree / "cold.json", "-c", "import pack")
    command("run", "--trace", tree / "warm.json", "-c", "import pack")
    cold, warm = recorded(tree / "cold.json")["pack.one"], recorded(tree / "warm.json")["pack.one"]
    assert {"find", "read", "compile", "write", "execute"} <= set(cold.phases)
    assert {"find", "read", "check", "unmarshal", "execute"} <= set(warm.phases)
    assert "compile" not in warm.phases


def test_advice_is_what_is_not_followed_yet(tree: Path, command: Run) -> None:
    """A cold start is told to precompile, a warm one is not; nobody is told to freeze what is frozen already."""
    for number in range(30):
        (tree / "pack" / f"m{number}.py").write_text("def f():\n    return 1\n" * 100)
    (tree / "pack" / "one.py").write_text("".join(f"import pack.m{number}\n" for number in range(30)))
    command("run", "--trace", tree / "cold.json", "-c", "import pack")
    command("run", "--trace", tree / "warm.json", "-c", "import pack")
    command("run", "--gc", "freeze", "--trace", tree / "frozen.json", "-c", "import pack")
    kinds = {}
    for name in ("cold", "warm", "frozen"):
        recording = trace.read(str(tree / f"{name}.json"))[0]
        kinds[name] = {one.kind for one in trace_summary.advise(recording, least=0.0)}
    assert kinds["cold"] >= {"precompile", "freeze"}
    assert "precompile" not in kinds["warm"]
    assert "freeze" not in kinds["frozen"]
    assert "pycachehook precompile (34 modules were compiled)" in command("trace", "show", "cold.json").stdout


def test_saving_that_a_recording_does_not_show_is_no_number() -> None:
    """An archive is advised with what it can save at most, and only if that is a tenth of the start."""
    phases = {"find": 100.0, "read": 50.0, "check": 50.0, "execute": 800.0}
    one = trace.Import("a", 1, 0.0, 1000.0, phases, verdict="hit", place="store")
    process = trace.Process(1, "python", "3.11", 0.0, 1900.0, [one], [one], [], (0, 0.0), 0.0)
    text = "   not known  an archive with unchecked-hash (less than the 0.2 ms of find, read and check)"
    assert text in list(trace_summary.lines(process))
    process.ended = 2100.0
    assert "archive" not in "".join(trace_summary.lines(process))


def test_text_is_that_of_importtime(tree: Path, command: Run) -> None:
    """The text has importtime's lines, order and indentation, so its readers accept it."""
    command("run", "--trace", tree / "a.txt", "-c", "import pack")
    lines = (tree / "a.txt").read_text().splitlines()
    assert lines[0] == "import time: self [us] | cumulative | imported package"
    assert all(re.fullmatch(r"import time: +\d+ \| +\d+ \|  *\S+", line) for line in lines[1:])
    ours = [line.rpartition("| ")[2] for line in lines if "pack" in line.rpartition("|")[2]][1:]
    stock = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import pack"],
        cwd=tree,
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = [line.rpartition("|")[2][1:] for line in stock.stderr.splitlines() if re.search(r"\| +pack", line)]
    assert ours == theirs
    tuna = pytest.importorskip("tuna", reason="tuna is not installed")
    read = tuna.read_import_profile(str(tree / "a.txt"))
    assert "pack" in json.dumps(read)


def test_json_is_chrome_trace_events(tree: Path, command: Run) -> None:
    """Slices of one thread are nested or consecutive, as viewers require."""
    command("run", "--trace", tree / "a.json", "-c", "import pack")
    events = json.loads((tree / "a.json").read_text())["traceEvents"]
    assert {event["ph"] for event in events} == {"X", "M"}
    slices = sorted(
        (event["ts"], -event["dur"], event["name"]) for event in events if event.get("cat") in ("import", "phase")
    )
    ends: list[float] = []
    for began, negative, name in slices:
        while ends and ends[-1] <= began + 0.01:
            ends.pop()
        assert not ends or began - negative <= ends[-1] + 0.01, name
        ends.append(began - negative)


def test_json_follows_its_schema(tree: Path, command: Run) -> None:
    """Every event of a cold, a warm and a multi-process start is one that the documentation describes."""
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    schema = json.loads((PROJECT / "docs" / "pages" / "reference" / "trace.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    (tree / "pool.py").write_text(POOL)
    (tree / "pack" / "late.py").write_text("")
    programs = [["-c", "import pack, gc; gc.collect()"], ["-c", "import pack"], ["pool.py", "spawn"]]
    kinds: set[tuple[str, str]] = set()
    for number, program in enumerate(programs):
        command("run", "--trace", f"{number}.json", *program)
        recording = json.loads((tree / f"{number}.json").read_text())
        validator.validate(recording)
        kinds |= {(event["ph"], event.get("cat", "")) for event in recording["traceEvents"]}
    assert kinds == {("M", ""), ("X", "process"), ("X", "gc"), ("X", "import"), ("X", "phase")}
    recording["traceEvents"][-1]["cat"] = "other"
    assert not validator.is_valid(recording)


def test_published_readers_load_the_files(tree: Path, command: Run) -> None:
    """The report builder of viztracer combines the JSON; importtime-convert reads the text with its nesting."""
    builder = pytest.importorskip("viztracer.report_builder", reason="viztracer is not installed")
    for number in range(2):
        command("run", "--trace", f"{number}.json", "-c", "import pack")
    files = [str(tree / f"{number}.json") for number in range(2)]
    builder.ReportBuilder(files, verbose=0, align=False).save(str(tree / "combined.json"))
    combined = json.loads((tree / "combined.json").read_text())["traceEvents"]
    assert len(combined) == sum(len(json.loads(Path(each).read_text())["traceEvents"]) for each in files)
    pytest.importorskip("importtime_convert", reason="importtime-convert is not installed")
    command("trace", "merge", files[0], "a.txt")
    done = subprocess.run(
        [sys.executable, "-m", "importtime_convert", "-o", "flamegraph.pl"],
        input=(tree / "a.txt").read_text(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search(r"^pack;pack\.two;pack\.three \d+$", done.stdout, re.MULTILINE)


def test_page_needs_no_network_and_escapes_names(tree: Path, command: Run) -> None:
    """Module names and the command line are escaped in the page."""
    pytest.importorskip("plotly", reason="plotly is not installed")
    odd = "</script><script>alert(1)</script>"
    (tree / "odd").mkdir()
    (tree / "odd" / "x<b>.py").write_text("")
    command("run", "--trace", tree / "a.html", "-c", f"import importlib; importlib.import_module('odd.x<b>') #{odd}")
    page = (tree / "a.html").read_text()
    assert odd not in page
    assert "odd.x<b>" in page  # escaped as in JSON
    assert not re.search(r"<(?:script|link|img)[^>]+(?:src|href)=", page)


def test_killed_process_leaves_what_it_had_recorded(tree: Path) -> None:
    """A killed process leaves a recording of the imports before its end."""
    folder = tree / "traces"
    code = "import pycachehook; pycachehook.install()\nimport pack, os, signal\nos.kill(os.getpid(), signal.SIGKILL)"
    assert traced(tree, code, folder).returncode == -signal.SIGKILL
    assert "pack.three" in recorded(folder)


def test_process_that_skips_its_exit_leaves_what_it_had_recorded(tree: Path) -> None:
    """So does one that calls `os._exit` in an import, up to the last outermost import."""
    folder = tree / "traces"
    (tree / "pack" / "late.py").write_text("import os; os._exit(3)\n")
    code = "import pycachehook; pycachehook.install()\nimport pack\nimport pack.late"
    assert traced(tree, code, folder).returncode == 3
    assert "pack.three" in recorded(folder)
    assert "pack.late" not in recorded(folder)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_fork_during_an_import(tree: Path) -> None:
    """The child's recording has its own imports only, not the one that began in its parent."""
    folder = tree / "traces"
    (tree / "pack" / "late.py").write_text(
        "import os, sys\nif not os.fork():\n    import pack.other\nelse:\n    os.wait()\n"
    )
    (tree / "pack" / "other.py").write_text("")
    traced(tree, "import pycachehook; pycachehook.install()\nimport pack.late", folder).check_returncode()
    parent, child = trace.read(str(folder))
    assert "pack.late" in {one.name for one in parent.imports}
    assert [one.name for one in child.imports] == ["pack.other"]
    assert child.duration == pytest.approx(sum(child.parts().values()))


def test_processes_with_the_same_number(tree: Path, command: Run, tmp_path: Path) -> None:
    """Processes of different containers stay separate, in the merged file too."""
    folder = tmp_path / "traces"
    for name in ("one", "two"):
        traced(tree, f"import pycachehook; pycachehook.install()\nimport pack.{name}", folder).check_returncode()
    for file in folder.iterdir():
        file.write_text(re.sub(r'"pid": \d+', '"pid": 7', file.read_text()))
    command("trace", "merge", folder, tree / "a.json")
    for recording in (folder, tree / "a.json"):
        first, second = trace.read(str(recording))
        assert "pack.one" in {one.name for one in first.imports}
        assert first.number != second.number


POOL = """
import multiprocessing, sys
import pack

def work(number):
    import pack.late
    return number

if __name__ == "__main__":
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        pool.map(work, range(8))
        pool.close()
        pool.join()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_several_processes_are_on_one_picture(tree: Path, command: Run, method: str) -> None:
    """Each worker of a pool records its own imports; a forked one omits those of its parent."""
    (tree / "pool.py").write_text(POOL)
    (tree / "pack" / "late.py").write_text("")
    command("run", "--trace", tree / "a.json", "pool.py", method)
    first, *others = trace.read(str(tree / "a.json"))
    if method == "fork":
        late = [process for process in others if any(one.name == "pack.late" for one in process.imports)]
        assert late
        assert not any(one.name == "pack" for process in late for one in process.imports)
    assert "pack" in {one.name for one in first.imports}
    said = command("trace", "merge", tree / "a.json", tree / "b.json").stdout
    assert f"{1 + len(others)} process" in said
    assert len(trace.read(str(tree / "b.json"))) == 1 + len(others)


def test_program_runs_as_without_a_recording(tree: Path, command: Run) -> None:
    """Arguments, input, output and exit code are the program's; the summary goes to standard error."""
    code = "import sys; print(sys.argv, input()); sys.exit(7)"
    process = command("run", "--trace=a.json", "-c", code, "--trace", "x", check=False, input="line\n")
    assert process.returncode == 7
    assert process.stdout == "['-c', '--trace', 'x'] line\n"
    assert "phases of the imports:" in process.stderr
    killed = command("run", "--trace=a.json", "-c", "import os; os.kill(os.getpid(), 15)", check=False)
    assert killed.returncode == -signal.SIGTERM


def test_traceback_of_a_failing_import_is_the_stock_one(tree: Path, command: Run) -> None:
    """The traceback has no frame of the recorder."""
    (tree / "pack" / "three.py").write_text("1/0\n")
    plain = command("run", "-c", "import pack", check=False).stderr
    traced = command("run", "--trace=a.json", "-c", "import pack", check=False).stderr
    assert plain
    assert traced.startswith(plain)


def test_nothing_is_recorded_unless_asked(python: Python) -> None:
    """Without the variable, importlib is unchanged, and the module is not loaded."""
    code = (
        "import sys, importlib._bootstrap as bootstrap; before = bootstrap._find_spec, bootstrap._load_unlocked\n"
        "import pycachehook; pycachehook.install()\n"
        "assert before == (bootstrap._find_spec, bootstrap._load_unlocked)\n"
        "assert 'pycachehook.tracing' not in sys.modules"
    )
    python("-c", code)


@pytest.mark.parametrize("target", ["missing/below", "file", "full"])
def test_recording_that_cannot_be_written_breaks_no_import(tree: Path, target: str) -> None:
    """If a recording cannot be written, imports work and nothing is printed."""
    (tree / "file").write_text("")
    folder = "/dev/full" if target == "full" else str(tree / target)
    process = traced(tree, "import pycachehook; pycachehook.install()\nimport pack; print('there')", folder)
    assert (process.returncode, process.stdout, process.stderr) == (0, "there\n", "")
    assert (tree / "file").read_text() == ""


def test_difference_is_told_by_module(tree: Path, command: Run) -> None:
    """A module that takes longer is named, and the limit determines the exit code."""
    command("run", "--trace", tree / "a.json", "--runs", "3", "-c", "import pack")
    assert len(trace.runs(trace.read(str(tree / "a.json")))) == 3
    (tree / "pack" / "three.py").write_text("import time; time.sleep(1)\n")
    command("run", "--trace", tree / "b.json", "-c", "import pack")
    same = command("trace", "diff", tree / "a.json", tree / "a.json", "--fail-above", "0%")
    assert "no module differs by more than its noise" in same.stdout
    worse = command("trace", "diff", tree / "a.json", tree / "b.json", "--fail-above", "10%", check=False)
    assert worse.returncode == 1
    assert re.search(r"\+\d+\.\d ms .* pack\.three\n", worse.stdout)
    assert "at most 10% is allowed" in worse.stderr
    better = json.loads(command("trace", "diff", "--json", tree / "b.json", tree / "a.json", "--fail-above=10").stdout)
    assert better["failed"] is False
    assert better["modules"][0]["module"] == "pack.three"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            ["run", "--trace", "a.svg", "-c", "1"],
            "a.svg has no extension of a trace: it must end in .json, .txt, .html.",
        ),
        (["run", "--runs", "3", "-c", "1"], "--runs is for --trace FILE, which is missing."),
        (["run", "--trace", "a.json", "--runs", "0", "-c", "1"], "'0' is not a number of runs: at least 1 is needed"),
        (["trace", "diff", "nowhere.json", "nowhere.json"], "nowhere.json cannot be read: No such file"),
        (["trace", "show", "pack/three.py"], "pack/three.py contains no recording"),
        (["trace", "diff", "--fail-above", "x", "a", "b"], "'x' is not a percentage, such as 10%"),
    ],
)
def test_wrong_usage_is_one_sentence(command: Run, arguments: list[str], text: str) -> None:
    """One sentence names what is wrong, and the exit code is 2."""
    process = command(*arguments, check=False)
    assert process.returncode == 2
    assert text in process.stderr
    assert process.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[",
        "{}",
        "[1]",
        "[" * 50_000,
        "\udcff",
        '{"traceEvents": [{}]}',
        "[]",
        "null",
        '[{"ph": "X", "cat": "import"}]',
    ],
)
def test_file_that_is_no_recording_is_refused(tmp_path: Path, text: str) -> None:
    """A file that is no recording is refused, whatever it contains."""
    path = tmp_path / "a.json"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(ConfigError):
        trace.read(str(path))


@pytest.mark.parametrize(
    "change",
    [
        {"dur": -5},
        {"ts": "x"},
        {"dur": None},
        {"name": 5},
        {"ts": float("nan")},
        {"ts": float("inf")},
        {"ts": 10**400},
        {"pid": "p"},
        {"pid": [1]},
        {"tid": [1]},
        {"args": []},
        {"args": "count"},
        {"args": {"find": "x"}},
        {"args": {"find": -1}},
        {"args": {"count": 1}},
        {"cat": "gc", "name": "collections"},
        {"cat": "process", "name": "begin", "args": {"argv": 5}},
    ],
    ids=str,
)
def test_damaged_recording_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    """An event with a wrong value is an error in one sentence; a start without duration is none."""
    event = {"ph": "X", "name": "a", "cat": "import", "ts": 1.0, "dur": 0.0, "pid": 1, "tid": 1, "args": {}}
    path = tmp_path / "a.json"
    path.write_text(json.dumps([event, {**event, "name": "collections"}]))  # also the name of a module
    processes = trace.read(str(path))
    assert list(trace_summary.lines(processes[0]))
    assert trace.compare(processes, processes).ratio == 1
    path.write_text(json.dumps([event, {**event, **change}]))
    with pytest.raises(ConfigError, match="is damaged, or was not written by pycachehook"):
        trace.read(str(path))


def test_only_an_earlier_trace_is_replaced(tree: Path, command: Run) -> None:
    """Other files, links and FIFOs stay unchanged, and the program does not run."""
    kept, fifo, link = tree / "package.json", tree / "fifo.json", tree / "link.json"
    kept.write_text('{"name": "web"}\n')
    os.mkfifo(fifo)
    link.symlink_to(tree / "nowhere")
    for path, why in ((kept, "is no trace"), (fifo, "is no regular file"), (link, "is no regular file")):
        done = command("run", "--trace", path, "-c", "print('run')", check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == (
            f"pycachehook: error: {path} {why}, and is left as it is: name a new file, or remove this one first.\n"
        )
    assert kept.read_text() == '{"name": "web"}\n'
    assert not (tree / "nowhere").exists()
    done = command("trace", "show", fifo, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    for name in ("trace.json", "trace.txt"):
        for _ in range(2):
            command("run", "--trace", tree / name, "-c", "pass")


def test_a_recording_is_private(tree: Path) -> None:
    """It goes to a new file with the process id in its name; other users can read neither file nor directory."""
    folder = tree / "traces"
    code = "import pycachehook; pycachehook.install()\nimport pack, os; print(os.getpid())"
    process = traced(tree, code, folder)
    process.check_returncode()
    said = process.stdout
    (file,) = folder.iterdir()
    assert file.name.startswith(f"{said.strip()}-")
    assert file.stat().st_mode & 0o077 == 0
    assert folder.stat().st_mode & 0o077 == 0 or os.name == "nt"


def test_directory_is_relative_to_where_the_program_began(tree: Path) -> None:
    """A program that changes its current directory still writes one recording, complete."""
    code = "import pycachehook; pycachehook.install()\nimport os, sys; sys.path[0] = os.getcwd(); os.chdir('/'); import pack"
    traced(tree, code, "traces").check_returncode()
    assert "pack.three" in recorded(tree / "traces")
    assert trace.read(str(tree / "traces"))[0].torn_down is not None


def test_removed_current_directory(tree: Path) -> None:
    """A relative directory then names nothing: nothing is recorded anywhere, and the program runs."""
    (tree / "gone").mkdir()
    before = set(Path("/").iterdir())
    code = (
        "import os; os.chdir('gone'); os.rmdir(os.getcwd())\nimport pycachehook; pycachehook.install(); print('there')"
    )
    process = traced(tree, code, "traces")
    assert (process.stdout, process.stderr) == ("there\n", "")
    assert not [path for path in set(Path("/").iterdir()) - before if path.suffix == ".json"]


@pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports (PEP 810)")
def test_policy_of_lazy_imports(tree: Path, command: Run) -> None:
    """It names modules that a run with lazy imports did not use, and following it avoids them and what they import."""
    (tree / "app.py").write_text(
        "import used, unused\nfrom pack import leaf, other\nimport pack.one\n"
        "try:\n    import guarded\nexcept ImportError:\n    pass\nprint(used.x, other)\n"
    )
    for name, text in {"used": "x = 1", "unused": "import below", "below": "", "guarded": ""}.items():
        (tree / f"{name}.py").write_text(f"{text}\n")
    (tree / "pack" / "__init__.py").write_text("")
    for name in ("leaf", "other"):
        (tree / "pack" / f"{name}.py").write_text("")
    done = command("run", "--trace", "a.json", "--lazy", "policy.py", "app.py")
    assert re.search(r"ms  policy.py: \d+ modules were not used until the exit, \d+ of them named", done.stderr)
    assert re.search(r"not known for \d+ modules", done.stderr)
    proposed = _names(tree / "policy.py")
    assert {"unused", "pack.leaf", "pack.one"} <= proposed
    assert not {"used", "pack.other", "guarded", "below", "pack"} & proposed
    (tree / "main.py").write_text("import policy, app, sys\nprint(sorted(sys.modules))\n")
    followed = command("run", "main.py").stdout
    assert "'used'" in followed
    assert "'pack.other'" in followed
    for name in ("unused", "below", "pack.leaf", "pack.one"):
        assert f"'{name}'" not in followed


@pytest.mark.skipif(sys.version_info < (3, 15), reason="lazy imports (PEP 810)")
@pytest.mark.parametrize("code", ["import sys, late; sys.exit('late' in sys.modules)", "import os; os._exit(0)"])
def test_program_that_differs_with_lazy_imports(tree: Path, command: Run, code: str) -> None:
    """Nothing is proposed, and one sentence says why."""
    (tree / "late.py").write_text("")
    done = command("run", "--trace", "a.json", "--lazy", "policy.py", "-c", code, check=False)
    assert done.returncode == 1
    assert "error: No lazy imports can be proposed: with all imports lazy, the program ended" in done.stderr
    assert not (tree / "policy.py").exists()


@pytest.mark.skipif(sys.version_info >= (3, 15), reason="Python has lazy imports")
def test_policy_of_lazy_imports_needs_them(command: Run) -> None:
    """One sentence says so before the program runs."""
    done = command("run", "--trace", "a.json", "--lazy", "policy.py", "-c", "print(1)", check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith("--lazy needs lazy imports (PEP 810), which Python has from version 3.15 on.\n")


def _names(policy: Path) -> set[str]:
    return set(re.findall(r"^    '(.+)',$", policy.read_text(), re.MULTILINE))
