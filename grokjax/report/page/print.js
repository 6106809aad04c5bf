"use strict";
// On paper: light, as wide as a page, all pictures, and tables whole or said to be cut.
let opened = []; // details that were closed

function toPaper(tables) {
  document.documentElement.classList.add("printing");
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
  for (const table of tables) printTable(table);
  repaint();
}

function toScreen(tables) {
  document.documentElement.classList.remove("printing");
  for (const details of opened) details.open = false;
  for (const table of tables) screenTable(table);
  repaint();
}

// All that has colors or a width, anew.
function repaint() {
  LOOK = readLook();
  buildLegend();
  buildOutcomes();
  for (const [plot, panel] of panels) {
    if (!panel.bound) panel.stale = true;
    else {
      drawPanel(plot, panel);
      Plotly.relayout(plot, { width: plot.clientWidth, height: plot.clientHeight });
      if (!document.documentElement.classList.contains("printing"))
        Plotly.relayout(plot, { width: null, height: null, autosize: true });
    }
  }
  if (document.documentElement.classList.contains("printing")) drawAll();
}

function watchPaper(tables) {
  addEventListener("beforeprint", () => toPaper(tables));
  addEventListener("afterprint", () => toScreen(tables));
  DARK.addEventListener("change", (change) => {
    dark = change.matches;
    if (!document.documentElement.classList.contains("printing")) repaint();
  });
}
