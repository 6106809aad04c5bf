"use strict";
// The learning curves that are shown: any metric of the page can be added, and taken away.
const PARTS = { loss: DATA.loss_unit ? ` (${DATA.loss_unit})` : "", accuracy: " (fraction)" };

function metricTitle(name) {
  return name.replace("/", " ") + (PARTS[name.split("/")[1]] || "");
}

function buildCurves() {
  const parent = document.getElementById("curves");
  removePanels(parent);
  for (const name of state.metrics) {
    const metric = metricAt(name);
    if (metric < 0 || !hasBand(metric)) continue;
    const close = element("button", { type: "button", class: "close", "aria-label": `take ${name} away` }, "×");
    close.addEventListener("click", () => {
      state.metrics = state.metrics.filter((other) => other !== name);
      changed("metrics");
    });
    addPanel(parent, metricTitle(name), () => curvePanel(metric, false), { zooms: true, more: [close] });
  }
}

// Adds metrics; those that the page has to unpack first come when it has.
async function showMetrics(names) {
  const wanted = names.filter((name) => metricAt(name) >= 0);
  if (wanted.some((name) => !isFirst(metricAt(name)))) {
    try {
      await unpackMore();
    } catch (error) {
      metricNote(`This browser cannot unpack further metrics (${error.message}). `);
      return;
    }
  }
  state.metrics = wanted;
  changed("metrics");
}

function buildMetricChoice() {
  const select = document.getElementById("metric"),
    kinds = new Map();
  for (const { name } of DATA.metrics) {
    const kind = name.includes("/") ? name.slice(0, name.indexOf("/")) : "other";
    kinds.set(kind, [...(kinds.get(kind) || []), name]);
  }
  select.append(element("option", { value: "" }, "add a metric …"));
  for (const [kind, names] of kinds)
    select.append(
      element("optgroup", { label: kind }, ...names.map((name) => element("option", { value: name }, name))),
    );
  select.addEventListener("change", () => {
    const name = select.value;
    select.value = "";
    if (name) showMetrics([...state.metrics.filter((other) => other !== name), name]);
  });
  metricNote("");
}

function metricNote(first) {
  const left = DATA.left_out.length
    ? `${plural(DATA.left_out.length, "metric")} had no room here (such as ${DATA.left_out[0]}). `
    : "";
  const lines = MORE && !MORE.curves ? "Of the metrics that were added, single runs had no room here. " : "";
  const more = left || lines ? `For them: grokjax figure curves ${DATA.directory} --metric ${DATA.left_out[0] || "NAME"}` : "";
  document.getElementById("metric-note").textContent = first + left + lines + more;
}

function buildTimeChoice() {
  const unit = document.getElementById("unit"),
    log = document.getElementById("log");
  for (const name of Object.keys(DATA.units)) unit.append(element("option", { value: name }, UNITS[name]));
  unit.value = state.unit;
  log.checked = state.log;
  const show = () => {
    state.unit = unit.value;
    state.log = log.checked;
    for (const [, panel] of panels) if (panel.zooms) state.zoom.delete(panel.title);
    changed("time");
  };
  unit.addEventListener("change", show);
  log.addEventListener("change", show);
}
