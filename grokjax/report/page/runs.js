"use strict";
// Pictures in which a point is a run: outcomes, times, and how many have generalized.
const SYMBOLS = { generalized: "circle", lost: "diamond", diverged: "x" };
const SLUNG = {
  text: "with slingshots",
  meaning: "had a spike of a train loss that was long flat",
  colors: ["#0072B2", "#56B4E9"],
};

function buildOutcomes() {
  const parent = document.getElementById("outcomes"),
    counts = new Map();
  for (const run of scopeRuns()) {
    const name = RUNS.outcome[run];
    counts.set(name, [...(counts.get(name) || []), run]);
  }
  const slung = scopeRuns().filter((run) => RUNS.slingshots[run] > 0);
  const rows = DATA.outcomes.filter(({ name }) => counts.has(name)).map((row) => [row, counts.get(row.name)]);
  if (slung.length) rows.push([SLUNG, slung]);
  parent.replaceChildren(...rows.map(([row, runs]) => outcomeRow(row, runs)));
}

function outcomeRow({ text, meaning, colors }, runs) {
  const all = scopeRuns().length || 1,
    on = runs.filter((run) => state.chosen.has(run)).length,
    color = shade(colors);
  const bar = element("span", { class: "bar" }),
    fill = element("i"),
    part = element("i");
  fill.style.cssText = `width:${(100 * runs.length) / all}%;background:${rgba(color, state.chosen.size ? 0.3 : 1)}`;
  part.style.cssText = `width:${(100 * on) / all}%;background:${color}`;
  bar.append(fill, part);
  const count = state.chosen.size ? `${on} of ${runs.length}` : String(runs.length);
  const button = element(
    "button",
    { type: "button", title: `${text}: ${meaning}`, "aria-pressed": String(on === runs.length) },
    element("span", { class: "name" }, text),
    bar,
    element("span", { class: "count" }, count),
    element("span", { class: "meaning" }, meaning),
  );
  button.addEventListener("click", (event) => choose(runs, "outcomes", modifier(event)));
  return button;
}

function isOpen(point) {
  return (point.symbol || "").endsWith("-open");
}

// One trace a group; a point's customdata begins with its run. chosen: points that stay bright.
function pointTraces(points, marker) {
  const groups = groupOf(),
    some = state.chosen.size > 0;
  return state.view.groups.map((group, place) => {
    const own = points.filter((point) => groups[point.run] === place);
    return {
      x: own.map((point) => point.x),
      y: own.map((point) => point.y),
      customdata: own.map((point) => [point.run, point.text]),
      name: plain(group.label),
      mode: "markers",
      type: "scatter",
      marker: {
        color: shade(group.colors),
        size: 8,
        line: {
          color: own.map((point) => (isOpen(point) ? shade(group.colors) : LOOK.paper)),
          width: own.map((point) => (isOpen(point) ? 1.5 : 0.5)),
        },
        symbol: own.map((point) => point.symbol || "circle"),
        ...marker,
      },
      selectedpoints: some ? own.flatMap((point, row) => (state.chosen.has(point.run) ? [row] : [])) : null,
      selected: { marker: { opacity: 1, size: 10 } },
      unselected: { marker: { opacity: 0.1 } },
      hovertemplate: "%{customdata[1]}<extra></extra>",
      cliponaxis: false,
    };
  });
}

// items of points, see keys.js.
function pointItems(points, source) {
  return points.map(({ x, y, run, text }) => ({
    x,
    y,
    text: text.replace(/<br>/g, "; "),
    choose: (add) => choose([run], source, add),
  }));
}

function clicksOf(source) {
  return {
    click: (point, event) => point.customdata && choose([point.customdata[0]], source, modifier(event)),
    select: (points) =>
      choose(
        points.filter((point) => point.customdata).map((point) => point.customdata[0]),
        source,
        false,
      ),
  };
}

const NEVER = 10 ** (Math.log10(Math.max(DATA.last, 10)) + 0.3);

function reachedAt(step) {
  return step === null ? NEVER : atStep(step);
}

// An axis of steps about the values, with a place for never where a run has it.
function reachAxis(values, title) {
  const low = Math.log10(Math.min(...values, DATA.last)),
    high = Math.log10(Math.max(...values, STEPS.zero));
  const pad = Math.max(0.05 * (high - low), 0.1),
    ticks = [];
  const digits = high - low < 0.5 ? [1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 4, 5, 6, 8] : high - low < 1.7 ? [1, 2, 5] : [1];
  for (let power = Math.floor(low); power <= high; power++) for (const digit of digits) ticks.push(digit * 10 ** power);
  const inside = ticks.filter((tick) => tick >= DATA.first && tick <= DATA.last * 1.02);
  return axis({
    type: "log",
    range: [low - pad, high + pad],
    tickvals: [STEPS.zero, ...inside, NEVER],
    ticktext: ["0", ...inside.map(stepsText), "never"],
    title: { text: title, standoff: 6, font: { size: 12, color: LOOK.soft } },
  });
}

function whenText(did, step) {
  return step === null ? `never ${did}` : `${did} at step ${numberText(step)}`;
}

function timesPanel() {
  const reached = (run) => RUNS.fit_step[run] !== null || !isGoing(run);
  const points = scopeRuns()
    .filter(reached)
    .map((run) => ({
      run,
      x: reachedAt(RUNS.fit_step[run]),
      y: reachedAt(RUNS.generalization_step[run]),
      symbol:
        RUNS.generalization_step[run] === null && RUNS.outcome[run] !== "diverged"
          ? "triangle-up-open"
          : SYMBOLS[RUNS.outcome[run]],
      text:
        plain(runLabel(run)) +
        `<br>${OUTCOMES.get(RUNS.outcome[run]).text}: ` +
        [whenText("fit", RUNS.fit_step[run]), whenText("generalized", RUNS.generalization_step[run])].join(", "),
    }));
  const line = (shape) => ({
    type: "line",
    layer: "below",
    line: { color: LOOK.axis, width: 1, dash: "dot" },
    ...shape,
  });
  return {
    data: pointTraces(points, { opacity: 0.8 }),
    label: timesLabel(points),
    items: pointItems(points, "times"),
    ...clicksOf("times"),
    layout: {
      xaxis: reachAxis(
        points.map((point) => point.x),
        "step of fit",
      ),
      yaxis: reachAxis(
        points.map((point) => point.y),
        "step of generalization",
      ),
      dragmode: TOUCH ? false : "select",
      margin: { l: 64, r: 16, t: 8, b: 44 },
      shapes: [line({ x0: STEPS.zero, y0: STEPS.zero, x1: DATA.last, y1: DATA.last })],
    },
  };
}

// As `grokjax.analysis.median_text`: k of n, and the median over all of them.
function reachedText(runs, field, did) {
  const { median, reached, count } = censoredMedian(runs.map((run) => RUNS[field][run])),
    head = `${reached} of ${count} ${did}`;
  if (!reached) return head;
  return median === null
    ? `${head}, median step not reached: fewer than half did`
    : `${head}, median step ${wholeText(median)}`;
}

function timesLabel(points) {
  const runs = points.map((point) => point.run);
  const words = [reachedText(runs, "fit_step", "fit"), reachedText(runs, "generalization_step", "generalized")];
  return `A point a run: step of generalization against step of fit. ${words.join("; ")}.`;
}

// How many of a group's runs have generalized by a step; runs that have not ended are left out.
function sharePanel() {
  const some = state.chosen.size > 0;
  const data = state.view.groups.flatMap((group, place) => {
    const runs = endedOf(group);
    const steps = runs
      .map((run) => RUNS.generalization_step[run])
      .filter((step) => step !== null)
      .sort((a, b) => a - b);
    if (!runs.length) return [];
    const x = [0, ...steps, DATA.last],
      share = (count) => count / runs.length,
      on = group.runs.some((run) => state.chosen.has(run));
    return [
      {
        x: x.map(atStep),
        y: [0, ...steps.map((_, row) => share(row + 1)), share(steps.length)],
        mode: "lines",
        meta: { group: place },
        name: plain(group.label),
        customdata: x,
        line: { color: shade(group.colors), width: 1.8, dash: group.dash, shape: "hv" },
        opacity: some && !on ? 0.15 : 1,
        hovertemplate: `%{y:.0%} of ${runs.length} by step %{customdata:,}<extra>%{fullData.name}</extra>`,
      },
    ];
  });
  const groups = data.map((trace) => state.view.groups[trace.meta.group]),
    words = groups.map((group) => `${group.label}: ${reachedText(endedOf(group), "generalization_step", "generalized")}`);
  const lines = data.map(({ x, y }, place) => ({ x, y, text: words[place], runs: groups[place].runs }));
  return {
    data,
    label: `Against steps, log. ${words.slice(0, MOST_TOLD).join("; ")}.`,
    items: lineItems(lines, "curves"),
    click: clickCurve,
    layout: { xaxis: timeAxis(STEPS, false), yaxis: valueAxis(false, [], { range: [-0.03, 1.03], tickformat: ".0%" }) },
  };
}

function endedOf(group) {
  return group.runs.filter((run) => !isGoing(run));
}
