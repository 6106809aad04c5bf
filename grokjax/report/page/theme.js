"use strict";
// Light and dark: pictures have the colors of the page's style sheet. Print is always light.
const DARK = matchMedia("(prefers-color-scheme: dark)");
const NAMES = ["paper", "ink", "soft", "line", "axis", "none", "mark", "pale-line"];
let LOOK = readLook();
// Read anew only when the browser tells of a change: Chromium may not tell of one that was read before.
let dark = DARK.matches;

function readLook() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(NAMES.map((name) => [name.replace("-", "_"), style.getPropertyValue(`--${name}`).trim()]));
}

function isDark() {
  return dark && !document.documentElement.classList.contains("printing");
}

// colors: one for light paper, one for dark.
function shade(colors) {
  return colors[isDark() ? 1 : 0];
}

function rgba(hex, opacity) {
  const [red, green, blue] = [1, 3, 5].map((place) => parseInt(hex.slice(place, place + 2), 16));
  return `rgba(${red},${green},${blue},${opacity})`;
}

// Relative luminance, from 0 (black) to 1, as in WCAG.
function luminance(hex) {
  const [red, green, blue] = [1, 3, 5]
    .map((place) => parseInt(hex.slice(place, place + 2), 16) / 255)
    .map((share) => (share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
