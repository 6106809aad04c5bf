"use strict";
// What the page knows: the data, which view is shown, and which runs are chosen. Everything else is drawn from it.
const DATA = JSON.parse(document.getElementById("data").textContent);
const RUNS = DATA.runs;
const COUNT = RUNS.id.length;
const MISSING = -32768,
  ZERO = -32767,
  INFINITE = 32767,
  LARGEST = 32766;
const OUTCOMES = new Map(DATA.outcomes.map((outcome) => [outcome.name, outcome]));
const MAIN = { views: DATA.views, curves: DATA.curves, steps: DATA.steps, places: DATA.places };
const OPENED = ["train/loss", "test/loss", "train/accuracy", "test/accuracy"]; // curves that are shown at first
let MORE = null; // the same of the metrics that the page unpacks when one of them is asked for

// source: the picture or table in which the runs were chosen; a table does not filter itself.
// unit, log: what lies across the curves. metrics: those of the learning curves. zoom: title of a panel -> [x, y] ranges.
const state = {
  view: DATA.views[0],
  chosen: new Set(),
  source: null,
  unit: "step",
  log: true,
  metrics: OPENED.filter((name) => metricAt(name) >= 0),
  zoom: new Map(),
};
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

function isGoing(run) {
  return OUTCOMES.get(RUNS.outcome[run]).going;
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

const numbersRead = new Map();
function numbersOf(texts, place, kind) {
  if (!numbersRead.has(texts)) numbersRead.set(texts, new Map());
  const read = numbersRead.get(texts);
  if (!read.has(place)) read.set(place, new kind(bytes(texts[place])));
  return read.get(place);
}

function isFirst(metric) {
  return metric < DATA.opened;
}

// Where a metric's numbers are: those that the page opened with, or the unpacked ones.
function packed(metric) {
  return isFirst(metric) ? MAIN : MORE;
}

// Unpacks all metrics that the page did not open with. Rejects in a browser that cannot.
async function unpackMore() {
  if (MORE) return;
  const text = bytes(document.getElementById("more").textContent);
  const stream = new Blob([text]).stream().pipeThrough(new DecompressionStream("deflate"));
  MORE = JSON.parse(await new Response(stream).text());
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
  const from = packed(metric),
    row = from.curves && from.curves[run];
  const codes = row && row[1].find((one) => one[0] === metric);
  if (!codes) return null;
  const steps = numbersOf(from.steps, row[0], Uint32Array);
  return { steps, values: unpack(codes[1], codes[2], codes[3], DATA.metrics[metric].log) };
}

// The bands of all groups in the present view: {group, across, low, median, high, solid}; past its first `solid` points
// most of its runs have ended. across: in the unit, a multiple of steps unless a group's runs differ in it.
function bandsOf(metric, unit) {
  const from = packed(metric),
    view = from.views[DATA.views.indexOf(state.view)],
    factors = state.view.groups.map((group) => groupFactor(group, unit));
  const of = (rows, across) => rows.filter((row) => row[1] === metric).map((row) => bandOf(row, across(row), metric));
  const scaled = (row) => Array.from(numbersOf(from.steps, row[2], Uint32Array), (step) => step * factors[row[0]]);
  const steps = view.bands.filter((row) => factors[row[0]] !== null);
  if (unit === "step") return of(steps, scaled);
  return [...of(steps, scaled), ...of(view.timed[unit], (row) => Array.from(numbersOf(from.places, row[2], Float32Array)))];
}

function bandOf(row, across, metric) {
  const values = unpack(row[3], row[4], row[5], DATA.metrics[metric].log),
    count = values.length / 3;
  const [low, median, high] = [0, 1, 2].map((place) => values.slice(place * count, (place + 1) * count));
  return { group: row[0], across, low, median, high, solid: row[6] };
}

// How many of a unit a step is; null where runs of the group differ in it.
function groupFactor(group, unit) {
  if (unit === "step") return 1;
  const factors = new Set(group.runs.map((run) => DATA.units[unit][run]));
  return factors.size === 1 ? [...factors][0] : null;
}

function hasBand(metric) {
  return packed(metric).views[DATA.views.indexOf(state.view)].bands.some((row) => row[1] === metric);
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

function wholeText(value) {
  return Math.round(value).toLocaleString("en");
}

function stepsText(value) {
  for (const [size, letter] of [
    [1e6, "M"],
    [1e3, "k"],
  ]) {
    if (value >= size && value >= 1e4) return Number((value / size).toPrecision(3)) + letter;
  }
  return value >= 1 || value === 0 ? String(Math.round(value)) : String(Number(value.toPrecision(1)));
}

function runLabel(run) {
  const parts = DATA.columns
    .filter((column) => column.texts[run] !== "")
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
