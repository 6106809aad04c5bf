"use strict";
// What is shown, as the part of the address behind #, so that a link opens the same.
const LEAST_ID = 4; // characters of a run's id in a link

// As few characters as tell all runs apart.
const ID_LENGTH = (() => {
  let length = LEAST_ID;
  while (length < 12 && new Set(RUNS.id.map((id) => id.slice(0, length))).size < COUNT) length++;
  return length;
})();

function linkOf(tables) {
  const link = new URLSearchParams(),
    view = state.view;
  if (DATA.views.indexOf(view)) {
    if (view.arm !== null) link.set("arm", view.arm);
    link.set("color", view.name);
  }
  if (state.unit !== "step") link.set("across", state.unit);
  if (!state.log) link.set("scale", "linear");
  if (state.metrics.join() !== OPENED.filter((name) => metricAt(name) >= 0).join())
    link.set("metrics", state.metrics.join(" "));
  if (state.chosen.size) link.set("runs", [...state.chosen].map((run) => RUNS.id[run].slice(0, ID_LENGTH)).join(" "));
  for (const [arm, [x, y]] of phaseAxes) {
    if (defaultAxes(DATA.axes[arm]).join() !== [x, y].join()) link.append("phase", `${arm} ${x} ${y}`);
  }
  for (const table of tables) {
    table.filters.forEach((text, place) => {
      if (text.trim()) link.set(`${table.source}.filter.${table.columns[place].name}`, text.trim());
    });
    if (table.sort !== null) link.set(`${table.source}.sort`, (table.down ? "-" : "") + table.columns[table.sort].name);
  }
  for (const [title, ranges] of state.zoom) link.append("zoom", `${ranges.flat().join(" ")} ${title}`);
  return link.toString();
}

function keepLink(tables) {
  const link = linkOf(tables);
  if (link !== location.hash.slice(1)) history.replaceState(null, "", link ? `#${link}` : location.pathname + location.search);
}

// Whether what stands behind # is a state and no place of the page.
function isLink(hash) {
  return hash.includes("=");
}

async function restore(hash, tables) {
  const link = new URLSearchParams(isLink(hash) ? hash.slice(1) : "");
  const arm = link.get("arm"),
    found = DATA.views.find((view) => [view.arm, null].includes(arm) && view.name === link.get("color"));
  state.view = found || DATA.views[0];
  state.unit = link.get("across") in DATA.units ? link.get("across") : "step";
  state.log = link.get("scale") !== "linear";
  const wanted = new Set((link.get("runs") || "").split(" ").filter(Boolean));
  state.chosen = new Set(RUNS.id.flatMap((id, run) => (wanted.has(id.slice(0, ID_LENGTH)) ? [run] : [])));
  state.source = null;
  restorePhases(link.getAll("phase"));
  restoreZoom(link.getAll("zoom"));
  for (const table of tables) restoreTable(table, ...tableParts(link, table.source));
  const metrics = link.has("metrics") ? link.get("metrics").split(" ") : OPENED;
  await showMetrics(metrics);
  changed("view");
}

function restorePhases(texts) {
  phaseAxes.clear();
  for (const text of texts) {
    const [arm, x, y] = text.split(" ").map(Number),
      axes = DATA.axes[arm];
    if (axes && axes[x] && (y === -1 || axes[y])) phaseAxes.set(arm, [x, y]);
  }
}

function restoreZoom(texts) {
  state.zoom.clear();
  for (const text of texts) {
    const parts = text.split(" "),
      ends = parts.slice(0, 4).map(Number);
    if (ends.every(isFinite)) state.zoom.set(parts.slice(4).join(" "), [ends.slice(0, 2), ends.slice(2)]);
  }
}

// Filters by the names of their columns, the column that sorts, and whether downwards.
function tableParts(link, source) {
  const begin = `${source}.filter.`,
    sort = link.get(`${source}.sort`) || "",
    filters = [...link].filter(([name]) => name.startsWith(begin));
  return [
    new Map(filters.map(([name, text]) => [name.slice(begin.length), text])),
    sort.replace(/^-/, ""),
    sort.startsWith("-"),
  ];
}
