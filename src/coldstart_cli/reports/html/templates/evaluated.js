// A predictor on labelled rows: which labels are answered how, what probabilities mean, what a threshold keeps.

function drawConfusion(chart) {
  const { labels, confusion } = chart.setting;
  const n = labels.length;
  const side = Math.min(200, 0.36 * chart.drawnWidth);
  const size = Math.max(12, Math.min(110, (chart.drawnWidth - side - 4) / n)); // lower than that a name has no line
  const tall = Math.min(40, size);
  const upright = size < 90;
  const head = upright ? Math.min(150, 14 + 6.8 * Math.max(...labels.map((name) => name.length))) : 26;
  chart.begin(head + n * tall + 6, { left: side, right: 4, top: head, bottom: 6 }, Math.max(chart.drawnWidth, side + n * size + 4));
  const right = side + n * size;
  const font = size < 16 ? 11 : null;
  labels.forEach((name, i) => {
    const [x, y] = [side + (i + 0.5) * size, head + (i + 0.5) * tall];
    const above = upright ? { x: 0, y: 0, dy: "0.32em", transform: `translate(${x},${head - 6}) rotate(-90)` } : { x, y: 16, "text-anchor": "middle" };
    chart.svg.append(
      svg("line", { class: "grid", x1: side, x2: right, y1: y + tall / 2, y2: y + tall / 2 }),
      svg("line", { class: "grid", x1: x + size / 2, x2: x + size / 2, y1: head, y2: head + n * tall }),
      svg("text", { class: "name", "font-size": font, x: side - 8, y, dy: "0.32em", "text-anchor": "end" }, cut(name, side - 12)),
      svg("text", { class: "name column", "font-size": font, ...above }, cut(name, upright ? head - 8 : size - 6)),
    );
  });
  const sums = new Array(n).fill(0);
  for (const [label, , rows] of confusion) sums[label] += rows;
  for (const [label, answer, rows] of [...confusion].sort((a, b) => a[0] - b[0] || a[1] - b[1])) {
    const share = rows / sums[label];
    const written = size >= 20;
    // Ink is read on half a colour at most; without a number in it a cell may have all of it.
    const full = (written ? 0.5 : 1) * (0.3 + 0.7 * Math.sqrt(share));
    chart.mark(chart.svg, {
      x: side + (answer + 0.5) * size, y: head + (label + 0.5) * tall, row: label, col: answer, title: labels[label],
      lines: [["answered", labels[answer]], ["rows", String(rows)], ["of the label", `${significant(100 * share)} %`]],
    },
    svg("rect", { class: `heat ${label === answer ? "win" : "loss"}`, "fill-opacity": full.toFixed(2), x: 0.5 - size / 2, y: 0.5 - tall / 2, width: size - 1, height: tall - 1 }),
    written ? svg("text", { dy: "0.34em", "text-anchor": "middle" }, String(rows)) : "");
  }
  chart.end();
}

function drawReliability(chart) {
  const { setting } = chart;
  const wide = Math.min(chart.drawnWidth, 560);
  chart.begin(wide < 480 ? 300 : 420, { left: 52, right: 24, top: 32, bottom: 46 }, wide);
  const { left, right, top, bottom } = chart.inner;
  const [x, y] = [linear([0, 1], [left, right], 5), linear([0, 1], [bottom, top], 5)];
  chart.valueAxis(y, "right, %");
  chart.baseAxis(x.ticks.map((value) => [x(value), onAxis(setting, value)]), "probability of the answer");
  chart.svg.append(svg("line", { class: "front", x1: x(0), x2: x(1), y1: y(0), y2: y(1) }));
  const most = Math.max(1, ...setting.reliable.flatMap(({ bins }) => bins.map(([rows]) => rows)));
  [...setting.reliable.entries()].reverse().forEach(([i, { name, bins }]) => {
    const group = svg("g", { class: `series c${i}`, "data-c": i });
    chart.svg.append(group);
    group.append(svg("path", { class: "line", "stroke-dasharray": i ? "2 3" : null, d: path(bins.map(([, p, share]) => [x(p), y(share)])) }));
    bins.forEach(([rows, p, share], col) => chart.mark(group, {
      x: x(p), y: y(share), row: i, col, series: i, title: name,
      lines: [["answers", String(rows)], ["probability", `${number(setting, p)} %`], ["right", `${number(setting, share)} %`]],
    }, svg("g", { class: "dot" }, shape(i, 3 + 5 * Math.sqrt(rows / most)))));
  });
  chart.end();
  chart.plot.append(groupKey(setting.reliable.map(({ name }) => name)));
}

function drawRisk(chart) {
  const { setting } = chart;
  const { kept, allowed } = setting;
  chart.begin(chart.drawnWidth < 480 ? 280 : 340, { left: 52, right: 24, top: 32, bottom: 46 });
  const { left, right, top, bottom } = chart.inner;
  const curve = kept.filter(({ name, risk }) => !name && risk !== null);
  const x = linear([0, 1], [left, right], 5);
  const high = Math.max(allowed ?? 0, ...kept.map(({ risk }) => risk ?? 0), ...curve.filter(({ share }) => share >= 0.25).map((one) => one.high));
  const y = linear([0, Math.min(1, 1.1 * high) || 0.1], [bottom, top], 5);
  chart.valueAxis(y, "wrong answers, %");
  chart.baseAxis(x.ticks.map((value) => [x(value), onAxis(setting, value)]), "rows that are answered");
  if (allowed !== null) {
    chart.svg.append(svg("line", { class: "front", x1: left, x2: right, y1: y(allowed), y2: y(allowed) }));
    chart.svg.append(svg("text", { class: "number", x: left + 6, y: y(allowed) - 7, "text-anchor": "start" }, `${onAxis(setting, allowed)} allowed`));
  }
  const group = svg("g", { class: "series c0", "data-c": 0 });
  chart.svg.append(group);
  const upper = curve.map((one) => [x(one.share), y(one.high)]);
  const lower = curve.map((one) => [x(one.share), y(one.low)]).reverse();
  if (curve.length > 1) group.append(svg("path", { class: "band", d: `${path([...upper, ...lower])}Z` }));
  group.append(svg("path", { class: "line", d: path(curve.map((one) => [x(one.share), y(one.risk)])) }));
  curve.forEach((one, col) => riskMark(chart, group, one, [x, y], 0, col));
  kept.filter(({ name, risk }) => name && risk !== null).forEach((one, i) => {
    const own = svg("g", { class: `series c${i + 1}`, "data-c": i + 1 });
    own.append(svg("line", { class: "threshold", x1: x(one.share), x2: x(one.share), y1: top, y2: bottom }));
    const along = `translate(${x(one.share) - 7},${top}) rotate(-90)`;
    own.append(svg("text", { class: "along", "text-anchor": "end", transform: along }, cut(`${significant(one.threshold, 4)}: ${one.name}`, bottom - top)));
    chart.svg.append(own);
    riskMark(chart, own, one, [x, y], 1 + i, 0);
  });
  chart.end("No row is answered.");
}

function riskMark(chart, group, { share, threshold, risk, low, high, name }, [x, y], row, col) {
  const { setting } = chart;
  chart.mark(group, {
    x: x(share), y: y(risk), row, col, series: row, title: name || "the surest answers",
    lines: [["threshold", significant(threshold, 4)], ["answered", `${number(setting, share)} %`], ["wrong", between(setting, risk, low, high)]],
  }, svg("g", { class: "dot" }, shape(row ? 3 : 0, row ? 6 : 3.5)));
}
