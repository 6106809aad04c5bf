"use strict";
// Panels: a heading and a Plotly picture. Those near the screen are drawn at once, the others while nothing else goes on,
// so that the page opens at once and a picture of the whole page has all of them.
const TOUCH = matchMedia("(pointer: coarse)").matches; // dragging scrolls the page there
const NEAR = 300; // pixels beyond the screen that count as near
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
  { rootMargin: `${NEAR}px` },
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

// make: () -> {data, layout, label, items, click(point, event), select(points)}. label: what is seen, in words. items:
// what the keyboard reaches, see keys.js. options: level of the heading; zooms: whether a zoom is kept; more: elements
// beside the heading.
function addPanel(parent, title, make, options) {
  const { level, zooms, more } = { level: "h3", zooms: false, more: [], ...options };
  const plot = element("div", { class: "plot", role: "img", "aria-label": title }),
    frame = element("div", { class: "frame" }, plot);
  const panel = { make, title, zooms, stale: true, near: false, bound: false };
  parent.append(
    element("div", { class: "panel" }, element("div", { class: "title" }, element(level, {}, title), ...more), frame),
  );
  panels.set(plot, panel);
  addKeys(frame, plot, panel);
  near.observe(plot);
  drawLater();
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
  plot.setAttribute("aria-label", `${panel.title}. ${made.label || ""}`);
  const layout = { ...base(), ...made.layout },
    zoom = panel.zooms && state.zoom.get(panel.title);
  if (zoom)
    for (const [name, range] of [
      ["xaxis", zoom[0]],
      ["yaxis", zoom[1]],
    ])
      layout[name] = { ...layout[name], range };
  Plotly.react(plot, made.data, layout, CONFIG);
  keysChanged(panel);
  if (!panel.bound) bindPanel(plot, panel);
}

function bindPanel(plot, panel) {
  panel.bound = true;
  plot.on("plotly_click", (event) => panel.made.click && panel.made.click(event.points[0], event.event));
  plot.on("plotly_selected", (event) => {
    if (event && event.points && event.points.length && panel.made.select) panel.made.select(event.points);
  });
  if (!panel.zooms) return;
  plot.on("plotly_relayout", (event) => {
    if (!Object.keys(event).some((name) => name.startsWith("xaxis.range") || name.startsWith("yaxis.range"))) return;
    keepZoom(plot, panel);
  });
  plot.on("plotly_doubleclick", () => resetZoom(panel.title));
}

function keepZoom(plot, panel) {
  const { xaxis, yaxis } = plot._fullLayout;
  state.zoom.set(
    panel.title,
    [xaxis, yaxis].map((one) => one.range.map((end) => Number(end.toPrecision(5)))),
  );
  changed("zoom");
}

// title: of one panel; undefined: of all.
function resetZoom(title) {
  const titles = title === undefined ? [...state.zoom.keys()] : [title];
  for (const one of titles) state.zoom.delete(one);
  for (const [plot, panel] of panels) if (titles.includes(panel.title)) refresh(plot, panel);
  changed("zoom");
}

function refresh(plot, panel) {
  panel.stale = true;
  if (panel.near) drawPanel(plot, panel);
  else drawLater();
}

function redraw(parent) {
  for (const [plot, panel] of panels) if (!parent || parent.contains(plot)) refresh(plot, panel);
}

function drawAll() {
  for (const [plot, panel] of panels) if (panel.stale) drawPanel(plot, panel);
}

// Those that the window shows, before it is painted: a picture of a tall window has them.
function drawSeen() {
  for (const [plot, panel] of panels)
    if (panel.stale && plot.getBoundingClientRect().top < innerHeight) drawPanel(plot, panel);
}

let waiting = false;
const whenIdle = window.requestIdleCallback || ((call) => setTimeout(call, 50));
function drawLater() {
  if (waiting) return;
  waiting = true;
  whenIdle(() => {
    waiting = false;
    const next = [...panels].find(([, panel]) => panel.stale);
    if (!next) return;
    drawPanel(...next);
    drawLater();
  });
}

function base() {
  return {
    margin: { l: 52, r: 20, t: 8, b: 40 },
    paper_bgcolor: LOOK.paper,
    plot_bgcolor: LOOK.paper,
    showlegend: false,
    hovermode: "closest",
    font: { family: "system-ui, -apple-system, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif", size: 12, color: LOOK.ink },
    dragmode: TOUCH ? false : "zoom",
    hoverlabel: { bgcolor: LOOK.paper, bordercolor: LOOK.soft, font: { color: LOOK.ink, size: 12 }, align: "left" },
  };
}

const modifier = (event) => Boolean(event && (event.shiftKey || event.ctrlKey || event.metaKey));
