"""The parts of a report's page that are the same for every report: its policy, its styles and its script."""

import json

from infoxlm_keras.reports.plots.style import COLORS

# Vega compiles its expressions, which needs `unsafe-eval`; nothing may be fetched from anywhere.
POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data:"

STYLE = """
:root { --text: #1f2328; --quiet: #59636e; --page: #ffffff; --panel: #f6f8fa; --line: #d1d9e0; --link: #0b5fad; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6e8eb; --quiet: #a3abb5; --page: #16181c; --panel: #1f2329; --line: #3a4048; --link: #7ab8ff; }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
header, main { max-width: 1180px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 20px; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 32px 0 8px; padding-bottom: 4px; border-bottom: 1px solid var(--line); }
h3, figcaption { font-size: 1rem; font-weight: 600; margin: 18px 0 6px; overflow-wrap: anywhere; }
figcaption { margin: 0 0 4px; }
a { color: var(--link); }
p { color: var(--quiet); max-width: 80ch; margin: 8px 0; overflow-wrap: anywhere; }
nav ul { list-style: none; display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 0; padding: 0; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 330px), 1fr)); gap: 14px; }
figure { margin: 8px 0 0; padding: 12px; background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  min-width: 0; }
.chart { width: 100%; }
.table { overflow-x: auto; margin: 4px 0 12px; }
table { border-collapse: separate; border-spacing: 0; font-variant-numeric: tabular-nums; font-size: 0.92rem; }
th, td { padding: 4px 10px;  border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { font-weight: 600; }
thead th { color: var(--quiet); vertical-align: bottom; }
tbody th { position: sticky; left: 0; background: var(--page); overflow-wrap: anywhere; }
.words tbody th { min-width: 8em; }
.numbers th:not(:first-child), .numbers td { text-align: right; }
.numbers td { white-space: nowrap; }
.numbers thead th:not(:first-child) { min-width: 8em; }
.words td { overflow-wrap: anywhere; min-width: 9em; }
details { margin: 10px 0; }
summary { cursor: pointer; font-weight: 600; }
#vg-tooltip-element { font: 13px/1.4 system-ui, sans-serif; }
@media (max-width: 600px) {
  header, main { padding: 0 12px; }
  figure { padding: 8px; }
  table { font-size: 0.84rem; }
  th, td { padding: 4px 7px; }
  tbody th { max-width: 40vw; }
}
@media print { nav { display: none; } figure { break-inside: avoid; } }
"""

# Black would not be seen on a dark page; there, the others are as much lighter as they need to be.
PALETTES = {
    "light": list(COLORS[:-1]),
    "dark": ["#5AB4F0", "#FF9A57", "#35C99A", "#E7A6CB", "#9AD8FF", "#FFC34D"],
}

SCRIPT = """
const palettes = PALETTES;
const specs = JSON.parse(document.getElementById("specs").textContent);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
let drawn = [];
function look() {
  const style = getComputedStyle(document.documentElement);
  const color = (name) => style.getPropertyValue(name).trim();
  const text = color("--text"), quiet = color("--quiet"), line = color("--line");
  const font = "system-ui, sans-serif";
  return {
    background: "transparent", font: font,
    axis: { labelColor: text, titleColor: quiet, gridColor: line, domainColor: line, tickColor: line,
            titleFontWeight: "normal" },
    legend: { labelColor: text, titleColor: quiet, symbolOpacity: 1 },
    view: { stroke: null }, range: { category: palettes[dark.matches ? "dark" : "light"] },
  };
}
async function draw() {
  drawn.forEach((result) => result.finalize());
  drawn = [];
  for (const place of document.querySelectorAll("[data-chart]")) {
    const tooltip = { theme: dark.matches ? "dark" : "light" };
    const options = { renderer: "svg", actions: false, config: look(), tooltip: tooltip };
    drawn.push(await vegaEmbed(place, specs[Number(place.dataset.chart)], options));
  }
  document.documentElement.dataset.drawn = String(drawn.length);
}
dark.addEventListener("change", draw);
draw();
""".replace("PALETTES", json.dumps(PALETTES))
