"use strict";
// Slingshots: every one as a point, and those of one run from near.
const SPIKES = DATA.events.kind.flatMap((kind, place) => (kind === "slingshot" ? [place] : []));

function slungRuns(runs) {
  return runs.filter((run) => RUNS.slingshots[run] > 0);
}

function spikePanel(field, title, log) {
  const own = SPIKES.filter((place) => inScope(DATA.events.run[place]) && DATA.events[field][place] !== null);
  const points = own.map((place) => ({
    run: DATA.events.run[place],
    x: atStep(DATA.events.step[place]),
    y: DATA.events[field][place],
    text:
      plain(runLabel(DATA.events.run[place])) +
      `<br>slingshot at step ${DATA.events.step[place]}, train loss up to ${numberText(DATA.events.value[place])}`,
  }));
  return {
    data: pointTraces(points, { size: own.length > 400 ? 5 : 7 }),
    label: spikeLabel(title, points),
    items: pointItems(points, "slingshots"),
    ...clicksOf("slingshots"),
    layout: {
      xaxis: timeAxis(STEPS, false),
      yaxis: valueAxis(
        log,
        points.map((point) => point.y),
        field === "norm_jump" ? { tickformat: ".0%" } : {},
      ),
      dragmode: TOUCH ? false : "select",
    },
  };
}

function spikeLabel(title, points) {
  const values = points.map((point) => point.y),
    ends = values.length ? `, from ${numberText(Math.min(...values))} to ${numberText(Math.max(...values))}` : "";
  return `A point a slingshot, against steps, log: ${title} of ${plural(points.length, "slingshot")}${ends}.`;
}

// The chosen run with slingshots, or the one that has most.
function shownRun() {
  const chosen = chosenInScope().find((run) => RUNS.slingshots[run] > 0 && DATA.curves[run]);
  if (chosen !== undefined) return chosen;
  const some = scopeRuns().filter((run) => RUNS.slingshots[run] > 0 && DATA.curves[run]);
  return some.length ? some.reduce((best, run) => (RUNS.slingshots[run] > RUNS.slingshots[best] ? run : best)) : null;
}

// One run's curves on plain steps, every slingshot marked. names: of a run, the metrics to draw.
function anatomyPanel(names, log) {
  const run = shownRun();
  const curves = names(run).map((name) => ({ name, curve: runCurve(run, metricAt(name)) }));
  const there = curves.filter((one) => one.curve);
  const values = there.map((one) => one.curve.values);
  const floor = floorOf(values, log);
  const steps = SPIKES.filter((place) => DATA.events.run[place] === run).map((place) => DATA.events.step[place]);
  return {
    data: there.map((one) => anatomyTrace(one.name, one.curve, floor, log)),
    layout: {
      xaxis: axis({ title: timeTitle({ unit: "step", log: false }), nticks: 6, rangemode: "tozero" }),
      yaxis: valueAxis(log, values.flat()),
      shapes: steps.map((step) => {
        const line = { color: LOOK.mark, width: 1 };
        return { type: "line", yref: "paper", y0: 0, y1: 1, x0: step, x1: step, layer: "below", line };
      }),
    },
    label: `${plural(steps.length, "slingshot")} of ${runLabel(run)}, at step ${steps.slice(0, 12).join(", ")}.`,
  };
}

// The largest loss since the record before counts for all steps from there on.
function anatomyTrace(name, curve, floor, log) {
  const pale = name === "train/loss_max";
  return {
    x: Array.from(curve.steps),
    y: curve.values.map((value) => drawn(value, floor)),
    mode: "lines",
    line: { color: pale ? LOOK.pale_line : log ? shade(SLUNG.colors) : LOOK.ink, width: 1.4, shape: pale ? "vh" : "linear" },
    connectgaps: true,
    name: plain(name),
    hovertemplate: "step %{x:,}<br>%{y:.4~g}<extra>%{fullData.name}</extra>",
  };
}

function buildSlingshots() {
  const parent = document.getElementById("slingshots"),
    anatomy = document.getElementById("anatomy");
  removePanels(parent);
  removePanels(anatomy);
  if (slungRuns(scopeRuns()).length) {
    addPanel(parent, "Spike of the train loss", () => spikePanel("value", "largest train loss", true));
    addPanel(parent, "Jump of the last layer’s norm", () =>
      spikePanel("norm_jump", "relative change of the last layer's norm", false),
    );
  }
  if (shownRun() !== null) {
    addPanel(anatomy, "Train loss, and its largest value since the record before (pale)", () =>
      anatomyPanel(() => ["train/loss_max", "train/loss"], true),
    );
    addPanel(anatomy, "Norm of the last layer", () => anatomyPanel((run) => [RUNS.last_layer[run]], false));
  }
  slingshotWords();
}

function slingshotWords() {
  const runs = scopeRuns(),
    slung = slungRuns(runs),
    run = slung.length ? shownRun() : null;
  const count = slung.reduce((sum, run) => sum + RUNS.slingshots[run], 0);
  const words = `${slung.length} of ${plural(runs.length, "run")} slingshot, ${plural(count, "time")} in all.`;
  const what = "how high the train loss rose, and by how much the last layer’s norm grew within 200 steps";
  document.getElementById("slingshot-words").textContent = slung.length
    ? `${words} One point a slingshot: ${what}.`
    : `No slingshot was found in ${plural(runs.length, "run")}.`;
  const many = run === null ? "" : plural(RUNS.slingshots[run], "slingshot");
  const near = `From near: ${run === null ? "" : runLabel(run)}, ${many} (orange lines).`;
  document.getElementById("anatomy-words").textContent =
    run === null ? "" : `${near} Choose another run to see it here.`;
}
