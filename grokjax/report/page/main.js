"use strict";
// Puts the page together, and keeps all of it in step with what is chosen.
function viewsOf(arm) {
  return DATA.views.filter((view) => view.arm === arm);
}

function buildControls() {
  const scope = document.getElementById("scope"),
    color = document.getElementById("color");
  const arms = [...new Set(DATA.views.map((view) => view.arm))];
  arms.forEach((arm, place) => scope.append(element("option", { value: place }, arm === null ? "all arms" : arm)));
  document.getElementById("scope-label").hidden = arms.length < 2;
  const fill = () => {
    color.replaceChildren(
      ...viewsOf(arms[scope.value]).map((view, place) => element("option", { value: place }, view.name)),
    );
  };
  scope.value = "0";
  fill();
  scope.addEventListener("change", () => {
    fill();
    showView(viewsOf(arms[scope.value])[0]);
  });
  color.addEventListener("change", () => showView(viewsOf(arms[scope.value])[Number(color.value)]));
}

function swatch(group) {
  const dashes = { solid: "", dash: "6 3", dashdot: "6 3 2 3", dot: "2 3" };
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"),
    line = document.createElementNS("http://www.w3.org/2000/svg", "line");
  for (const [name, value] of Object.entries({ width: 22, height: 10, "aria-hidden": "true" }))
    svg.setAttribute(name, value);
  const look = {
    x1: 0,
    x2: 22,
    y1: 5,
    y2: 5,
    stroke: group.color,
    "stroke-width": 3,
    "stroke-dasharray": dashes[group.dash],
  };
  for (const [name, value] of Object.entries(look)) line.setAttribute(name, value);
  svg.append(line);
  return svg;
}

function buildLegend() {
  const some = state.chosen.size > 0;
  document.getElementById("legend").replaceChildren(
    ...state.view.groups.map((group) => {
      const on = group.runs.filter((run) => state.chosen.has(run)).length,
        diverged = group.runs.filter((run) => RUNS.outcome[run] === "diverged").length;
      const count = `${some ? `${on} of ` : "n = "}${group.runs.length}${diverged ? `, ${diverged} diverged` : ""}`;
      const button = element(
        "button",
        { type: "button", title: "choose these runs", "aria-pressed": String(some && on === group.runs.length) },
        swatch(group),
        element("span", {}, group.label),
        element("small", {}, count),
      );
      button.addEventListener("click", (event) => choose(group.runs, "legend", modifier(event)));
      return button;
    }),
  );
}

function showChosen() {
  const bar = document.getElementById("chosen"),
    count = state.chosen.size;
  bar.hidden = count === 0;
  bar.firstElementChild.textContent =
    count === 1 ? runLabel([...state.chosen][0]) : `${count.toLocaleString("en")} of ${plural(COUNT, "run")} chosen`;
}

function update(what, tables) {
  if (what === "view") {
    buildNorms();
    buildPhases();
    buildSlingshots();
  } else slingshotWords();
  redraw(null);
  buildOutcomes();
  buildLegend();
  curveWords();
  showChosen();
  for (const table of tables) fillTable(table);
}

function start() {
  buildControls();
  buildCurves();
  addPanel(document.getElementById("times"), "Every run", timesPanel);
  addPanel(document.getElementById("times"), "Share of runs that have generalized", sharePanel);
  buildPhases();
  buildSlingshots();
  buildOutcomes();
  buildLegend();
  curveWords();
  const tables = buildTables();
  onChange((what) => update(what, tables));
  document.querySelector("#chosen button").addEventListener("click", () => choose([], null, false));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.chosen.size) choose([], null, false);
  });
  addEventListener("beforeprint", () => {
    for (const [plot, panel] of panels) if (panel.stale) drawPanel(plot, panel);
  });
  document.body.dataset.ready = "yes";
}

start();
