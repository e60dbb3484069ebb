"""Recorded starts as files: Chrome trace events, the text of `-X importtime`, and one HTML page."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from html import escape
from typing import Any

from pycachehook.errors import ConfigError, PycacheHookError

from .atomic_write import replacing
from .trace import NOT_FOUND, Process
from .trace_events import PHASES
from .user_file import why_not_replaced

_LEAST_WIDTH = 1 / 400  # part of the chart's width: two or three pixels
_COLORS = {  # Okabe and Ito's colours, which colour-blind people can distinguish
    "find": "#56B4E9",
    "read": "#0072B2",
    "check": "#009E73",
    "wait": "#000000",
    "unmarshal": "#F0E442",
    "compile": "#D55E00",
    "write": "#CC79A7",
    "execute": "#BBBBBB",
}


def write(processes: Sequence[Process], path: str) -> None:
    """Write the file in the format of its extension.

    Raises ConfigError for an unknown extension, and PycacheHookError if the file cannot be written.
    """
    text = writer_of(path)(processes)
    try:
        with replacing(path) as file:
            file.write(text.encode("utf-8", "backslashreplace"))
    except OSError as error:
        raise PycacheHookError(f"The recording {path} cannot be written: {error.strerror}.") from None


def writer_of(path: str) -> Callable[[Sequence[Process]], str]:
    """Return the function that makes the text for `path`.

    Raises ConfigError for an unknown extension, and for an existing file that is no trace.
    """
    extension = os.path.splitext(path)[1]
    if extension not in _WRITERS:
        raise ConfigError(f"{path} has no extension of a trace: it must end in {', '.join(_WRITERS)}.")
    why = why_not_replaced(path, lambda data: _BEGINNINGS[extension] in data[:_SEARCHED], "trace")
    if why is not None:
        raise ConfigError(f"{path} {why}, and is left as it is: name a new file, or remove this one first.")
    return _WRITERS[extension]


def chrome(processes: Sequence[Process]) -> str:
    """Return Chrome trace events (the JSON object format), with a slice for each import and for each of its phases."""
    events = [event for process in processes for event in _chrome_events(process)]
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}, indent=None, separators=(",\n", ":")) + "\n"


def _chrome_events(process: Process) -> Iterator[dict[str, Any]]:
    def event(name: str, kind: str, began: float, duration: float, thread: int, **arguments: object) -> dict[str, Any]:
        return {
            "ph": "X",
            "name": name,
            "cat": kind,
            "ts": began,
            "dur": duration,
            "pid": process.number,
            "tid": thread,
            "args": arguments,
        }

    main = process.main_thread
    yield {"ph": "M", "name": "process_name", "pid": process.number, "tid": main, "args": {"name": process.command}}
    if process.measured:
        yield event("process", "process", process.began, process.duration, main)
    yield event("begin", "process", process.recorded, 0.0, main, argv=process.command, python=process.python)
    exiting = {"frozen": 1} if process.frozen else {}
    marks: list[tuple[str, float | None, dict[str, int]]] = [
        ("exit", process.exit, exiting),
        ("torn down", process.torn_down, {}),
    ]
    yield from (event(name, "process", time, 0.0, main, **more) for name, time, more in marks if time is not None)
    for began, duration in process.collections:
        yield event("collection", "gc", began, duration, main)
    count, spent = process.short_collections
    if count:
        yield event("collections", "gc", process.ended, 0.0, main, count=count, spent=round(1000 * spent))
    for one in process.imports:
        nanoseconds = {name: round(1000 * time) for name, time in one.phases.items() if name != "execute"}
        words = {name: getattr(one, name) for name in ("verdict", "place", "reason", "path", "loader")}
        if one.verdict == NOT_FOUND:
            nanoseconds["found"] = 0
        yield event(one.name, "import", one.began, one.duration, one.thread, **nanoseconds, **words)
        at = one.began
        for phase in PHASES[:-1]:
            if one.phases.get(phase):
                yield event(phase, "phase", at, one.phases[phase], one.thread)
                at += one.phases[phase]


def importtime(processes: Sequence[Process]) -> str:
    """Return the output of `-X importtime` for the process that began first."""
    lines = ["import time: self [us] | cumulative | imported package"]
    for one in processes[0].imports:
        name = " " * 2 * one.depth + one.name
        lines.append(f"import time: {round(one.own):9} | {round(one.duration):10} | {name}")
    return "\n".join(lines) + "\n"


def page(processes: Sequence[Process]) -> str:
    """Return one HTML page that needs no network: a chart for each process, and a table to search and sort.

    The chart is drawn by plotly; raises PycacheHookError if that is not installed.
    """
    try:
        import plotly.graph_objects as plot
        from plotly.offline import get_plotlyjs
    except ImportError:
        raise PycacheHookError("A page needs plotly: pip install 'pycachehook[trace]'") from None
    from .trace_page import render

    charts = [_chart(plot, process) for process in processes]
    return render(get_plotlyjs(), charts, [(process, list(_rows(process))) for process in processes], _COLORS)


def _chart(plot: Any, process: Process) -> str:
    """Return plotly's JSON of an icicle chart: nested imports below their outer ones, with widths proportional to time.

    Imports with a width of a few pixels are only in the table, because thousands of them would slow down plotly.
    """
    whole = sum(one.duration for one in process.outermost)
    nodes: list[tuple[str, str, str, float, str, str]] = [("0", "imports", "", whole / 1000, "", "")]
    pending = [(one, "0", "") for one in reversed(process.outermost) if one.duration > whole * _LEAST_WIDTH]
    while pending:
        one, parent, package = pending.pop()
        identifier = str(len(nodes))
        phases = {phase: time for phase, time in one.phases.items() if time > 0}
        color = _COLORS[max(phases, key=lambda phase: phases[phase])] if phases else _COLORS["execute"]
        shares = ", ".join(f"{phase} {time / 1000:.2f}" for phase, time in phases.items())
        label = one.name.removeprefix(package)  # short, to be readable in a narrow rectangle
        text = f"{escape(one.name)}<br>{one.own / 1000:.2f} of {one.duration / 1000:.2f} ms itself ({shares})<br>{escape(one.path or one.loader)}"
        nodes.append((identifier, escape(label), parent, one.duration / 1000, color, text))
        package = f"{one.name}."
        wide = [child for child in reversed(one.children) if child.duration > whole * _LEAST_WIDTH]
        pending += [(child, identifier, package) for child in wide]
    names, labels, parents, values, colors, texts = (list(column) for column in zip(*nodes, strict=True))
    icicle = plot.Icicle(
        ids=names,
        labels=labels,
        parents=parents,
        values=values,
        marker={"colors": colors},
        hovertext=texts,
        hoverinfo="text",
        branchvalues="total",
        maxdepth=8,
        sort=False,
        tiling={"orientation": "v"},
        leaf={"opacity": 1},
    )
    layout = {
        "margin": {"t": 8, "l": 0, "r": 0, "b": 0},
        "height": 420,
        "paper_bgcolor": "rgba(0,0,0,0)",
        "uniformtext": {"minsize": 10, "mode": "hide"},  # no labels that are too small to read
    }
    return str(plot.Figure(icicle, layout=layout).to_json())


def _rows(process: Process) -> Iterator[list[Any]]:
    for one in process.imports:
        phases = [round(one.phases.get(phase, 0.0)) for phase in PHASES]
        yield [one.name, round(one.own), round(one.duration), *phases, one.verdict or one.loader, one.reason, one.path]


# Text near the beginning of an earlier output, by extension.
_BEGINNINGS = {".json": b'"traceEvents":', ".txt": b"import time:", ".html": b"<title>Where a start spends its time"}
_SEARCHED = 256  # bytes
_WRITERS: dict[str, Callable[[Sequence[Process]], str]] = {".json": chrome, ".txt": importtime, ".html": page}
