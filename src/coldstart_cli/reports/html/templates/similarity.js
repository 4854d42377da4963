// How similar tasks were said to be, and what that was worth.

function drawSimilarity(chart) {
  const { setting } = chart;
  const row = setting.similarity[chart.row];
  const points = row.points.filter(([x, y]) => x !== null && y !== null);
  chart.begin(chart.drawnWidth < 480 ? 300 : 340, { left: 58, right: 16, top: 32, bottom: 46 });
  const { left, right, top, bottom } = chart.inner;
  const x = linear(spread(points.map(([similarity]) => similarity)), [left + 8, right]);
  const y = linear(spread([0, ...points.map(([, gain]) => gain)]), [bottom, top]);
  const groups = [...new Set(points.map(([, , group]) => group))];
  const told = groups.length <= setting.coloured;
  chart.valueAxis(y, `gain over scratch${setting.percent ? ", points" : ""}`);
  chart.svg.append(svg("line", { class: "zero", x1: left, x2: right, y1: y(0), y2: y(0) }));
  chart.baseAxis(x.ticks.map((value) => [x(value), significant(value)]), "similarity of source group and new task");
  for (const [similarity, gain, group] of points) {
    const place = told ? groups.indexOf(group) : 0;
    const dot = svg("g", { class: `series c${place}` });
    chart.svg.append(dot);
    chart.mark(dot, {
      x: x(similarity), y: y(gain), row: 0, col: 0, title: group,
      lines: [["similarity", significant(similarity)], ["gain over scratch", difference(setting, gain, null).replace(" ± ?", "")]],
    }, svg("g", { class: "dot faint" }, shape(place, 3.5)));
  }
  chart.end("There is no pair of source group and new task.");
  chart.plot.append(worth(setting, row), groupKey(told ? groups : []));
  fillPoints(chart, points);
}

function spread(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = 0.05 * (high - low) || 0.1;
  return [low - pad, high + pad];
}

function worth(setting, row) {
  return html("p", { class: "hint" },
    `${row.contestant} at k = ${row.k}: rank correlation with the real gain ${significant(row.rho, 2)} (p ${probability(row.p)}, `
    + `${counted(row.pairs ?? 0, "pair")}), within a task ${significant(row.within_task_rho, 2)}; taking the most similar group loses `
    + `${number(setting, row.regret)}${setting.percent ? " points" : ""} against the best. The best ranking that is the same for every task: within a task `
    + `${significant(row.constant_rho, 2)}, its first loses ${number(setting, row.constant_regret)}${setting.percent ? " points" : ""}.`);
}

function groupKey(groups) {
  return html("p", { class: "groups" }, ...groups.map((group, i) => html("span", {},
    svg("svg", { class: `key c${i}`, viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" },
      svg("g", { class: "dot", transform: "translate(6,6)" }, shape(i, 4))), group)));
}

// The points as a table, made when it is unfolded: there may be thousands.
function fillPoints(chart, points) {
  chart.points.querySelector(".count").textContent = counted(points.length, "point");
  const fill = () => {
    if (!chart.points.open) return;
    const rows = points.map(([similarity, gain, group]) => html("tr", {}, html("th", { scope: "row" }, group),
      html("td", {}, significant(similarity)), html("td", {}, number(chart.setting, gain))));
    chart.points.querySelector("tbody").replaceChildren(...rows);
  };
  chart.points.ontoggle = fill;
  fill();
}

function withSimilarities(chart) {
  const { similarity } = chart.setting;
  chart.row = 0;
  const options = similarity.map((row, i) => html("option", { value: i }, `${row.contestant}, k = ${row.k}`));
  const select = html("select", {}, ...options);
  select.addEventListener("change", () => { chart.row = Number(select.value); chart.redraw(); });
  if (similarity.length > 1) chart.controls.append(html("label", { class: "select" }, "Similarity by ", select));
  const head = ["source group", "similarity", "gain over scratch"].map((name) => html("th", { scope: "col" }, name));
  chart.points = html("details", { class: "table" },
    html("summary", {}, "Points ", html("span", { class: "count" })),
    html("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Points" },
      html("table", {}, html("thead", {}, html("tr", {}, ...head)), html("tbody"))));
  chart.plot.closest("section").append(chart.points);
}
