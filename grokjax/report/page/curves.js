"use strict";
// Learning curves and norms: bands over groups, and the chosen runs one by one on top of them.
const MOST_LINES = 60; // single runs drawn at once
const MOST_TOLD = 8; // groups whose values are told in words
const ENDED = "1px,2px"; // dashes of a line most of whose runs have ended

// On a log scale 0 lies on the lowest line.
function drawn(value, floor) {
  return value === null || !isFinite(value) ? null : Math.max(value, floor);
}

function floorOf(curves, log) {
  if (!log) return -Infinity;
  let least = Infinity;
  for (const values of curves) for (const value of values) if (value > 0 && value < least) least = value;
  return isFinite(least) ? least : 1e-12;
}

function timeText(unit, place) {
  return unit === "step" ? `step ${place}` : `${place} ${UNITS[unit]}`;
}

function bandTraces(band, floor, dim, scale) {
  const group = state.view.groups[band.group],
    color = shade(group.colors),
    x = band.across.map((place) => atTime(scale, place));
  const edge = (values) => ({
    x,
    y: values.map((value) => drawn(value, floor)),
    mode: "lines",
    line: { width: 0, color },
    hoverinfo: "skip",
    connectgaps: true,
  });
  const traces =
    group.runs.length > 1
      ? [edge(band.low), { ...edge(band.high), fill: "tonexty", fillcolor: rgba(color, dim ? 0.06 : 0.15) }]
      : [];
  const median = band.median.map((value) => drawn(value, floor));
  const line = (first, last, style, words) => ({
    x: x.slice(first, last),
    y: median.slice(first, last),
    customdata: band.across.slice(first, last),
    name: plain(group.label),
    meta: { group: band.group },
    mode: "lines",
    line: { color, width: dim ? 1.2 : 1.8, dash: group.dash, ...style },
    opacity: dim ? 0.25 : 1,
    connectgaps: true,
    hovertemplate: `${timeText(scale.unit, "%{customdata:,.6~g}")}<br>median %{y:.4~g}${words}<extra>%{fullData.name}</extra>`,
  });
  const lines = [line(0, band.solid, {}, "")];
  if (band.solid < x.length)
    lines.push(line(Math.max(band.solid - 1, 0), x.length, { width: 1.2, dash: ENDED }, "<br>most runs have ended"));
  return [...traces, ...lines];
}

function chosenLines() {
  const runs = chosenInScope().filter((run) => DATA.curves[run]);
  if (runs.length <= MOST_LINES) return runs;
  return Array.from({ length: MOST_LINES }, (_, place) => runs[Math.floor((place * runs.length) / MOST_LINES)]);
}

function runTraces(runs, curves, floor, scale) {
  const groups = groupOf();
  return runs.flatMap((run) => {
    const curve = curves.get(run),
      group = state.view.groups[groups[run]],
      factor = scale.unit === "step" ? 1 : DATA.units[scale.unit][run];
    if (!curve) return [];
    const rows = [...curve.values.keys()].filter((row) => curve.values[row] !== null);
    return [
      {
        x: rows.map((row) => atTime(scale, curve.steps[row] * factor)),
        y: rows.map((row) => drawn(curve.values[row], floor)),
        meta: { run },
        customdata: rows.map((row) => [curve.steps[row] * factor, numberText(curve.values[row])]),
        name: plain(RUNS.id[run].slice(0, 8)),
        mode: "lines",
        line: { color: group ? shade(group.colors) : LOOK.ink, width: runs.length > 10 ? 1 : 1.5 },
        opacity: runs.length > 10 ? 0.6 : 1,
        hovertemplate: `${timeText(scale.unit, "%{customdata[0]:,.6~g}")}<br>%{customdata[1]}<extra>%{fullData.name}</extra>`,
      },
    ];
  });
}

function clickCurve(point, event) {
  const { run, group } = point.data.meta || {};
  if (run !== undefined) choose([run], "curves", modifier(event));
  else if (group !== undefined) choose(state.view.groups[group].runs, "curves", modifier(event));
}

// A logarithmic axis of what vanishes in a few runs shows the medians, the chosen runs, and a decade below.
function wideRange(shown, highs) {
  const there = (values) => values.flat().filter((value) => value > 0 && isFinite(value));
  const low = there(shown).reduce((a, b) => Math.min(a, b), Infinity);
  const high = there([...shown, ...highs]).reduce((a, b) => Math.max(a, b), 0);
  return [Math.log10(low) - 1, Math.log10(high) + 0.1];
}

// Losses, and what is positive and spans a wide range.
function isLogMetric(name, bands) {
  if (name.includes("loss") || name.endsWith("accuracy")) return name.includes("loss");
  const medians = bands.flatMap((band) => band.median).filter((value) => value !== null && isFinite(value));
  const least = medians.reduce((a, b) => Math.min(a, b), Infinity),
    most = medians.reduce((a, b) => Math.max(a, b), -Infinity);
  return least > 0 && most > LOG_FROM * least;
}

function curvePanel(metric, small) {
  const scale = shownTime(),
    bands = bandsOf(metric, scale.unit),
    runs = chosenLines(),
    { name } = DATA.metrics[metric];
  const curves = new Map(runs.map((run) => [run, runCurve(run, metric)]));
  const singles = [...curves.values()].filter(Boolean).map((curve) => curve.values);
  const values = [...bands.flatMap((band) => [band.low, band.median]), ...singles];
  const log = isLogMetric(name, bands),
    floor = floorOf(values, log),
    dim = state.chosen.size > 0;
  const accuracy = name.endsWith("accuracy"),
    wide = log && !name.includes("loss"),
    highs = bands.map((band) => band.high);
  const range = accuracy ? [-0.03, 1.03] : wideRange([...bands.map((band) => band.median), ...singles], highs);
  return {
    data: [
      ...bands.flatMap((band) => bandTraces(band, floor, dim, scale)),
      ...runTraces(runs, curves, floor, scale),
    ],
    layout: {
      xaxis: timeAxis(scale, small),
      yaxis: valueAxis(log, wide ? range.map((power) => 10 ** power) : [...values, ...highs].flat(), {
        ...(accuracy || wide ? { range } : {}),
        ...(small ? { nticks: 4 } : {}),
      }),
      margin: small ? { l: 46, r: 16, t: 6, b: 36 } : base().margin,
    },
    label: curveLabel(bands, scale, log),
    items: bandItems(bands, floor, scale),
    click: clickCurve,
  };
}

function bandItems(bands, floor, scale) {
  const lines = bands.map((band) => ({
    x: band.across.map((place) => atTime(scale, place)),
    y: band.median.map((value) => drawn(value, floor)),
    text: `${state.view.groups[band.group].label}: ${endsText(band)}`,
    runs: state.view.groups[band.group].runs,
  }));
  return lineItems(lines, "curves");
}

// Where a median begins and ends.
function endsText(band) {
  const there = band.median.filter((value) => value !== null);
  return there.length ? `median from ${numberText(there[0])} to ${numberText(there[there.length - 1])}` : "no record";
}

function curveLabel(bands, scale, log) {
  const told = bands.slice(0, MOST_TOLD).map((band) => `${state.view.groups[band.group].label}: ${endsText(band)}`);
  const rest = bands.length > MOST_TOLD ? [`and ${bands.length - MOST_TOLD} more`] : [];
  const axes = `Against ${UNITS[scale.unit]}${scale.log ? ", log" : ""}${log ? "; values log" : ""}`;
  return `${axes}. By ${state.view.name}: ${[...told, ...rest].join("; ")}.`;
}

// The matrices of the runs that are shown: arms can have different networks.
function buildNorms() {
  const parent = document.getElementById("norms");
  removePanels(parent);
  DATA.metrics.forEach((metric, place) => {
    if (!metric.norm || !hasBand(place)) return;
    const title = metric.name === "norm/total" ? "all parameters" : metric.name.slice(5);
    addPanel(parent, title, () => curvePanel(place, true), { zooms: true });
  });
}

function curveWords() {
  const note = state.view.note[0].toUpperCase() + state.view.note.slice(1);
  for (const place of document.querySelectorAll(".band")) place.textContent = note;
  const what = {
    step: "Steps are optimizer updates",
    epoch: "Epochs are steps times the batch over the train set",
    examples: "Examples seen are steps times the batch",
  }[state.unit];
  for (const place of document.querySelectorAll(".steps"))
    place.textContent = `${what}${state.log ? ", on a log scale with 0 at its left end" : ""}.`;
  const all = chosenInScope().length,
    shown = chosenLines().length;
  const text = all
    ? `; thin lines: ${shown < all ? `${shown} of the ${all} chosen runs` : `the ${plural(all, "chosen run")}`}.`
    : ".";
  for (const place of document.querySelectorAll(".chosen-note")) place.textContent = text;
}
