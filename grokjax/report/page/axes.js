"use strict";
// Axes: time (steps, epochs or examples) with room for 0, and values.
const UNITS = { step: "step", epoch: "epochs", examples: "examples seen" };
const ZERO_GAP = 2.5; // how far left of the first record 0 is drawn on a logarithmic axis, as a factor
const LOG_FROM = 20; // largest over least median from which a panel is logarithmic

function axis(more) {
  return {
    gridcolor: LOOK.line,
    linecolor: LOOK.axis,
    zeroline: false,
    ticks: "outside",
    ticklen: 3,
    tickcolor: LOOK.axis,
    automargin: false,
    ...more,
  };
}

// What a step is in a unit, over all runs: the least and the most.
function factorEnds(unit) {
  const factors = DATA.units[unit].filter((factor) => factor !== null);
  return [Math.min(...factors), Math.max(...factors)];
}

// The scale of what lies across: {unit, log, first, last, zero}; zero is where 0 is drawn.
function timeScale(unit, log) {
  const [least, most] = unit === "step" ? [1, 1] : factorEnds(unit);
  const first = DATA.first * least;
  return { unit, log, first, last: Math.max(DATA.last * most, 2 * first), zero: log ? first / ZERO_GAP : 0 };
}

const STEPS = timeScale("step", true);

function shownTime() {
  return timeScale(state.unit, state.log);
}

function atTime(scale, place) {
  return place > 0 ? place : scale.zero;
}

function atStep(step) {
  return atTime(STEPS, step);
}

function timeTicks(scale, small) {
  const ticks = [],
    wide = Math.log10(scale.last / scale.first);
  for (let power = -6; power < 15; power++) {
    const at = 10 ** power;
    if (at >= scale.first * 0.999 && at <= scale.last * 1.02 && (!small || wide < 4.5 || power % 2 === 0))
      ticks.push(at);
  }
  return ticks;
}

function timeTitle(scale) {
  return { text: UNITS[scale.unit] + (scale.log ? " (log)" : ""), standoff: 4, font: { size: 12, color: LOOK.soft } };
}

function timeAxis(scale, small, more) {
  if (!scale.log)
    return axis({ range: [0, scale.last], nticks: small ? 4 : 7, title: timeTitle(scale), ...more });
  const ticks = timeTicks(scale, small);
  return axis({
    type: "log",
    range: [Math.log10(scale.zero), Math.log10(scale.last * 1.05)],
    tickvals: [scale.zero, ...ticks],
    ticktext: ["0", ...ticks.map(stepsText)],
    title: timeTitle(scale),
    ...more,
  });
}

// Decades with their powers; below two decades also 2 and 5. Values: all that is drawn.
function logTicks(values) {
  const there = values.filter((value) => value > 0 && isFinite(value)).map(Math.log10);
  const low = there.reduce((a, b) => Math.min(a, b), there.length ? Infinity : 0),
    high = there.reduce((a, b) => Math.max(a, b), there.length ? -Infinity : 1);
  const few = high - low < 2,
    every = few ? 1 : Math.ceil((high - low) / 6),
    ticks = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    if (power % every === 0) for (const digit of few ? [1, 2, 5] : [1]) ticks.push([digit, power]);
  }
  return {
    tickvals: ticks.map(([digit, power]) => digit * 10 ** power),
    ticktext: ticks.map(([digit, power]) =>
      few || (power >= 0 && power < 3)
        ? numberText(Number((digit * 10 ** power).toPrecision(1)))
        : `10<sup>${power}</sup>`.replace("-", "−"),
    ),
  };
}

function valueAxis(log, values, more) {
  return axis(log ? { type: "log", ...logTicks(values), ...more } : { type: "linear", nticks: 5, ...more });
}
