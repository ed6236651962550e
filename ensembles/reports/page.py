"""One self-contained HTML file: no network, opens from disk."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1a1a1a; background: #fff; margin: 2rem auto; padding: 0 1rem;
  max-width: 76rem; }
h1, h2, h3, p, li, .note, .status, summary, figcaption { overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; } h3 { font-size: 1rem; }
p { max-width: 52rem; } .key, .note { color: #555; font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; display: block;
  overflow-x: auto; max-width: 100%; }
th, td { padding: .3rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd; }
th { border-bottom: 2px solid #1a1a1a; vertical-align: bottom; overflow-wrap: normal; }
td a { white-space: nowrap; }
.number { text-align: right; }
td.number { white-space: nowrap; }
table.sortable th { cursor: pointer; user-select: none; }
table.sortable th:focus-visible { outline: 2px solid #0072b2; }
th[aria-sort=ascending]::after { content: " \\25B2"; font-size: .7em; }
th[aria-sort=descending]::after { content: " \\25BC"; font-size: .7em; }
.measured { font-weight: 600; } .difference { color: #555; font-size: .85em; }
.stand-in h2 { color: #a03c00; } .stand-in .paper { color: #9a9a9a; }
.status { color: #a03c00; font-size: .85em; }
img { max-width: 100%; height: auto; } .plots { display: flex; flex-wrap: wrap; gap: 1rem; }
.plots figure { margin: 0; flex: 1 1 22rem; max-width: 38rem; } figcaption { color: #555; font-size: .85rem; }
section > figure { margin: 1rem 0; } section > figure img { max-width: min(100%, 60rem); }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: .8rem; }
details { margin: .4rem 0; } summary { cursor: pointer; }
"""

# a click on a head sorts by its column, a second one the other way round; cells without a number come last
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = table.tHead.rows[0].cells;
  for (const head of heads) {
    head.tabIndex = 0;
    head.onclick = () => sort(table, heads, head);
    head.onkeydown = event => { if (event.key === "Enter") sort(table, heads, head); };
  }
}
function sort(table, heads, head) {
  const up = head.getAttribute("aria-sort") !== "ascending";
  for (const other of heads) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const body = table.tBodies[0];
  const value = row => {
    const cell = row.cells[head.cellIndex];
    const text = cell.hasAttribute("data-order") ? cell.getAttribute("data-order") : cell.textContent.trim();
    const number = text === "" ? NaN : Number(text);
    return { text, number };
  };
  const rows = Array.from(body.rows, row => ({ row, ...value(row) }));
  const numeric = rows.some(entry => !Number.isNaN(entry.number));
  rows.sort((a, b) => {
    if (!numeric) return up ? a.text.localeCompare(b.text) : b.text.localeCompare(a.text);
    if (Number.isNaN(a.number) || Number.isNaN(b.number)) return Number.isNaN(a.number) - Number.isNaN(b.number);
    return up ? a.number - b.number : b.number - a.number;
  });
  for (const entry of rows) body.appendChild(entry.row);
}
"""


class Html(str):
    """Text that is HTML already and is not escaped again."""


def html(text: object) -> Html:
    """Any text as HTML that shows it."""
    return text if isinstance(text, Html) else Html(escape(str(text)))


def page(title: str, body: Sequence[str]) -> str:
    """The whole file, from its parts in HTML."""
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<style>{STYLE}</style></head>\n<body>\n" + "\n".join(body) + f"\n<script>{SCRIPT}</script>\n</body></html>\n"
    )


def sortable(heads: Sequence[str], rows: Sequence[Sequence[tuple[str, object]]], names: int = 1) -> str:
    """A table that a click on a head sorts.

    Args:
        rows: for each cell its text, or `Html`, and what it is sorted by: a number, a string or None.
        names: columns at the left that hold names, not numbers.
    """
    kinds = ["" if i < names else ' class="number"' for i in range(len(heads))]
    top = "".join(f"<th{kind}>{escape(head)}</th>" for kind, head in zip(kinds, heads, strict=True))
    lines = []
    for row in rows:
        cells = [
            f'<td{kind} data-order="{"" if order is None else html(str(order))}">{html(text)}</td>'
            for kind, (text, order) in zip(kinds, row, strict=True)
        ]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f'<table class="sortable"><thead><tr>{top}</tr></thead><tbody>\n' + "\n".join(lines) + "\n</tbody></table>"


def picture(source: Path | bytes, caption: str) -> str:
    """A PNG, kept in the page itself."""
    data = source.read_bytes() if isinstance(source, Path) else source
    encoded = base64.b64encode(data).decode()
    text = escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{encoded}"><figcaption>{text}</figcaption></figure>'
