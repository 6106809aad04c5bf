"use strict";
// What the page knows: the data, which view is shown, and which runs are chosen. Everything else is drawn from it.
const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;
const COUNT = RUNS.id.length;
const MISSING = -32768,
  ZERO = -32767,
  INFINITE = 32767,
  LARGEST = 32766;
const OUTCOMES = {
  generalized: ["generalized", "#009E73"],
  lost: ["generalized, then lost", "#CC79A7"],
  memorized: ["fit, not generalized", "#E69F00"],
  not_fit: ["not fit", "#8C8C8C"],
  diverged: ["diverged", "#D55E00"],
  ended: ["ended", "#8C8C8C"],
  running: ["still running", "#56B4E9"],
  planned: ["not begun", "#D0D3D6"],
};

// source: the picture or table in which the runs were chosen; a table does not filter itself.
const state = { view: DATA.views[0], chosen: new Set(), source: null };
const listeners = [];

function onChange(listener) {
  listeners.push(listener);
}

function changed(what) {
  for (const listener of listeners) listener(what);
}

function choose(runs, source, add) {
  const wanted = [...new Set(runs)];
  const same = wanted.length === state.chosen.size && wanted.every((run) => state.chosen.has(run));
  if (add) {
    const all = wanted.every((run) => state.chosen.has(run));
    for (const run of wanted) all ? state.chosen.delete(run) : state.chosen.add(run);
  } else state.chosen = new Set(same ? [] : wanted);
  state.source = state.chosen.size ? source : null;
  changed("chosen");
}

function showView(view) {
  state.view = view;
  changed("view");
}

function inScope(run) {
  return state.view.arm === null || RUNS.arms[run].includes(DATA.arms.indexOf(state.view.arm));
}

function scopeRuns() {
  return [...Array(COUNT).keys()].filter(inScope);
}

function chosenInScope() {
  return [...state.chosen].filter(inScope).sort((a, b) => a - b);
}

function groupOf() {
  const found = new Array(COUNT).fill(-1);
  state.view.groups.forEach((group, place) => {
    for (const run of group.runs) found[run] = place;
  });
  return found;
}

function bytes(text) {
  return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer;
}

const stepsRead = new Map();
function stepsAt(place) {
  if (!stepsRead.has(place)) stepsRead.set(place, new Uint32Array(bytes(DATA.steps[place])));
  return stepsRead.get(place);
}

// Codes as numbers; null is not recorded, 0 on a log scale is 0 or less.
function unpack(low, high, text, log) {
  const codes = new Int16Array(bytes(text));
  return Array.from(codes, (code) => {
    if (code === MISSING) return null;
    if (code === ZERO) {
      if (log) return 0;
    }
    if (code === INFINITE) return Infinity;
    const value = low + ((code + LARGEST) / (2 * LARGEST)) * (high - low);
    return log ? 10 ** value : value;
  });
}

// The curve of one run: {steps, values}, or null where it has none in the page.
function runCurve(run, metric) {
  const row = DATA.curves[run];
  const codes = row && row[1].find((one) => one[0] === metric);
  if (!codes) return null;
  return { steps: stepsAt(row[0]), values: unpack(codes[1], codes[2], codes[3], DATA.metrics[metric].log) };
}

// The band of a group in the present view: {group, steps, low, median, high, solid}; past its first `solid` points most
// of its runs have ended.
function bandsOf(view, metric) {
  return view.bands
    .filter((row) => row[1] === metric)
    .map((row) => {
      const values = unpack(row[3], row[4], row[5], DATA.metrics[metric].log),
        count = values.length / 3;
      const [low, median, high] = [0, 1, 2].map((place) => values.slice(place * count, (place + 1) * count));
      return { group: row[0], steps: stepsAt(row[2]), low, median, high, solid: row[6] };
    });
}

function metricAt(name) {
  return DATA.metrics.findIndex((metric) => metric.name === name);
}

function numberText(value) {
  if (value === null || value === undefined) return "";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  return size >= 1e-3 && size < 1e5 ? String(Number(value.toPrecision(4))) : value.toExponential(2).replace("e+", "e");
}

function stepsText(value) {
  for (const [size, letter] of [
    [1e6, "M"],
    [1e3, "k"],
  ]) {
    if (value >= size && value >= 1e4) return Number((value / size).toPrecision(3)) + letter;
  }
  return String(Math.round(value));
}

function runLabel(run) {
  const parts = DATA.columns
    .filter((column) => column.texts[run] !== "none")
    .map((column) => `${column.name} ${column.texts[run]}`);
  return [
    `run ${RUNS.id[run].slice(0, 8)}`,
    ...(DATA.arms.length > 1 ? [DATA.arms[RUNS.arm[run]]] : []),
    ...parts,
    `seed ${RUNS.seed[run]}`,
  ].join(", ");
}

function plural(count, word) {
  return `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;
}
