// Numbers as a reader wants them: accuracy in percent with one decimal, errors as they are.

const UNKNOWN = "–";

function number(setting, value) {
  if (value === null || value === undefined) return UNKNOWN;
  return minus(setting.percent ? (100 * value).toFixed(1) : value.toFixed(setting.decimals));
}

function interval(setting, mean, half) {
  if (mean === null) return UNKNOWN;
  return `${number(setting, mean)} ± ${half === null ? "?" : number(setting, half)}${setting.percent ? " %" : ""}`;
}

// A difference: of accuracies in points.
function difference(setting, mean, half) {
  if (mean === null) return UNKNOWN;
  const unit = setting.percent ? " points" : "";
  return `${mean >= 0 ? "+" : ""}${number(setting, mean)} ± ${half === null ? "?" : number(setting, half)}${unit}`;
}

function significant(value, digits = 3) {
  if (value === null || value === undefined) return UNKNOWN;
  if (Math.abs(value) >= 1e15) return value.toExponential(1);
  return minus(String(Number(value.toPrecision(digits))));
}

// 0.52 ms, 1.2 s, 112 k, 5.1 GB
function amount(value, unit) {
  if (value === null || value === undefined) return UNKNOWN;
  if (unit === "ms" && value >= 1000) return `${significant(value / 1000)} s`;
  if (unit === "ms" || unit === "s") return `${significant(value)} ${unit}`;
  for (const [size, prefix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (value >= size) return `${significant(value / size)} ${prefix}${unit}`;
  }
  return `${significant(value)}${unit && ` ${unit}`}`;
}

function probability(value) {
  if (value === null || value === undefined) return UNKNOWN;
  return value < 1e-4 ? "< 0.0001" : significant(value, 2);
}

function minus(text) {
  return text.replace("-", "−");
}

function counted(n, word) {
  return `${n} ${word}${n === 1 ? "" : "s"}`;
}

// A long name, cut so that it fits; the tooltip and the table have it whole.
function cut(text, width) {
  const letters = [...text];
  const most = Math.max(3, Math.floor(width / 7.2));
  return letters.length <= most ? text : `${letters.slice(0, most - 1).join("")}…`;
}
