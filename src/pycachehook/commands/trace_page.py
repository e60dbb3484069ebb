"""The HTML page of a recorded start: its charts, and tables to search and sort, without network access."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from .trace import Process
from .trace_events import PHASES

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1200px; padding: 12px; color: #222; background: #fff }
h1 { font-size: 22px } h2 { font-size: 17px; overflow-wrap: anywhere } .parts { padding: 0; list-style: none }
.parts li, .key span { display: inline-block; margin-right: 16px }
.key i { display: inline-block; width: 12px; height: 12px; margin-right: 5px; border: 1px solid #666 }
input { font: inherit; padding: 4px 8px; width: 100%; max-width: 420px; box-sizing: border-box }
.chart { overflow: hidden; min-height: 420px } .scroll { overflow-x: auto; max-height: 70vh } table { border-collapse: collapse; width: 100% }
th { position: sticky; top: 0; background: #eee; cursor: pointer; text-align: right }
th, td { padding: 2px 8px; white-space: nowrap; border-bottom: 1px solid #ddd } td { text-align: right }
th.text, td.text { text-align: left }
"""

# All charts but the first, and rows, are drawn when they become visible: thousands of rows, or the charts of many processes, take seconds.
_SCRIPT = """
for (const section of document.querySelectorAll("section")) {
  const data = JSON.parse(section.querySelector("script[type='application/json']").textContent);
  const [chart, body, input, count] = [".chart", "tbody", "input", "output"].map(each => section.querySelector(each));
  const plot = () => Plotly.newPlot(chart, data.chart.data, data.chart.layout, {responsive: true, displayModeBar: false});
  if (section.matches("section:first-of-type")) plot();
  else new IntersectionObserver((seen, observer) => {
    if (seen.some(each => each.isIntersecting)) { observer.disconnect(); plot(); }
  }).observe(chart);
  let rows = data.rows, column = 1, down = true, shown = 0;
  const cell = (row, value, text) => {
    const one = row.insertCell(); one.textContent = value; if (text) one.className = "text";
  };
  const more = () => {
    for (const row of rows.slice(shown, shown + 200)) {
      const line = body.insertRow();
      row.forEach((value, index) => cell(line, index && index <= data.numbers ? (value / 1000).toFixed(2) : value, !index || index > data.numbers));
    }
    shown = Math.min(shown + 200, rows.length);
  };
  const draw = () => {
    const words = input.value.toLowerCase().split(/\\s+/);
    rows = data.rows.filter(row => words.every(word => row.join(" ").toLowerCase().includes(word)));
    rows.sort((one, other) => (one[column] < other[column] ? -1 : one[column] > other[column] ? 1 : 0) * (down ? -1 : 1));
    count.textContent = rows.length + " of " + data.rows.length + " imports";
    body.textContent = ""; shown = 0; more();
  };
  input.addEventListener("input", draw);
  section.querySelectorAll("th").forEach((head, index) => head.addEventListener("click", () => {
    down = column === index ? !down : index > 0 && index <= data.numbers; column = index; draw();
  }));
  const scroll = section.querySelector(".scroll");
  scroll.addEventListener("scroll", () => { if (scroll.scrollTop + scroll.clientHeight > scroll.scrollHeight - 400) more(); });
  draw();
}
"""


def render(
    library: str, charts: Sequence[str], tables: Sequence[tuple[Process, list[list[Any]]]], colors: Mapping[str, str]
) -> str:
    """Return the page; `library` is plotly's JavaScript, `charts` its JSON, one for each process of `tables`."""
    key = "".join(f'<span><i style="background:{color}"></i>{phase}</span>' for phase, color in colors.items())
    heads = ["module", "own ms", "with its imports", *(f"{phase} ms" for phase in PHASES), "outcome", "reason", "file"]
    sections = "".join(
        _section(process, chart, rows, heads) for chart, (process, rows) in zip(charts, tables, strict=True)
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Where a start spends its time</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style>'
        f"<script>{library}</script></head><body><h1>Where a start spends its time</h1>"
        f'<p class="key">{key}</p><p>The colour of an import is that of its longest phase.</p>'
        f"{sections}<script>{_SCRIPT}</script></body></html>\n"
    )


def _section(process: Process, chart: str, rows: list[list[Any]], heads: Sequence[str]) -> str:
    parts = "".join(f"<li>{name}: {time / 1000:.0f} ms</li>" for name, time in process.parts().items())
    numbers = 2 + len(PHASES)
    data = f'{{"chart":{chart},"numbers":{numbers},"rows":{json.dumps(rows, separators=(",", ":"))}}}'
    data = data.replace("</", "<\\/")  # `</` would end the element
    row = "".join(f"<th{'' if 0 < index <= numbers else ' class=text'}>{head}</th>" for index, head in enumerate(heads))
    title = f"Process {process.number}: {process.duration / 1000:.0f} ms"
    return (
        f"<section><h2>{title}</h2><p>{escape(process.command)}</p><ul class=parts>{parts}</ul><div class=chart></div>"
        '<p><input type="search" placeholder="search modules, outcomes, files" aria-label="search"> <output></output></p>'
        f"<div class=scroll><table><thead><tr>{row}</tr></thead><tbody></tbody></table></div>"
        f'<script type="application/json">{data}</script></section>'
    )
