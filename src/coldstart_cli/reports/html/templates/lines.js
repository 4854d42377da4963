// The metric against k, and against steps of adaptation: lines with bands.

function drawShots(chart) {
  const { setting, shared } = chart;
  if (setting.ks.length === 1) return drawOneK(chart);
  const last = setting.ks.length - 1;
  const [rows, far] = nearAndFar(shared, shared.painted().map((i) => ({
    i,
    points: setting.shots.map(({ results, winners }, col) => shotPoint(setting, results[i], winners.includes(i), i, col)),
  })));
  const { left, right, top, bottom } = openFrame(chart, { top: 34 });
  const x = linear([0, last], [left + 14, right - 14]);
  const y = metricScale(setting, rows.flatMap(({ points }) => points.map(({ mean, half }) => [mean, half])), [bottom, top]);
  chart.valueAxis(y);
  chart.baseAxis(setting.ks.map((k, col) => [x(col), k]), "k, labelled examples");
  chart.chance(y);
  drawLines(chart, rows, x, y);
  drawWinners(chart, x);
  chart.end();
  sayFar(chart, far);
}

function shotPoint(setting, result, wins, i, col) {
  return {
    at: col, col, mean: result?.mean ?? null, half: result?.half_width ?? null, ringed: wins,
    title: setting.contestants[i].name,
    lines: [
      [`k = ${setting.ks[col]}`, interval(setting, result?.mean ?? null, result?.half_width ?? null)],
      ["rank", `${result?.rank ?? UNKNOWN}${wins ? ", best: no other is better, a gain over scratch" : ""}`],
    ],
  };
}

// With one k there is no line: contestants below one another, the best on top.
function drawOneK(chart) {
  const { setting, shared } = chart;
  const { results, winners } = setting.shots[0];
  const rows = inRank(setting, results).filter((i) => shared.others || shared.shown.has(i));
  const side = Math.min(220, 0.38 * chart.drawnWidth);
  chart.begin(rows.length * 26 + 70, { left: side, right: 24, top: 12, bottom: 48 });
  const { left, right, top } = chart.inner;
  const x = metricScale(setting, rows.map((i) => [results[i].mean, results[i].half_width]), [left + 8, right]);
  chart.baseAxis(x.ticks.map((value) => [x(value), setting.percent ? `${significant(100 * value, 4)} %` : significant(value)]),
    `${setting.headline} at k = ${setting.ks[0]}`);
  chart.chance(x, true);
  rows.forEach((i, row) => {
    const { mean, half_width: half } = results[i];
    const style = look(setting, i);
    const wins = winners.includes(i);
    const y = top + 13 + row * 26;
    const group = svg("g", { class: `series ${shared.shown.has(i) ? style.colour : "grey"}`, "data-c": i });
    chart.svg.append(group);
    group.append(svg("text", { class: wins ? "name strong" : "name", x: left - 8, y, dy: "0.32em", "text-anchor": "end" },
      cut(setting.contestants[i].name, side - 12)));
    if (mean === null) return;
    if (half !== null) group.append(svg("line", { class: "line", x1: x(mean - half), x2: x(mean + half), y1: y, y2: y }));
    const point = shotPoint(setting, results[i], wins, i, 0);
    chart.mark(group, { x: x(mean), y, row: i, col: 0, series: i, title: point.title, lines: point.lines },
      svg("g", { class: "dot" }, shape(style.marker, 5)));
  });
  chart.end();
}

function drawCurves(chart) {
  const { setting, shared } = chart;
  const { results } = setting.shots[shared.k];
  const [rows, far] = nearAndFar(shared,
    shared.painted().filter((i) => results[i]).map((i) => ({ i, points: curvePoints(setting, results[i], i) })));
  const steps = [...new Set(rows.flatMap(({ points }) => points.map(({ col }) => col)))].sort((a, b) => a - b);
  const { left, right, top, bottom } = openFrame(chart, { top: 14 });
  const x = linear([0, Math.log1p(Math.max(1, ...steps))], [left + 14, right - 14]);
  const y = metricScale(setting, rows.flatMap(({ points }) => points.map(({ mean, half }) => [mean, half])), [bottom, top]);
  chart.valueAxis(y);
  chart.baseAxis(steps.map((step) => [x(Math.log1p(step)), String(step)]), `steps of adaptation at k = ${setting.ks[shared.k]}`, 20);
  chart.chance(y);
  drawLines(chart, rows, x, y);
  chart.end();
  sayFar(chart, far);
}

// Grey lines that lie wholly away from the coloured ones would press these into a corner.
function nearAndFar(shared, rows) {
  const known = rows.filter(({ i }) => shared.shown.has(i)).flatMap(({ points }) => points).filter(({ mean }) => mean !== null);
  if (!known.length) return [rows, []];
  const low = Math.min(...known.map(({ mean, half }) => mean - (half ?? 0)));
  const high = Math.max(...known.map(({ mean, half }) => mean + (half ?? 0)));
  const reach = high - low; // the coloured ones keep a third of the height at least
  const isFar = ({ i, points }) => !shared.shown.has(i) && points.some(({ mean }) => mean !== null)
    && points.every(({ mean }) => mean === null || mean < low - reach || mean > high + reach);
  return [rows.filter((row) => !isFar(row)), rows.filter(isFar).map(({ i }) => i)];
}

function sayFar(chart, far) {
  const names = far.map((i) => chart.setting.contestants[i].name);
  if (names.length) chart.plot.append(html("p", { class: "hint" }, `Not drawn, because far from the coloured ones: ${names.join(", ")}. Coloured, they are drawn.`));
}

function curvePoints(setting, result, i) {
  return result.curve.map(([step, mean, half]) => {
    const chosen = result.steps.includes(step);
    return {
      at: Math.log1p(step), col: step, mean, half, ringed: chosen, title: setting.contestants[i].name,
      lines: [[counted(step, "step"), interval(setting, mean, half)], ...(chosen ? [["chosen", "by validation"]] : [])],
    };
  });
}

// Room at the right for names where the window is wide and the names few.
function openFrame(chart, { top }) {
  const { shared } = chart;
  chart.named = chart.drawnWidth > 620 && shared.shown.size <= 12;
  chart.begin(chart.drawnWidth < 480 ? 300 : 380, { left: 52, right: chart.named ? 160 : 12, top, bottom: 46 });
  return chart.inner;
}

function drawLines(chart, rows, x, y) {
  const { setting, shared, svg: root } = chart;
  const ends = [];
  for (const { i, points } of rows) {
    const style = look(setting, i);
    const shown = shared.shown.has(i);
    const group = svg("g", { class: `series ${shown ? style.colour : "grey"}`, "data-c": i });
    root.append(group);
    const known = ({ mean }) => mean !== null;
    if (shown) {
      for (const run of unbroken(points, (point) => known(point) && point.half !== null)) {
        const upper = run.map(({ at, mean, half }) => [x(at), y(mean + half)]);
        const lower = run.map(({ at, mean, half }) => [x(at), y(mean - half)]).reverse();
        if (run.length > 1) group.append(svg("path", { class: "band", d: `${path([...upper, ...lower])}Z` }));
        else group.append(svg("line", { class: "whisker", x1: upper[0][0], x2: upper[0][0], y1: upper[0][1], y2: lower[0][1] }));
      }
    }
    for (const run of unbroken(points, known)) {
      group.append(svg("path", { class: "line", d: path(run.map(({ at, mean }) => [x(at), y(mean)])), "stroke-dasharray": shown ? style.dash : null }));
    }
    for (const point of points.filter(known)) {
      const ring = shown && point.ringed ? [svg("circle", { class: "ring", r: 8 })] : [];
      chart.mark(group, {
        x: x(point.at), y: y(point.mean), row: i, col: point.col, quiet: !shown, series: i, title: point.title, lines: point.lines,
      }, ...ring, svg("g", { class: "dot" }, shown ? shape(style.marker, 4) : shape(0, 2)));
    }
    const end = points.filter(known).at(-1);
    if (shown && end) ends.push({ i, x: x(end.at), y: y(end.mean), at: y(end.mean), colour: style.colour });
  }
  if (chart.named) nameLines(chart, ends);
}

// Names at the ends of lines, moved apart until each has its own line of text.
function nameLines(chart, ends) {
  const { top, bottom, right } = chart.inner;
  ends.sort((a, b) => a.y - b.y);
  ends.forEach((end, j) => { if (j) end.at = Math.max(end.at, ends[j - 1].at + 15); });
  ends.reverse().forEach((end, j) => { end.at = Math.min(end.at, j ? ends[j - 1].at - 15 : bottom); });
  for (const end of ends) {
    const y = Math.max(top, end.at);
    chart.svg.append(svg("g", { class: `end ${end.colour}`, "data-c": end.i, "aria-hidden": "true" },
      svg("path", { class: end.x < right - 40 ? "leader far" : "leader", d: path([[end.x + 9, end.y], [right - 4, end.y], [right + 8, y]]) }),
      svg("text", { x: right + 12, y, dy: "0.32em" }, cut(chart.setting.contestants[end.i].name, 146))));
  }
}

// Runs of neighbouring points of which something is known: a line does not cross a gap.
function unbroken(points, known) {
  const runs = [[]];
  for (const point of points) {
    if (known(point)) runs.at(-1).push(point);
    else runs.push([]);
  }
  return runs.filter((run) => run.length);
}

// Above each k the markers of those that nothing beats there.
function drawWinners(chart, x) {
  const { setting, svg: root, inner } = chart;
  const room = Math.floor(Math.min(4, (inner.right - inner.left) / setting.ks.length / 14));
  root.append(svg("text", { class: "star", x: 6, y: 14, dy: "0.32em", "aria-hidden": "true" }, "best"));
  setting.shots.forEach(({ winners }, col) => {
    const known = winners.length <= room ? winners : winners.slice(0, Math.max(1, room - 2));
    const all = known.length + (known.length < winners.length ? 2 : 0);
    const group = svg("g", { class: "winners", "aria-hidden": "true" });
    known.forEach((i, j) => {
      const style = look(setting, i);
      group.append(svg("g", { class: `dot ${style.colour}`, transform: `translate(${x(col) + 14 * (j - (all - 1) / 2)},14)` }, shape(style.marker, 4.5)));
    });
    if (known.length < winners.length) {
      group.append(svg("text", { x: x(col) + 14 * (known.length - 0.3 - (all - 1) / 2), y: 14, dy: "0.32em" }, `+${winners.length - known.length}`));
    }
    root.append(group);
  });
}
