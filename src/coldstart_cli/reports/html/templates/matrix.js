// Every contestant against every other at one k.

const SYMBOLS = { win: "+", loss: "−", tie: "=", undecided: "?" };
const MIRRORED = { win: "loss", loss: "win" };

function drawPairs(chart) {
  const { setting, shared } = chart;
  const { results, pairs, winners } = setting.shots[shared.k];
  const rows = inRank(setting, results);
  const side = Math.min(200, 0.36 * chart.drawnWidth);
  const size = Math.max(18, Math.min(76, (chart.drawnWidth - side - 4) / rows.length));
  const tall = Math.min(40, size);
  chart.begin(26 + rows.length * tall + 6, { left: side, right: 4, top: 26, bottom: 6 }, Math.max(chart.drawnWidth, side + rows.length * size + 4));
  const place = new Map(rows.map((i, row) => [i, row]));
  rows.forEach((i, row) => {
    const y = 26 + (row + 0.5) * tall;
    const name = cut(`${winners.includes(i) ? "★ " : ""}${setting.contestants[i].name}`, side - 30);
    chart.svg.append(
      svg("text", { class: "name", x: side - 26, y, dy: "0.32em", "text-anchor": "end" }, name),
      svg("text", { class: "number", x: side - 6, y, dy: "0.32em", "text-anchor": "end" }, String(row + 1)),
      svg("text", { class: "number", x: side + (row + 0.5) * size, y: 16, "text-anchor": "middle" }, String(row + 1)),
    );
  });
  const cells = pairs.flatMap(([a, b, difference_, half, p, holm, wilcoxon, verdict]) => [
    [a, b, difference_, half, p, holm, wilcoxon, verdict],
    [b, a, difference_ === null ? null : -difference_, half, p, holm, wilcoxon, MIRRORED[verdict] ?? verdict],
  ]).filter(([a, b]) => place.has(a) && place.has(b));
  cells.sort((one, two) => place.get(one[0]) - place.get(two[0]) || place.get(one[1]) - place.get(two[1]));
  for (const cell of cells) drawCell(chart, cell, place, side, size, tall);
  chart.end("There is no pair at this k.");
}

function drawCell(chart, [a, b, mean, half, p, holm, wilcoxon, verdict], place, side, size, tall) {
  const { setting, shared } = chart;
  const [row, col] = [place.get(a), place.get(b)];
  const names = setting.contestants;
  const text = size >= 52 && mean !== null ? `${SYMBOLS[verdict] ?? "?"} ${number(setting, Math.abs(mean))}` : SYMBOLS[verdict] ?? "?";
  chart.mark(chart.svg, {
    x: side + (col + 0.5) * size, y: 26 + (row + 0.5) * tall, row, col,
    title: `${names[a].name} against ${names[b].name}`,
    lines: [
      [`k = ${setting.ks[shared.k]}`, verdict],
      ["better by", difference(setting, mean, half)],
      ["p", probability(p)], ["p, Holm", probability(holm)], ["p, Wilcoxon", probability(wilcoxon)],
    ],
  },
  svg("rect", { class: `cell ${verdict in SYMBOLS ? verdict : "undecided"}`, x: 1 - size / 2, y: 1 - tall / 2, width: size - 2, height: tall - 2, rx: 2 }),
  svg("text", { class: `verdict ${verdict in SYMBOLS ? verdict : "undecided"}`, dy: "0.34em", "text-anchor": "middle" }, text));
}
