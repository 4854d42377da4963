// Predictors judged by the held-out labels of one task: an interval for each, and what more labels would bring.

function drawLeaderboard(chart) {
  const { setting } = chart;
  const side = Math.min(220, 0.38 * chart.drawnWidth);
  chart.begin(setting.lines.length * 26 + 70, { left: side, right: 24, top: 12, bottom: 48 });
  const { left, right, top } = chart.inner;
  const x = metricScale(setting, setting.lines.map(middle), [left + 8, right]);
  chart.baseAxis(x.ticks.map((value) => [x(value), onAxis(setting, value)]), `${setting.headline} on held-out labels`);
  setting.lines.forEach(({ name, place, value, low, high }, i) => {
    const style = look(setting, i);
    const y = top + 13 + i * 26;
    const wins = place === "winner";
    const group = svg("g", { class: `series ${place === "behind" ? "grey" : style.colour}`, "data-c": i });
    chart.svg.append(group);
    group.append(svg("text", { class: wins ? "name strong" : "name", x: left - 8, y, dy: "0.32em", "text-anchor": "end" },
      cut(`${PLACES[place][0]}${name}`, side - 12)));
    if (value === null) return;
    if (low !== null) group.append(svg("line", { class: "line", x1: x(low), x2: x(high), y1: y, y2: y }));
    const lines = [[setting.headline, between(setting, value, low, high)], ["place", PLACES[place][1]]];
    chart.mark(group, { x: x(value), y, row: i, col: 0, series: i, title: name, lines }, svg("g", { class: "dot" }, shape(style.marker, 5)));
  });
  chart.end("No label can be held out.");
}

const PLACES = { winner: ["★ ", "taken"], tied: ["= ", "cannot be told from the one taken"], behind: ["", "behind"] };

function drawMore(chart) {
  const { setting } = chart;
  const { known, foretold } = setting.more;
  chart.begin(chart.drawnWidth < 480 ? 280 : 340, { left: 52, right: 24, top: 14, bottom: 46 });
  const { left, right, top, bottom } = chart.inner;
  const all = [...known, ...foretold];
  const ks = [...new Set(all.map(({ k }) => k))].sort((a, b) => a - b);
  const x = logarithmic([ks[0] * 0.9, ks.at(-1) * 1.1], [left + 8, right - 8]);
  const y = metricScale(setting, all.map(middle), [bottom, top]);
  chart.valueAxis(y);
  chart.baseAxis(ks.map((k) => [x(k), significant(k, 2)]), "labels of each class");
  const parts = [[known, "c0", "measured", null], [foretold, "c1", "foretold", "2 3"]];
  parts.forEach(([points, colour, said, dash], row) => {
    const group = svg("g", { class: `series ${colour}`, "data-c": row });
    chart.svg.append(group);
    const wide = points.filter(({ low }) => low !== null);
    if (wide.length > 1) {
      const upper = wide.map(({ k, high }) => [x(k), y(high)]);
      const lower = wide.map(({ k, low }) => [x(k), y(low)]).reverse();
      group.append(svg("path", { class: "band", d: `${path([...upper, ...lower])}Z` }));
    }
    group.append(svg("path", { class: "line", "stroke-dasharray": dash, d: path(points.map(({ k, value }) => [x(k), y(value)])) }));
    points.forEach(({ k, value, low, high }, col) => {
      // The line of what is foretold begins at what there is, which is a mark already.
      if (row && !col) return;
      const lines = [[said, between(setting, value, low, high)]];
      chart.mark(group, { x: x(k), y: y(value), row, col: row ? known.length + col : col, series: row, title: `${significant(k, 2)} labels of each class`, lines },
        svg("g", { class: "dot" }, shape(row ? 3 : 0, 4)));
    });
  });
  chart.end();
}

function middle({ value, low, high }) {
  return value === null || low === null ? [value, 0] : [(low + high) / 2, (high - low) / 2];
}

function between(setting, value, low, high) {
  const unit = setting.percent ? " %" : "";
  return low === null ? `${number(setting, value)}${unit}` : `${number(setting, value)} [${number(setting, low)}, ${number(setting, high)}]${unit}`;
}

function onAxis(setting, value) {
  return setting.percent ? `${significant(100 * value, 4)} %` : significant(value);
}
