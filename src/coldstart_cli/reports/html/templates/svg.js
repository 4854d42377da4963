// Elements, scales and the shapes of marks. Strings become text nodes: nothing here parses markup.

const NAMESPACE = "http://www.w3.org/2000/svg";

function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(NAMESPACE, tag), attributes, children);
}

function html(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// A scale maps a value to a coordinate, never outside its range. `ticks` are the values worth a label; `domain`, of a
// linear one, from where to where it reaches.
function linear([low, high], [start, end], count = 7) {
  const at = (value) => start + (Math.min(high, Math.max(low, value)) - low) / (high - low) * (end - start);
  at.ticks = roundNumbers(low, high, count);
  at.domain = [low, high];
  return at;
}

function logarithmic([low, high], [start, end]) {
  const inner = linear([Math.log10(low), Math.log10(high)], [start, end]);
  const at = (value) => inner(Math.log10(Math.max(low, value)));
  const decades = Math.log10(high / low);
  const steps = decades < 1 ? [1, 2, 3, 4, 5, 6, 8] : decades < 2.5 ? [1, 2, 5] : decades < 5 ? [1, 3] : [1];
  at.ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++) {
    for (const step of steps) {
      const tick = Number((step * 10 ** power).toPrecision(1));
      if (tick >= low && tick <= high) at.ticks.push(tick);
    }
  }
  return at;
}

// Multiples of 1, 2 or 5 times a power of ten between two numbers.
function roundNumbers(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) ticks.push(Number((i * step).toPrecision(12)));
  return ticks;
}

// The scale of the metric: of a share within 0 and 1; of errors that differ by orders of magnitude by logarithm.
function metricScale(setting, intervals, range) {
  const known = intervals.filter(([mean]) => mean !== null);
  if (!known.length) return linear([0, 1], range);
  let low = Math.min(...known.map(([mean, half]) => mean - (half ?? 0)));
  let high = Math.max(...known.map(([mean, half]) => mean + (half ?? 0)));
  const least = Math.min(...known.map(([mean]) => mean));
  if (!setting.percent && least > 0 && Math.max(...known.map(([mean]) => mean)) / least > 30) {
    return logarithmic([Math.max(low, least / 3) * 0.9, high * 1.1], range);
  }
  const pad = 0.05 * (high - low) || Math.abs(high) * 0.1 || 0.1;
  low -= pad;
  high += pad;
  if (setting.percent) [low, high] = [Math.max(0, low), Math.min(1, high)];
  else if (!setting.higher && least >= 0) low = Math.max(0, low); // no error is below 0, though its interval may be
  return linear([low, high], range);
}

// Filled shapes of about equal area, so that a marker tells a contestant without its colour.
const SHAPES = [
  null, // a circle
  [[0, -1.3], [1.2, 0.85], [-1.2, 0.85]],
  [[-0.95, -0.95], [0.95, -0.95], [0.95, 0.95], [-0.95, 0.95]],
  [[0, -1.35], [1.35, 0], [0, 1.35], [-1.35, 0]],
  [[0, 1.3], [1.2, -0.85], [-1.2, -0.85]],
  cross(1.3, 0.5, 0),
  cross(1.35, 0.48, Math.PI / 4),
  Array.from({ length: 10 }, (_, i) => turned(i % 2 ? 0.65 : 1.5, -Math.PI / 2 + i * Math.PI / 5)),
];

function cross(long, short, angle) {
  const corner = [[short, -long], [short, -short], [long, -short]];
  return [0, 1, 2, 3].flatMap((quarter) => corner.map(([x, y]) =>
    turned(Math.hypot(x, y), Math.atan2(y, x) + quarter * Math.PI / 2 + angle)));
}

function turned(radius, angle) {
  return [radius * Math.cos(angle), radius * Math.sin(angle)];
}

function shape(index, radius) {
  const corners = SHAPES[index % SHAPES.length];
  if (!corners) return svg("circle", { r: radius });
  const points = corners.map(([x, y]) => `${(x * radius).toFixed(2)},${(y * radius).toFixed(2)}`);
  return svg("polygon", { points: points.join(" ") });
}

function path(points) {
  return points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)},${y.toFixed(1)}`).join("");
}

// Contestants by rank, those of one rank by their means.
function inRank(setting, results) {
  const sign = setting.higher ? 1 : -1;
  const worth = (i) => (results[i].mean === null ? -Infinity : sign * results[i].mean);
  return setting.order.filter((i) => results[i]).sort((a, b) => results[a].rank - results[b].rank || worth(b) - worth(a) || 0);
}

const DASHES = [null, "7 4", "2 3", "9 3 2 3"];

// How a contestant looks, by its place in the setting's order: no two of 64 have the same colour and marker.
// Baselines have the colour of the text.
function look(setting, i) {
  const { baseline } = setting.contestants[i];
  const place = setting.order.filter((j) => setting.contestants[j].baseline === baseline).indexOf(i);
  const turn = Math.floor(place / setting.coloured);
  return {
    colour: baseline ? "ink" : `c${place % setting.coloured}`,
    marker: (place + turn) % SHAPES.length,
    dash: DASHES[(place + turn) % DASHES.length],
  };
}
