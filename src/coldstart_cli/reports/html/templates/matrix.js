// Every contestant against every other at one k.

const SYMBOLS = { win: "+", loss: "−", tie: "=", undecided: "?" };
const MIRRORED = { win: "loss", loss: "win" };

function drawPairs(chart) {
  const { setting, shared } = chart;
  const { results, pairs, winners } = setting.shots[shared.k];
  const rows = inRank(setting, results);
  const side = Math.min(200, 0.36 * chart.drawnWidth);
  const size = Math.max(18, Math.min(150, (chart.drawnWidth - side - 4) / rows.length));
  const tall = Math.min(40, size);
  const longest = Math.max(...rows.map((i) => setting.contestants[i].name.length));
  const upright = size < 90; // names of columns that have no room to lie
  const head = upright ? Math.min(120, 14 + 6.8 * longest) : 26;
  chart.begin(head + rows.length * tall + 6, { left: side, right: 4, top: head, bottom: 6 }, Math.max(chart.drawnWidth, side + rows.length * size + 4));
  const place = new Map(rows.map((i, row) => [i, row]));
  rows.forEach((i, row) => {
    const y = head + (row + 0.5) * tall;
    const x = side + (row + 0.5) * size;
    const { name } = setting.contestants[i];
    const kind = winners.includes(i) ? "name strong" : "name";
    const above = upright ? { x: 0, y: 0, dy: "0.32em", transform: `translate(${x},${head - 6}) rotate(-90)` } : { x, y: 16, "text-anchor": "middle" };
    chart.svg.append(
      svg("text", { class: kind, x: side - 8, y, dy: "0.32em", "text-anchor": "end" }, cut(name, side - 12)),
      svg("text", { class: `${kind} column`, ...above }, cut(name, upright ? head - 8 : size - 6)),
    );
  });
  const cells = pairs.flatMap(([a, b, difference_, half, p, holm, wilcoxon, verdict]) => [
    [a, b, difference_, half, p, holm, wilcoxon, verdict],
    [b, a, difference_ === null ? null : -difference_, half, p, holm, wilcoxon, MIRRORED[verdict] ?? verdict],
  ]).filter(([a, b]) => place.has(a) && place.has(b));
  cells.sort((one, two) => place.get(one[0]) - place.get(two[0]) || place.get(one[1]) - place.get(two[1]));
  for (const cell of cells) drawCell(chart, cell, place, { side, head, size, tall });
  chart.end("There is no pair at this k.");
}

function drawCell(chart, [a, b, mean, half, p, holm, wilcoxon, verdict], place, { side, head, size, tall }) {
  const { setting, shared } = chart;
  const [row, col] = [place.get(a), place.get(b)];
  const names = setting.contestants;
  const symbol = SYMBOLS[verdict] ?? "?";
  // What is undecided or tied has a direction all the same
  const amount = mean === null || MIRRORED[verdict] ? number(setting, mean && Math.abs(mean)) : difference(setting, mean, null).split(" ")[0];
  const text = size >= 52 && mean !== null ? `${symbol} ${amount}` : symbol;
  chart.mark(chart.svg, {
    x: side + (col + 0.5) * size, y: head + (row + 0.5) * tall, row, col,
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
