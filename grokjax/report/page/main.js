"use strict";
// Puts the page together, and keeps all of it in step with what is chosen.
const ARMS = [...new Set(DATA.views.map((view) => view.arm))]; // null: all

const MOST_SWATCHES = 6; // numbers of a legend

function viewsOf(arm) {
  return DATA.views.filter((view) => view.arm === arm);
}

function buildControls() {
  const scope = document.getElementById("scope"),
    color = document.getElementById("color");
  ARMS.forEach((arm, place) => scope.append(element("option", { value: place }, arm === null ? "all arms" : arm)));
  document.getElementById("scope-label").hidden = ARMS.length < 2;
  scope.addEventListener("change", () => showView(viewsOf(ARMS[scope.value])[0]));
  color.addEventListener("change", () => showView(viewsOf(state.view.arm)[Number(color.value)]));
  document.getElementById("reset-zoom").addEventListener("click", () => resetZoom());
}

function showControls() {
  const own = viewsOf(state.view.arm),
    color = document.getElementById("color");
  document.getElementById("scope").value = String(ARMS.indexOf(state.view.arm));
  color.replaceChildren(...own.map((view, place) => element("option", { value: place }, view.name)));
  color.value = String(own.indexOf(state.view));
  document.getElementById("unit").value = state.unit;
  document.getElementById("log").checked = state.log;
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
    stroke: shade(group.colors),
    "stroke-width": 3,
    "stroke-dasharray": dashes[group.dash],
  };
  for (const [name, value] of Object.entries(look)) line.setAttribute(name, value);
  svg.append(line);
  return svg;
}

// Many numbers stand side by side as a color bar, others each with its line.
function buildLegend() {
  const some = state.chosen.size > 0,
    legend = document.getElementById("legend"),
    bar = state.view.numeric && state.view.groups.length > MOST_SWATCHES;
  legend.classList.toggle("color-bar", bar);
  document.getElementById("legend-name").textContent =
    `Color: ${state.view.name}${state.view.arm === null || ARMS.length < 2 ? "" : `, arm ${state.view.arm}`}`;
  legend.replaceChildren(
    ...state.view.groups.map((group) => {
      const on = group.runs.filter((run) => state.chosen.has(run)).length,
        diverged = group.runs.filter((run) => RUNS.outcome[run] === "diverged").length;
      const count = `${some ? `${on} of ` : "n = "}${group.runs.length}${diverged ? `, ${diverged} diverged` : ""}`;
      const block = element("i");
      block.style.background = shade(group.colors);
      const button = element(
        "button",
        {
          type: "button",
          title: `${state.view.name}: ${group.label}; choose these runs`,
          "aria-pressed": String(some && on === group.runs.length),
        },
        bar ? block : swatch(group),
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
  if (what === "table" || what === "zoom") {
    showReset();
    keepLink(tables);
    return;
  }
  if (what === "view") {
    showControls();
    buildNorms();
    buildSlingshots();
  } else if (what === "chosen") slingshotWords();
  if (what === "view" || what === "phase") buildPhases();
  if (what === "view" || what === "metrics") buildCurves();
  if (what === "time") {
    redraw(document.getElementById("curves"));
    redraw(document.getElementById("norms"));
  } else if (what === "view" || what === "chosen") redraw(null);
  buildOutcomes();
  buildLegend();
  curveWords();
  metricNote("");
  showChosen();
  showReset();
  for (const table of tables) fillTable(table);
  keepLink(tables);
}

function showReset() {
  document.getElementById("reset-zoom").hidden = !state.zoom.size;
}

// The places of the page: a click goes there, and leaves what the address says of the state.
function buildContents() {
  const contents = document.getElementById("contents");
  for (const head of document.querySelectorAll("main h2")) {
    const link = element("a", { href: `#${head.id}` }, head.textContent);
    link.addEventListener("click", (event) => {
      if (modifier(event)) return;
      event.preventDefault();
      head.tabIndex = -1;
      head.focus({ preventScroll: true });
      head.scrollIntoView();
    });
    contents.append(link);
  }
}

// Headings stop below the legend that stays on the screen.
function watchLegend() {
  const controls = document.getElementById("controls");
  const set = () => {
    const sticks = getComputedStyle(controls).position === "sticky";
    document.documentElement.style.setProperty("--covered", `${sticks ? controls.offsetHeight : 0}px`);
  };
  new ResizeObserver(set).observe(controls);
  set();
}

async function start() {
  buildContents();
  buildControls();
  buildMetricChoice();
  buildTimeChoice();
  addPanel(document.getElementById("times"), "Every run", timesPanel);
  addPanel(document.getElementById("times"), "Share of runs that have generalized", sharePanel);
  const tables = buildTables();
  onChange((what) => update(what, tables));
  watchLegend();
  document.querySelector("#chosen button").addEventListener("click", () => choose([], null, false));
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && state.chosen.size) choose([], null, false);
  });
  watchPaper(tables);
  const place = isLink(location.hash) ? null : document.getElementById(location.hash.slice(1));
  await restore(location.hash, tables);
  drawSeen();
  if (place) place.scrollIntoView();
  addEventListener("hashchange", () => {
    if (isLink(location.hash)) restore(location.hash, tables);
  });
  document.body.dataset.ready = "yes";
}

start();
