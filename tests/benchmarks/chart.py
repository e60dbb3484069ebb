"""The measured ratios as an SVG chart: a bar for each variant's median, with a line for the quartiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WIDTH, ROW, MARGIN = 8.0, 0.24, 1.0  # inches
OURS, CPYTHONS = "#3572a5", "#b0b0b0"
STOCK = (
    "cpython",
    "prefix",
    "in-tree",
    "image",
    "floor",
    "floor, paused",
    "new, cpython",
    "writable",
    "warm",
    "compileall",
)  # variants that are CPython without this project
COUNTED = "activation"  # shown in milliseconds, not as a ratio


def rows(reports: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Return the figures of the reports by measurement and baseline, without the baselines' own rows."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for report in reports:
        for name, measurement in report["measurements"].items():
            if name == COUNTED or "tables" not in measurement:
                continue
            table = next(iter(measurement["tables"].values()))
            column = next((each for each in table[0] if each.startswith("wall/")), None)
            if column is None:  # measurements without ratios: memory, a million entries
                continue
            baseline = column.removeprefix("wall/")
            found[f"{name}: wall time in terms of {baseline}'s"] = [
                {
                    "label": f"{row['case']}  {row['variant']}",
                    "ratio": row[f"wall/{baseline}"],
                    "quartiles": [float(each) for each in row[f"iqr/{baseline}"].split("-")],
                    "ours": row["variant"] not in STOCK,
                }
                for row in table
                if row["variant"] != baseline
            ]
    return found


def draw(reports: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write the chart of the reports to `file`; the same reports give the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "pycachehook"
    mpl.rcParams["svg.fonttype"] = "none"
    charts = rows(reports)
    heights = [len(each) for each in charts.values()]
    figure = Figure(figsize=(WIDTH, sum(heights) * ROW + MARGIN * len(charts)), layout="constrained")
    axes = figure.subplots(len(charts), squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axis, (title, bars) in zip(axes, charts.items(), strict=True):
        places = range(len(bars))
        medians = [bar["ratio"] for bar in bars]
        axis.barh(places, medians, color=[OURS if bar["ours"] else CPYTHONS for bar in bars])
        axis.hlines(places, *zip(*(bar["quartiles"] for bar in bars), strict=True), color="black", linewidth=1)
        axis.axvline(1, color="black", linewidth=0.8, linestyle=":")
        for place, median in zip(places, medians, strict=True):
            axis.annotate(f" {median:.2f}", (0, place), va="center", color="white", fontsize=8)
        axis.set_yticks(places, [bar["label"] for bar in bars], fontsize=8)
        axis.set_ylim(len(bars) - 0.5, -0.5)  # so that the first is at the top
        axis.set_title(title, loc="left", fontsize=10)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, format="svg", metadata={"Date": None})
