"use strict";
// Phase diagrams: when runs fit and generalize over two axes of an arm. Cells count as in `grokjax.figures.phase`.
const MOST_TEXTS = 12; // cells in a row or column that carry their value
const phaseAxes = new Map(); // arm -> [x, y], places among its axes; y may be -1

function labelsOf(axes, place) {
  return place < 0 ? [""] : axes[place].labels;
}

function placesOf(axes, place) {
  return place < 0 ? null : new Map(axes[place].at);
}

// Cell key "column,row" -> its ended runs.
function cellsOf(axes, x, y) {
  const column = placesOf(axes, x),
    row = placesOf(axes, y),
    cells = new Map();
  for (const [run] of axes[x].at) {
    if (isGoing(run)) continue;
    const key = `${column.get(run)},${row ? row.get(run) : 0}`;
    cells.set(key, [...(cells.get(key) || []), run]);
  }
  return cells;
}

// Who never got there is later than any other; null where fewer than half did. Between one and never: the one.
function censoredMedian(steps) {
  const reached = steps.filter((step) => step !== null).length,
    count = steps.length;
  if (2 * reached < count || reached === 0) return { median: null, reached, count };
  const ordered = steps.map((step) => (step === null ? Infinity : step)).sort((a, b) => a - b);
  const [left, right] = [ordered[Math.floor((count - 1) / 2)], ordered[Math.floor(count / 2)]];
  return { median: isFinite(right) ? (left + right) / 2 : left, reached, count };
}

function stepCell(field) {
  return (runs) => {
    const cell = censoredMedian(runs.map((run) => RUNS[field][run])),
      share = `${cell.reached}/${cell.count}`;
    if (cell.median === null) return { height: null, text: share, words: `${share} runs got there` };
    const text = stepsText(cell.median) + (cell.reached < cell.count ? `<br>${share}` : "");
    return {
      height: Math.log10(Math.max(cell.median, 1)),
      text,
      words: `${share} runs got there<br>median step ${wholeText(cell.median)}`,
    };
  };
}

// The median of what was recorded; nothing where no run has it (all diverged before the first evaluation).
function valueCell(field) {
  return (runs) => {
    const there = runs
        .map((run) => RUNS[field][run])
        .filter((value) => value !== null)
        .sort((a, b) => a - b),
      count = there.length;
    if (!count) return { height: null, text: "none", words: "not recorded" };
    const median = (there[Math.floor((count - 1) / 2)] + there[Math.floor(count / 2)]) / 2;
    return {
      height: median,
      text: median.toFixed(2),
      words: `median ${numberText(median)} of ${plural(count, "run")}`,
    };
  };
}

function slingshotCell(runs) {
  const some = runs.filter((run) => RUNS.slingshots[run] > 0).length;
  return {
    height: some / runs.length,
    text: `${some}/${runs.length}`,
    words: `${some} of ${plural(runs.length, "run")} slingshot`,
  };
}

// Title, what a cell shows, whether its colors are on the common scale of steps (else from 0 to 1).
function phaseKinds(axes) {
  const kinds = [
    ["Step of fit", stepCell("fit_step"), true],
    ["Step of generalization", stepCell("generalization_step"), true],
  ];
  if (RUNS["final/test/accuracy"])
    kinds.push(["Final test accuracy (median)", valueCell("final/test/accuracy"), false]);
  if (axes[0].at.some(([run]) => RUNS.slingshots[run] > 0)) kinds.push(["Runs that slingshot", slingshotCell, false]);
  return kinds;
}

function phasePanel(arm, title, cellOf, steps) {
  const axes = DATA.axes[arm],
    [x, y] = phaseAxes.get(arm),
    cells = cellsOf(axes, x, y);
  const columns = labelsOf(axes, x),
    rows = labelsOf(axes, y);
  const grid = (make) => rows.map((_, row) => columns.map((_, column) => make(cells.get(`${column},${row}`))));
  const found = grid((runs) => (runs ? cellOf(runs) : null)),
    texts = columns.length <= MOST_TEXTS && rows.length <= MOST_TEXTS;
  const heights = found.map((line) => line.map((one) => (one ? one.height : null)));
  const unreached = found.map((line) => line.map((one) => (one && one.height === null ? 1 : null)));
  const ends = steps ? scaleEnds(arm) : [0, 1],
    colorscale = DATA.scale.map((color, place) => [place / (DATA.scale.length - 1), color]);
  const look = {
    type: "heatmap",
    xgap: 1.5,
    ygap: 1.5,
    showscale: false,
    hoverongaps: false,
    text: found.map((line) => line.map((one) => (one ? inkOn(one, ends) : ""))),
    customdata: cellWords(axes, x, y, found),
    hovertemplate: "%{customdata}<extra></extra>",
    ...(texts ? { texttemplate: "%{text}", textfont: { size: 11 } } : {}),
  };
  const grey = [0, 1].map((end) => [end, LOOK.none]);
  return {
    data: [
      { ...look, z: unreached, colorscale: grey },
      { ...look, z: heights, colorscale, zmin: ends[0], zmax: ends[1], showscale: true, colorbar: colorBar(steps, ends) },
    ],
    layout: phaseLayout(axes, x, y, cells, columns, rows),
    click: (point, event) => {
      const runs = cells.get(`${point.x},${point.y}`);
      if (runs) choose(runs, "phase", modifier(event));
    },
    label: phaseLabel(axes, x, y, cells, found),
    items: cellItems(cells, found, look.customdata),
    grid: true,
  };
}

// A cell's text in black or white, whichever is seen better on its color.
function inkOn(cell, ends) {
  if (cell.height === null) return `<span style="color:${LOOK.ink}">${cell.text}</span>`;
  const share = Math.min(Math.max((cell.height - ends[0]) / (ends[1] - ends[0]), 0), 1),
    color = DATA.scale[Math.round(share * (DATA.scale.length - 1))];
  return `<span style="color:${luminance(color) > 0.18 ? "#000" : "#fff"}">${cell.text}</span>`;
}

// Steps are told at the ends of the scale and at decades between; shares from 0 to 1.
function colorBar(steps, ends) {
  const look = { thickness: 10, outlinewidth: 0, tickfont: { size: 11 }, ticks: "outside", ticklen: 3, len: 1 };
  const title = { side: "right", font: { size: 11, color: LOOK.soft } };
  if (!steps) return { ...look, title: { ...title, text: "" }, tickvals: [0, 0.5, 1], ticktext: ["0", "0.5", "1"] };
  const inside = [];
  for (let power = Math.floor(ends[0]); power <= Math.ceil(ends[1]); power++)
    for (const digit of [1, 2, 5]) inside.push(power + Math.log10(digit));
  const tickvals = inside.filter((value) => value >= ends[0] - 1e-6 && value <= ends[1] + 1e-6);
  const all = tickvals.length > 1 ? tickvals : ends;
  return { ...look, title: { ...title, text: "step" }, tickvals: all, ticktext: all.map((at) => stepsText(10 ** at)) };
}

function cellItems(cells, found, words) {
  return [...cells].map(([key, runs]) => {
    const [column, row] = key.split(",").map(Number);
    const text = words[row][column].replace(/<br>/g, "; ");
    return { x: column, y: row, text, choose: (add) => choose(runs, "phase", add) };
  });
}

// The least and the largest cell, and how many have no value.
function phaseLabel(axes, x, y, cells, found) {
  const rows = labelsOf(axes, y),
    told = (key) => {
      const [column, row] = key.split(",").map(Number);
      const upwards = y < 0 ? "" : `, ${axes[y].name} ${rows[row]}`;
      return `${found[row][column].words.split("<br>").join(", ")} at ${axes[x].name} ${labelsOf(axes, x)[column]}${upwards}`;
    };
  const heightOf = ([key]) => found[key.split(",")[1]][key.split(",")[0]].height;
  const there = [...cells].filter((cell) => heightOf(cell) !== null).sort((a, b) => heightOf(a) - heightOf(b));
  const over = `Over ${axes[x].name}${y < 0 ? "" : ` and ${axes[y].name}`}, ${plural(cells.size, "cell")}`;
  if (!there.length) return `${over}, none of them with a value.`;
  const none = cells.size - there.length ? ` ${cells.size - there.length} without a value.` : "";
  return `${over}. Least: ${told(there[0][0])}. Most: ${told(there[there.length - 1][0])}.${none}`;
}

// What is said of each cell when the mouse is over it.
function cellWords(axes, x, y, found) {
  return labelsOf(axes, y).map((label, row) =>
    labelsOf(axes, x).map((name, column) => {
      const upwards = y < 0 ? "" : `, ${plain(axes[y].name)} ${plain(label)}`;
      const one = found[row][column];
      return one ? `${plain(axes[x].name)} ${plain(name)}${upwards}<br>${one.words}` : "";
    }),
  );
}

function phaseLayout(axes, x, y, cells, columns, rows) {
  const ticks = (labels, title) =>
    axis({
      type: "linear",
      tickvals: labels.map((_, place) => place),
      ticktext: labels.map((label) => plain(label.length > 16 ? label.slice(0, 15) + "…" : label)),
      range: [-0.5, labels.length - 0.5],
      showgrid: false,
      ticks: "",
      automargin: true,
      title: { text: plain(title), standoff: 6, font: { size: 12, color: LOOK.soft } },
    });
  const shapes = [...cells]
    .filter(([, runs]) => runs.some((run) => state.chosen.has(run)))
    .map(([key]) => {
      const [column, row] = key.split(",").map(Number);
      return {
        type: "rect",
        x0: column - 0.5,
        x1: column + 0.5,
        y0: row - 0.5,
        y1: row + 0.5,
        line: { color: LOOK.ink, width: 2.5 },
      };
    });
  return {
    xaxis: ticks(columns, axes[x].name),
    yaxis: y < 0 ? axis({ visible: false, range: [-0.5, 0.5] }) : ticks(rows, axes[y].name),
    shapes,
    dragmode: false,
    margin: { l: y < 0 ? 12 : 64, r: 64, t: 8, b: 44 },
  };
}

// One color scale for both panels of an arm, in decades.
function scaleEnds(arm) {
  const axes = DATA.axes[arm],
    cells = cellsOf(axes, ...phaseAxes.get(arm));
  const medians = [...cells.values()].flatMap((runs) =>
    ["fit_step", "generalization_step"].map((field) => censoredMedian(runs.map((run) => RUNS[field][run])).median),
  );
  const logs = medians.filter((median) => median !== null).map((median) => Math.log10(Math.max(median, 1)));
  if (!logs.length) return [0, 1];
  const [low, high] = [Math.min(...logs), Math.max(...logs)];
  return high > low ? [low, high] : [low - 0.3, high + 0.3];
}

// Axes that move together make no diagram.
function together(first, second) {
  const places = new Map(second.at),
    pairs = new Set(first.at.map(([run, place]) => `${place},${places.get(run)}`));
  return pairs.size === first.labels.length && pairs.size === second.labels.length;
}

function defaultAxes(axes) {
  const varied = axes.flatMap((one, place) => (one.key === "seed" ? [] : [place]));
  const x = varied.length ? varied[0] : 0,
    y = varied.find((place) => place !== x && !together(axes[x], axes[place]));
  return [x, y === undefined ? -1 : y];
}

function buildPhases() {
  const parent = document.getElementById("phases");
  removePanels(parent);
  DATA.arms.forEach((name, arm) => {
    const axes = DATA.axes[arm];
    if (state.view.arm !== null && state.view.arm !== name) return;
    if (!axes.some((one) => one.key !== "seed")) {
      parent.append(
        element(
          "p",
          { class: "note" },
          `${DATA.arms.length > 1 ? `Arm ${name}` : "The sweep"} varies nothing but seeds.`,
        ),
      );
      return;
    }
    if (!phaseAxes.has(arm)) phaseAxes.set(arm, defaultAxes(axes));
    parent.append(phaseRow(name, arm, axes));
  });
}

function phaseRow(name, arm, axes) {
  const row = element("div", { class: "phase" }),
    [x, y] = phaseAxes.get(arm),
    grid = element("div", { class: "grid two" });
  const pick = (label, value, none, set) => {
    const select = element("select", { "aria-label": `${label} of ${name}` });
    if (none) select.append(element("option", { value: -1 }, "nothing"));
    axes.forEach((one, place) => select.append(element("option", { value: place }, one.name)));
    select.value = String(value);
    select.addEventListener("change", () => {
      set(Number(select.value));
      changed("phase");
    });
    return element("label", {}, `${label} `, select);
  };
  row.append(
    element(
      "div",
      { class: "choices" },
      ...(DATA.arms.length > 1 ? [element("h3", {}, name)] : []),
      pick("across", x, false, (value) => phaseAxes.set(arm, [value, y === value ? -1 : y])),
      pick("upwards", y, true, (value) => phaseAxes.set(arm, [x, value === x ? -1 : value])),
    ),
    grid,
  );
  const rows = Math.max(labelsOf(axes, y).length, 4); // the color bar needs some height
  const height = `${Math.min(520, 62 + 30 * rows + Math.max(0, longest(axes, x) - 6) * 4)}px`;
  for (const [title, cellOf, steps] of phaseKinds(axes)) {
    const level = DATA.arms.length > 1 ? "h4" : "h3";
    addPanel(grid, title, () => phasePanel(arm, title, cellOf, steps), { level }).style.height = height;
  }
  return row;
}

function longest(axes, place) {
  return Math.max(...labelsOf(axes, place).map((label) => Math.min(label.length, 16)));
}
