"use strict";
// Tables that sort and filter: by a click on a head, by words or comparisons below it, and by the chosen runs.
const ROWS = 20; // on a page of a table
const PRINTED = 50; // rows of a table on paper

// Text as a test of a row: "> 100", "<= 5", "= 3", "10..20" for numbers, else part of the text. Null is no sense.
function matcher(text, column) {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return () => true;
  if (column.number) {
    const range = /^(-?[\d.e+-]+)\s*\.\.\s*(-?[\d.e+-]+)$/.exec(wanted),
      one = /^(<=|>=|<|>|=)\s*(\S+)$/.exec(wanted);
    if (range) return between(column, Number(range[1]), Number(range[2]));
    if (one) return compared(column, one[1], Number(one[2]));
    if (/^[<>=]/.test(wanted)) return null;
  }
  return (row) => column.text(row).toLowerCase().includes(wanted);
}

function between(column, low, high) {
  if (Number.isNaN(low) || Number.isNaN(high)) return null;
  return (row) => column.number(row) !== null && column.number(row) >= low && column.number(row) <= high;
}

function compared(column, sign, bound) {
  if (Number.isNaN(bound)) return null;
  const tests = {
    "<": (a) => a < bound,
    "<=": (a) => a <= bound,
    ">": (a) => a > bound,
    ">=": (a) => a >= bound,
    "=": (a) => a === bound,
  };
  return (row) => column.number(row) !== null && column.number(row) !== undefined && tests[sign](column.number(row));
}

// Rows without a value come last, whichever way they are sorted.
function comparer(column, down) {
  const value = column.number || column.text,
    empty = (found) => found === null || found === undefined || found === "";
  return (a, b) => {
    const [left, right] = [value(a), value(b)];
    if (empty(left) || empty(right)) return empty(left) - empty(right) || a - b;
    const order =
      typeof left === "number" ? left - right : String(left).localeCompare(String(right), "en", { numeric: true });
    return (down ? -order : order) || a - b;
  };
}

// columns: [{name, text(row), number(row) or null}]; run(row): the row's run; rows(): all rows.
function makeTable(parent, source, what, columns, rows, run) {
  const table = {
    parent,
    source,
    what,
    columns,
    rows,
    run,
    filters: columns.map(() => ""),
    sort: null,
    down: false,
    first: 0,
    rows_shown: ROWS,
  };
  const head = element("tr"),
    body = element("tbody");
  table.count = element("span", { "aria-live": "polite" });
  table.pick = element("button", { type: "button" }, "Choose these runs");
  table.back = element("button", { type: "button", "aria-label": "rows before" }, "‹");
  table.next = element("button", { type: "button", "aria-label": "rows after" }, "›");
  columns.forEach((column, place) => head.append(headCell(table, column, place)));
  table.head = head;
  table.body = body;
  table.pick.addEventListener("click", () => choose(matching(table).map(run), source, false));
  table.back.addEventListener("click", () => {
    table.first -= ROWS;
    fillTable(table);
  });
  table.next.addEventListener("click", () => {
    table.first += ROWS;
    fillTable(table);
  });
  parent.append(
    element("div", { class: "tools" }, table.count, table.back, table.next, table.pick),
    element(
      "div",
      { class: "scroll", tabindex: "0", role: "region", "aria-label": what },
      element("table", {}, element("thead", {}, head), body),
    ),
  );
  fillTable(table);
  return table;
}

function headCell(table, column, place) {
  const sort = element("button", { type: "button", title: "sort" }, column.name);
  const filter = element("input", {
    "aria-label": `filter ${column.name}`,
    placeholder: column.number ? "> < 1..2" : "filter",
    spellcheck: "false",
  });
  sort.addEventListener("click", () => {
    table.down = table.sort === place && !table.down;
    table.sort = place;
    table.first = 0;
    fillTable(table);
    changed("table");
  });
  filter.addEventListener("input", () => {
    table.filters[place] = filter.value;
    table.first = 0;
    filter.setAttribute("aria-invalid", String(matcher(filter.value, column) === null));
    fillTable(table);
    changed("table");
  });
  return element("th", { scope: "col", class: column.number ? "number" : "" }, sort, element("br"), filter);
}

// A table as it was left: texts of filters by the names of columns, and the column it is sorted by.
function restoreTable(table, filters, sort, down) {
  const inputs = [...table.head.querySelectorAll("input")];
  table.columns.forEach((column, place) => {
    const text = filters.get(column.name) || "";
    table.filters[place] = inputs[place].value = text;
    inputs[place].setAttribute("aria-invalid", String(matcher(text, column) === null));
  });
  const place = table.columns.findIndex((column) => column.name === sort);
  Object.assign(table, { sort: place < 0 ? null : place, down, first: 0 });
  fillTable(table);
}

function matching(table) {
  const tests = table.columns.map((column, place) => matcher(table.filters[place], column) || (() => true));
  const only = state.chosen.size && state.source !== table.source;
  const found = table
    .rows()
    .filter(
      (row) =>
        inScope(table.run(row)) && (!only || state.chosen.has(table.run(row))) && tests.every((test) => test(row)),
    );
  return table.sort === null ? found : found.sort(comparer(table.columns[table.sort], table.down));
}

function fillTable(table) {
  const found = matching(table),
    all = table.rows().length,
    most = table.rows_shown;
  table.first = Math.max(0, Math.min(table.first, Math.floor((found.length - 1) / most) * most));
  const shown = found.slice(table.first, table.first + most);
  const range = found.length > most ? `${table.first + 1}–${table.first + shown.length} of ` : "";
  const why = state.chosen.size && state.source !== table.source ? " (of the chosen runs)" : "";
  const part = found.length < all ? `${found.length.toLocaleString("en")} of ` : "";
  table.count.textContent = `${range}${part}${plural(all, table.what)}${why}`;
  table.back.disabled = table.first === 0;
  table.next.disabled = table.first + most >= found.length;
  table.pick.disabled = !found.length;
  table.found = found.length;
  [...table.head.children].forEach((cell, place) => {
    const sorted = table.sort === place;
    cell.setAttribute("aria-sort", sorted ? (table.down ? "descending" : "ascending") : "none");
    cell.firstChild.textContent = table.columns[place].name + (sorted ? (table.down ? " ▾" : " ▴") : "");
  });
  table.body.replaceChildren(...shown.map((row) => bodyRow(table, row)));
}

// On paper a table is whole, or says that it is cut.
function printTable(table) {
  table.before = table.first;
  Object.assign(table, { first: 0, rows_shown: PRINTED });
  fillTable(table);
  if (table.found > PRINTED)
    table.count.textContent = `First ${PRINTED} of ${plural(table.found, "row")}; all are in the page itself.`;
  const drawn = table.body.parentElement;
  drawn.style.zoom = Math.min(1, table.parent.clientWidth / drawn.scrollWidth);
}

function screenTable(table) {
  table.body.parentElement.style.zoom = "";
  Object.assign(table, { first: table.before, rows_shown: ROWS });
  fillTable(table);
}

function bodyRow(table, row) {
  const run = table.run(row),
    line = element("tr", { class: state.chosen.has(run) ? "on" : "", "data-run": run });
  table.columns.forEach((column, place) => {
    const text = column.text(row),
      title = column.title ? column.title(row) : text,
      cell = element("td", { class: column.number ? "number" : "", title });
    cell.append(
      place ? text : element("button", { type: "button", "aria-pressed": String(state.chosen.has(run)) }, text),
    );
    line.append(cell);
  });
  line.addEventListener("click", (event) => {
    if (getSelection().isCollapsed) choose([run], table.source, modifier(event));
  });
  return line;
}

function numberColumn(name, values) {
  return { name, number: (row) => values[row], text: (row) => numberText(values[row]) };
}

function valueColumns(row) {
  return DATA.columns.map((column) => ({
    name: column.name,
    text: (at) => column.texts[row(at)],
    number: column.numbers ? (at) => column.numbers[row(at)] : null,
  }));
}

function armColumn(row) {
  return DATA.arms.length > 1
    ? [{ name: "arm", text: (at) => RUNS.arms[row(at)].map((arm) => DATA.arms[arm]).join(", "), number: null }]
    : [];
}

function buildTables() {
  const own = (row) => row,
    of = (row) => DATA.events.run[row];
  const finals = Object.keys(RUNS)
    .filter((name) => name.startsWith("final/"))
    .map((name) => numberColumn(name.replace("/", " "), RUNS[name]));
  const runs = [
    { name: "run", text: (row) => RUNS.id[row], number: null },
    ...armColumn(own),
    ...valueColumns(own),
    numberColumn("seed", RUNS.seed),
    {
      name: "outcome",
      text: (row) => RUNS.outcome[row].replaceAll("_", " "),
      title: (row) => OUTCOMES.get(RUNS.outcome[row]).meaning,
      number: null,
    },
    numberColumn("fit step", RUNS.fit_step),
    numberColumn("generalization step", RUNS.generalization_step),
    numberColumn("delay", RUNS.delay),
    numberColumn("slingshots", RUNS.slingshots),
    ...finals,
  ];
  const events = [
    { name: "run", text: (row) => RUNS.id[of(row)], number: null },
    { name: "event", text: (row) => DATA.events.kind[row].replaceAll("_", " "), number: null },
    numberColumn("step", DATA.events.step),
    numberColumn("value", DATA.events.value),
    numberColumn("norm jump", DATA.events.norm_jump),
    { name: "matrix", text: (row) => DATA.events.matrix[row] || "", number: null },
    ...armColumn(of),
    ...valueColumns(of),
    { name: "seed", number: (row) => RUNS.seed[of(row)], text: (row) => numberText(RUNS.seed[of(row)]) },
  ];
  const allRuns = [...Array(COUNT).keys()],
    allEvents = [...DATA.events.run.keys()];
  return [
    makeTable(document.getElementById("run-table"), "runs", "run", runs, () => allRuns, own),
    makeTable(document.getElementById("event-table"), "events", "event", events, () => allEvents, of),
  ];
}
