// Puts the charts where the page has places for them, and keeps them fit for window and paper.

const KINDS = {
  shots: [drawShots, withLegend],
  curves: [drawCurves, withK, withLegend],
  costs: [drawCosts, withCosts, withK, withLegend],
  pairs: [drawPairs, withK],
  similarity: [drawSimilarity, withSimilarities],
  leaderboard: [drawLeaderboard],
  more: [drawMore],
  confusion: [drawConfusion],
  reliability: [drawReliability],
  risk: [drawRisk],
};

const { settings } = JSON.parse(document.getElementById("data").textContent);
const shared = settings.map((setting) => new Shared(setting));
const charts = new Map();

for (const plot of document.querySelectorAll("[data-chart]")) {
  const [draw, ...parts] = KINDS[plot.dataset.chart];
  const index = Number(plot.dataset.setting);
  const chart = new Chart(plot, settings[index], draw);
  chart.shared = shared[index];
  for (const part of parts) part(chart);
  chart.shared.charts.push(chart);
  plot.after(html("p", { class: "keys", "aria-hidden": "true" }, "Arrow keys go from mark to mark, Esc closes."));
  charts.set(plot, chart);
}
for (const one of shared) one.recolour();
for (const chart of charts.values()) if (!chart.inColour) chart.redraw();
document.body.dataset.drawn = charts.size;

for (const details of document.querySelectorAll("[data-sort]")) sortable(details);

const watch = new ResizeObserver((changes) => {
  for (const { target } of changes) {
    const chart = charts.get(target);
    if (target.clientWidth && target.clientWidth !== chart.drawnWidth) chart.redraw();
  }
});
for (const plot of charts.keys()) watch.observe(plot);

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") for (const chart of charts.values()) chart.leave();
});
document.addEventListener("scroll", () => {
  if (!tip.hidden) place(tip, told.getBoundingClientRect());
}, { passive: true, capture: true });

// Paper has no folds: what is not too long is unfolded, and folded again.
let unfolded = [];
addEventListener("beforeprint", () => {
  unfolded = [...document.querySelectorAll("details[data-print]:not([open])")];
  for (const details of unfolded) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of unfolded) details.open = false;
});
