"use strict";
// Learning curves and norms: bands over groups, and the chosen runs one by one on top of them.
const MOST_LINES = 60; // single runs drawn at once
const CURVES = ["train/loss", "test/loss", "train/accuracy", "test/accuracy"];
const ENDED = "1px,2px"; // dashes of a line most of whose runs have ended
const LOG_FROM = 20; // largest over least norm from which a panel is logarithmic

function rgba(hex, opacity) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}

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

function bandTraces(band, floor, dim) {
  const group = state.view.groups[band.group],
    x = Array.from(band.steps, atStep);
  const edge = (values) => ({
    x,
    y: values.map((value) => drawn(value, floor)),
    mode: "lines",
    line: { width: 0, color: group.color },
    hoverinfo: "skip",
    connectgaps: true,
  });
  const traces =
    group.runs.length > 1
      ? [edge(band.low), { ...edge(band.high), fill: "tonexty", fillcolor: rgba(group.color, dim ? 0.06 : 0.15) }]
      : [];
  const median = band.median.map((value) => drawn(value, floor));
  const line = (first, last, style, words) => ({
    x: x.slice(first, last),
    y: median.slice(first, last),
    customdata: Array.from(band.steps).slice(first, last),
    name: plain(group.label),
    meta: { group: band.group },
    mode: "lines",
    line: { color: group.color, width: dim ? 1.2 : 1.8, dash: group.dash, ...style },
    opacity: dim ? 0.25 : 1,
    connectgaps: true,
    hovertemplate: `step %{customdata:,}<br>median %{y:.4~g}${words}<extra>%{fullData.name}</extra>`,
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

function runTraces(runs, curves, floor) {
  const groups = groupOf();
  return runs.flatMap((run) => {
    const curve = curves.get(run),
      group = state.view.groups[groups[run]];
    if (!curve) return [];
    const rows = [...curve.values.keys()].filter((row) => curve.values[row] !== null);
    return [
      {
        x: rows.map((row) => atStep(curve.steps[row])),
        y: rows.map((row) => drawn(curve.values[row], floor)),
        meta: { run },
        customdata: rows.map((row) => [curve.steps[row], numberText(curve.values[row])]),
        name: plain(RUNS.id[run].slice(0, 8)),
        mode: "lines",
        line: { color: group ? group.color : INK, width: runs.length > 10 ? 1 : 1.5 },
        opacity: runs.length > 10 ? 0.6 : 1,
        hovertemplate: `step %{customdata[0]:,}<br>%{customdata[1]}<extra>%{fullData.name}</extra>`,
      },
    ];
  });
}

function clickCurve(point, event) {
  const { run, group } = point.data.meta || {};
  if (run !== undefined) choose([run], "curves", modifier(event));
  else if (group !== undefined) choose(state.view.groups[group].runs, "curves", modifier(event));
}

// A logarithmic axis of norms that vanish in a few runs shows the medians, the chosen runs, and a decade below.
function normRange(shown, highs) {
  const there = (values) => values.flat().filter((value) => value > 0 && isFinite(value));
  const low = there(shown).reduce((a, b) => Math.min(a, b), Infinity);
  const high = there([...shown, ...highs]).reduce((a, b) => Math.max(a, b), 0);
  return [Math.log10(low) - 1, Math.log10(high) + 0.1];
}

function curvePanel(metric, small) {
  const bands = bandsOf(state.view, metric),
    runs = chosenLines(),
    { name, norm } = DATA.metrics[metric];
  const curves = new Map(runs.map((run) => [run, runCurve(run, metric)]));
  const singles = [...curves.values()].filter(Boolean).map((curve) => curve.values);
  const values = [...bands.flatMap((band) => [band.low, band.median]), ...singles];
  let log = DATA.metrics[metric].log;
  if (norm) {
    const medians = bands.flatMap((band) => band.median).filter((value) => value !== null && isFinite(value));
    log = Math.min(...medians) > 0 && Math.max(...medians) > LOG_FROM * Math.min(...medians);
  }
  const floor = floorOf(values, log),
    dim = state.chosen.size > 0;
  const accuracy = name.endsWith("accuracy"),
    highs = bands.map((band) => band.high);
  const range = accuracy ? [-0.03, 1.03] : normRange([...bands.map((band) => band.median), ...singles], highs);
  return {
    data: [...bands.flatMap((band) => bandTraces(band, floor, dim)), ...runTraces(runs, curves, floor)],
    layout: {
      xaxis: stepAxis(small),
      yaxis: valueAxis(log, norm && log ? range.map((power) => 10 ** power) : [...values, ...highs].flat(), {
        ...(accuracy || (norm && log) ? { range } : {}),
        ...(small ? { nticks: 4 } : {}),
      }),
      margin: small ? { l: 42, r: 16, t: 6, b: 36 } : base().margin,
    },
    label: `${name} against log steps, median and band by ${state.view.name}`,
    click: clickCurve,
  };
}

function buildCurves() {
  const units = { loss: DATA.loss_unit ? ` (${DATA.loss_unit})` : "", accuracy: " (fraction)" };
  for (const name of CURVES) {
    const metric = metricAt(name);
    if (metric < 0) continue;
    addPanel(document.getElementById("curves"), name.replace("/", " ") + units[name.split("/")[1]], () =>
      curvePanel(metric, false),
    );
  }
  buildNorms();
}

// The matrices of the runs that are shown: arms can have different networks.
function buildNorms() {
  const parent = document.getElementById("norms");
  removePanels(parent);
  DATA.metrics.forEach((metric, place) => {
    if (!metric.norm || !state.view.bands.some((row) => row[1] === place)) return;
    addPanel(parent, metric.name === "norm/total" ? "all parameters" : metric.name.slice(5), () =>
      curvePanel(place, true),
    );
  });
}

function curveWords() {
  const note = state.view.note[0].toUpperCase() + state.view.note.slice(1);
  for (const place of document.querySelectorAll(".band")) place.textContent = note;
  for (const place of document.querySelectorAll(".steps"))
    place.textContent = "Steps are optimizer updates, on a log scale with 0 at its left end.";
  const all = chosenInScope().length,
    shown = chosenLines().length;
  const text = all
    ? `; thin lines: ${shown < all ? `${shown} of the ${all} chosen runs` : `the ${plural(all, "chosen run")}`}.`
    : ".";
  for (const place of document.querySelectorAll(".chosen-note")) place.textContent = text;
}
