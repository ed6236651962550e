// a click on a head sorts by its column, a second one the other way round; cells without a number come last
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows].at(-1).cells;
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
// a link to a run opens it
function reveal() {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const around = target && target.closest("details");
  if (around && !around.open) { around.open = true; target.scrollIntoView(); }
}
addEventListener("hashchange", reveal);
reveal();
