// The metric against what it costs, with the Pareto front.

function drawCosts(chart) {
  const { setting, shared } = chart;
  const cost = setting.costs[chart.cost];
  const { results } = setting.shots[shared.k];
  const values = cost.values[shared.k];
  const drawn = shared.painted().filter((i) => results[i] && results[i].mean !== null && values[i] > 0);
  chart.begin(chart.drawnWidth < 480 ? 300 : 360, { left: 52, right: 24, top: 16, bottom: 46 });
  const { left, right, top, bottom } = chart.inner;
  const known = drawn.map((i) => values[i]);
  const x = logarithmic(known.length ? [Math.min(...known) / 1.5, Math.max(...known) * 1.5] : [1, 10], [left + 6, right]);
  const y = metricScale(setting, drawn.map((i) => [results[i].mean, results[i].half_width]), [bottom, top]);
  chart.valueAxis(y);
  chart.baseAxis(x.ticks.map((value) => [x(value), amount(value, cost.unit)]), `${cost.label} (${cost.name})`, 52);
  chart.chance(y);
  const front = paretoFront(setting, drawn, results, values);
  drawFront(chart, front.map((i) => [x(values[i]), y(results[i].mean)]));
  const names = [];
  for (const i of drawn) {
    const { mean, half_width: half } = results[i];
    const shown = shared.shown.has(i);
    const style = look(setting, i);
    const group = svg("g", { class: `series ${shown ? style.colour : "grey"}`, "data-c": i });
    chart.svg.append(group);
    const at = [x(values[i]), y(mean)];
    if (shown && half !== null) group.append(svg("line", { class: "whisker", x1: at[0], x2: at[0], y1: y(mean - half), y2: y(mean + half) }));
    chart.mark(group, {
      x: at[0], y: at[1], row: 0, col: 0, quiet: !shown, series: i, title: setting.contestants[i].name,
      lines: [
        [setting.headline, interval(setting, mean, half)],
        [cost.label, amount(values[i], cost.unit)],
        ["k", setting.ks[shared.k]],
        ...(front.includes(i) ? [["Pareto front", "yes"]] : []),
      ],
    }, svg("g", { class: "dot" }, shown ? shape(style.marker, 5) : shape(0, 3)));
    if (shown || front.includes(i)) names.push([i, ...at, front.includes(i)]);
  }
  nameDots(chart, names);
  chart.end("No contestant has both a value and this cost.");
  sayMissing(chart, setting.order.filter((i) => !(results[i] && results[i].mean !== null && values[i] > 0)), cost);
}

// Those than which no other is both cheaper and at least as good; from the cheapest on.
function paretoFront(setting, drawn, results, values) {
  const sign = setting.higher ? 1 : -1;
  const sorted = [...drawn].sort((a, b) => values[a] - values[b] || sign * (results[b].mean - results[a].mean));
  let best = -Infinity;
  return sorted.filter((i) => {
    const better = sign * results[i].mean > best;
    if (better) best = sign * results[i].mean;
    return better;
  });
}

function drawFront(chart, points) {
  if (!points.length) return;
  const steps = points.flatMap(([x, y], j) => (j ? [[x, points[j - 1][1]], [x, y]] : [[x, y]]));
  steps.push([chart.inner.right, points.at(-1)[1]]);
  chart.svg.append(svg("path", { class: "front", d: path(steps) }));
}

// Names beside marks, those of the front first; one that would lie on another is left to the tooltip.
function nameDots(chart, dots) {
  const taken = dots.map(([, x, y]) => [x - 7, y - 7, x + 7, y + 7]);
  for (const [i, x, y] of [...dots].sort((a, b) => b[3] - a[3])) {
    const text = cut(chart.setting.contestants[i].name, 130);
    const width = 6.8 * text.length + 4;
    const places = [[x + 10, y - 9, "start"], [x + 10, y + 10, "start"], [x - 10, y - 9, "end"], [x - 10, y + 10, "end"]];
    for (const [tx, ty, anchor] of places) {
      const box = [anchor === "end" ? tx - width : tx, ty - 7, anchor === "end" ? tx : tx + width, ty + 7];
      const inside = box[0] > chart.inner.left && box[2] < chart.width && box[1] > 0 && box[3] < chart.inner.bottom;
      if (!inside || taken.some((other) => overlap(box, other))) continue;
      taken.push(box);
      chart.svg.append(svg("text", { class: "dotname", "data-c": i, x: tx, y: ty, dy: "0.32em", "text-anchor": anchor, "aria-hidden": "true" }, text));
      break;
    }
  }
}

function overlap(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

function sayMissing(chart, missing, cost) {
  const names = missing.map((i) => chart.setting.contestants[i].name);
  if (names.length) chart.plot.append(html("p", { class: "hint" }, `Not drawn, because value or ${cost.label} is zero or not known: ${names.join(", ")}.`));
}

function withCosts(chart) {
  const { costs } = chart.setting;
  chart.cost = 0;
  const one = choice("Cost", costs.map((cost) => cost.name), 0, (index) => { chart.cost = index; chart.redraw(); });
  if (costs.length > 1) chart.controls.append(one.field);
}
