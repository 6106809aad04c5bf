"use strict";
// Panels: a heading and a Plotly picture, drawn when it comes near the screen, so that the page opens at once.
const INK = "#1a1a1a",
  SOFT = "#5f6368",
  LINE = "#e6e8eb";
const TOUCH = matchMedia("(pointer: coarse)").matches; // dragging scrolls the page there
const CONFIG = {
  displayModeBar: false,
  displaylogo: false,
  responsive: true,
  doubleClick: "reset",
  plotlyServerURL: "",
  showTips: false,
};
const panels = new Map(); // element -> what draws it
const near = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const panel = panels.get(entry.target);
      if (!panel) continue;
      panel.near = entry.isIntersecting;
      if (panel.near && panel.stale) drawPanel(entry.target, panel);
    }
  },
  { rootMargin: "300px" },
);

// Plotly reads a little HTML in its texts; what comes from a file is none.
function plain(text) {
  return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "class") made.className = value;
    else made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// make: () -> {data, layout, label, click(point, event), select(points)}
function addPanel(parent, title, make) {
  const plot = element("div", { class: "plot", role: "img" });
  parent.append(element("div", { class: "panel" }, ...(title ? [element("h4", {}, title)] : []), plot));
  panels.set(plot, { make, title, stale: true, near: false, bound: false });
  near.observe(plot);
  return plot;
}

function removePanels(parent) {
  for (const plot of parent.querySelectorAll(".plot")) {
    near.unobserve(plot);
    panels.delete(plot);
    Plotly.purge(plot);
  }
  parent.replaceChildren();
}

function drawPanel(plot, panel) {
  panel.stale = false;
  const made = panel.make();
  panel.made = made;
  plot.setAttribute("aria-label", made.label || panel.title || "");
  Plotly.react(plot, made.data, { ...base(), ...made.layout }, CONFIG);
  if (panel.bound) return;
  panel.bound = true;
  plot.on("plotly_click", (event) => panel.made.click && panel.made.click(event.points[0], event.event));
  plot.on("plotly_selected", (event) => {
    if (event && event.points && event.points.length && panel.made.select) panel.made.select(event.points);
  });
}

function redraw(parent) {
  for (const [plot, panel] of panels) {
    if (parent && !parent.contains(plot)) continue;
    panel.stale = true;
    if (panel.near) drawPanel(plot, panel);
  }
}

function base() {
  return {
    margin: { l: 52, r: 20, t: 8, b: 40 },
    paper_bgcolor: "#fff",
    plot_bgcolor: "#fff",
    showlegend: false,
    hovermode: "closest",
    font: { family: "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif", size: 12, color: INK },
    dragmode: TOUCH ? false : "zoom",
    hoverlabel: { bgcolor: "#fff", bordercolor: SOFT, font: { color: INK, size: 12 }, align: "left" },
  };
}

function axis(more) {
  return {
    gridcolor: LINE,
    linecolor: "#9aa0a6",
    zeroline: false,
    ticks: "outside",
    ticklen: 3,
    tickcolor: "#9aa0a6",
    automargin: false,
    ...more,
  };
}

// Logarithmic steps; step 0 is drawn at the left end.
const ZERO_AT = DATA.first / 2.5;
function atStep(step) {
  return step > 0 ? step : ZERO_AT;
}

function stepTicks(small) {
  const ticks = [],
    wide = Math.log10(Math.max(DATA.last, 10) / DATA.first);
  for (let power = 0; power < 12; power++) {
    const at = 10 ** power;
    if (at >= DATA.first && at <= DATA.last * 1.02 && (!small || wide < 4.5 || power % 2 === 0)) ticks.push(at);
  }
  return ticks;
}

function stepTitle() {
  return { text: "step", standoff: 4, font: { size: 12, color: SOFT } };
}

function stepAxis(small, more) {
  const ticks = stepTicks(small),
    right = Math.max(DATA.last, DATA.first * 2);
  return axis({
    type: "log",
    range: [Math.log10(ZERO_AT), Math.log10(right * 1.05)],
    tickvals: [ZERO_AT, ...ticks],
    ticktext: ["0", ...ticks.map(stepsText)],
    title: stepTitle(),
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

const modifier = (event) => Boolean(event && (event.shiftKey || event.ctrlKey || event.metaKey));
