"use strict";
// The keyboard in a picture: Tab comes to it, arrow keys go from point to point (cell to cell, line to line), Enter or
// Space chooses, with Shift in addition. A ring shows where one is, and what is there is told.
// An item: {x, y, text, choose(add)}, x and y as in the picture's data. made.grid: items lie in rows.
const HINT = "arrow keys go through what is drawn, Enter chooses";

function addKeys(frame, plot, panel) {
  const told = element("div", { class: "told", role: "status" }),
    ring = element("div", { class: "ring", "aria-hidden": "true" });
  const keys = element("div", { class: "keys", role: "group", "aria-label": `${panel.title}: ${HINT}` });
  keys.append(ring, told);
  frame.append(keys);
  panel.keys = { keys, ring, told, at: 0 };
  keys.addEventListener("focus", () => showItem(plot, panel));
  keys.addEventListener("blur", () => (told.textContent = ""));
  keys.addEventListener("keydown", (event) => pressed(event, plot, panel));
}

function keysChanged(panel) {
  const count = (panel.made.items || []).length;
  if (count) panel.keys.keys.setAttribute("tabindex", "0");
  else panel.keys.keys.removeAttribute("tabindex");
  panel.keys.at = Math.min(panel.keys.at, Math.max(count - 1, 0));
}

function pressed(event, plot, panel) {
  const items = panel.made.items || [],
    moves = { ArrowRight: ["x", 1], ArrowLeft: ["x", -1], ArrowUp: ["y", 1], ArrowDown: ["y", -1] };
  if (!items.length) return;
  if (event.key === "Enter" || event.key === " ") items[panel.keys.at].choose(modifier(event));
  else if (event.key in moves) panel.keys.at = neighbor(items, panel.keys.at, ...moves[event.key], panel.made.grid);
  else return;
  event.preventDefault();
  showItem(plot, panel);
}

// The next item along an axis: in a grid of its row or column, else of all in the order of that axis.
function neighbor(items, at, along, way, grid) {
  const other = along === "x" ? "y" : "x",
    [major, minor] = grid ? [other, along] : [along, other];
  const order = [...items.keys()].sort(
    (a, b) => items[a][major] - items[b][major] || items[a][minor] - items[b][minor] || a - b,
  );
  const next = order.indexOf(at) + way;
  return order[(next + order.length) % order.length];
}

function showItem(plot, panel) {
  const item = (panel.made.items || [])[panel.keys.at];
  if (!item) return;
  const { xaxis, yaxis } = plot._fullLayout;
  panel.keys.ring.style.left = `${xaxis._offset + xaxis.d2p(item.x)}px`;
  panel.keys.ring.style.top = `${yaxis._offset + yaxis.d2p(item.y)}px`;
  panel.keys.told.textContent = item.text;
}

// Items of lines: each at a point of it. lines: [{x, y, text, runs}], x and y arrays.
function lineItems(lines, source) {
  return lines.flatMap(({ x, y, text, runs }) => {
    const rows = [...y.keys()].filter((row) => y[row] !== null && isFinite(y[row]));
    if (!rows.length) return [];
    const row = rows[Math.floor(rows.length * 0.6)];
    return [{ x: x[row], y: y[row], text, choose: (add) => choose(runs, source, add) }];
  });
}
