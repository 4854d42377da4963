// What all charts share: the frame, marks that pointer and keyboard reach, the tooltip.

const tip = document.getElementById("tip");
let told = null; // the node of the mark that the tooltip speaks of
const NEAR = 32; // pixels from the pointer to a mark that it means
const MOVES = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

class Chart {
  constructor(plot, setting, draw) {
    this.plot = plot;
    this.setting = setting;
    this.draw = draw;
    this.controls = plot.previousElementSibling;
    this.title = plot.closest("section").querySelector("h3").textContent;
    this.marks = [];
    plot.addEventListener("pointermove", (event) => this.point(event));
    plot.addEventListener("pointerdown", (event) => this.point(event));
    plot.addEventListener("pointerleave", () => this.leave());
    plot.addEventListener("keydown", (event) => this.key(event));
    plot.addEventListener("focusin", (event) => this.show(this.marks.find((mark) => mark.node === event.target)));
    plot.addEventListener("focusout", () => this.leave());
  }

  // Draws anew: after a choice, or where the room changed. The mark that had the focus has it again.
  redraw() {
    const focused = this.marks.find((mark) => mark.node === document.activeElement);
    this.leave();
    this.marks = [];
    this.drawnWidth = this.plot.clientWidth;
    try {
      this.draw(this);
    } catch (error) { // the other charts are drawn all the same
      this.plot.replaceChildren(html("p", { class: "hint" }, "This chart could not be drawn; the table has its numbers."));
      console.error(error);
    }
    const again = focused && this.marks.find((mark) => mark.row === focused.row && mark.col === focused.col);
    if (again) this.focus(again);
  }

  // An empty drawing with room for axes: margin is {left, right, top, bottom}.
  begin(height, margin, width = this.drawnWidth) {
    this.width = Math.max(260, width);
    this.height = height;
    this.inner = {
      left: margin.left, right: this.width - margin.right, top: margin.top, bottom: height - margin.bottom,
    };
    this.svg = svg("svg", {
      viewBox: `0 0 ${this.width} ${height}`, width: this.width, height, role: "group", "aria-label": `${this.title}. Arrow keys go from mark to mark.`,
    });
    this.plot.replaceChildren(this.svg);
    return this.svg;
  }

  // The last step of drawing: one mark can be reached with TAB, the others from it with arrows.
  end(words) {
    if (!this.marks.length) this.nothing(words ?? "No value is known.");
    this.cursor = svg("circle", { class: "cursor", r: 10, visibility: "hidden" });
    this.svg.append(this.cursor);
    const best = this.marks.find((mark) => mark.series === this.setting.order[0]) ?? this.marks[0];
    best?.node.setAttribute("tabindex", "0");
  }

  nothing(words) {
    const { left, right, top, bottom } = this.inner;
    this.svg.append(svg("text", { class: "empty", x: (left + right) / 2, y: (top + bottom) / 2 }, words));
  }

  // A mark: where it is, what it says (a title, and lines of label and value), and its neighbours by row and column.
  mark(parent, { x, y, row, col, title, lines, quiet = false, series = null }, ...drawn) {
    const label = [title, ...lines.map(([name, value]) => `${name} ${value}`)].join(", ");
    const node = svg("g", {
      class: "mark", transform: `translate(${x.toFixed(1)},${y.toFixed(1)})`,
      tabindex: "-1", role: "img", "aria-label": label,
    }, ...drawn);
    parent.append(node);
    this.marks.push({ node, x, y, row, col, title, lines, quiet, series });
  }

  valueAxis(y, title = "") {
    const { left, right, top } = this.inner;
    const axis = svg("g", { class: "axis", "aria-hidden": "true" }, svg("text", { class: "title", x: 4, y: top - 12 }, title));
    for (const value of y.ticks) {
      const text = this.setting.percent && !title ? `${significant(100 * value, 4)} %` : significant(title && this.setting.percent ? 100 * value : value, 4);
      axis.append(
        svg("line", { x1: left, x2: right, y1: y(value), y2: y(value) }),
        svg("text", { x: left - 8, y: y(value), dy: "0.32em", "text-anchor": "end" }, text),
      );
    }
    this.svg.append(axis);
  }

  // What guessing reaches, dotted; where the scale of the metric does not go so far, in words.
  chance(scale, upright = false) {
    const { chance } = this.setting;
    if (chance == null) return;
    const { left, right, top, bottom } = this.inner;
    const text = `chance ${significant(100 * chance, 3)} %`;
    const [low, high] = scale.domain;
    if (chance < low || chance > high) {
      this.plot.append(html("p", { class: "hint" }, `Guessing (${text}) lies ${chance < low ? "below" : "above"} what is drawn.`));
      return;
    }
    const at = scale(chance);
    const [line, label] = upright
      ? [{ x1: at, x2: at, y1: top, y2: bottom }, { x: at + 4, y: top + 8 }]
      : [{ x1: left, x2: right, y1: at, y2: at }, { x: left + 4, y: at - 5 }];
    this.svg.append(svg("g", { class: "chance", "aria-hidden": "true" }, svg("line", line), svg("text", label, text)));
  }

  // Labels that would run into one another are left out.
  baseAxis(ticks, title, space = 34) {
    const { left, right, bottom } = this.inner;
    const axis = svg("g", { class: "axis", "aria-hidden": "true" });
    axis.append(svg("line", { class: "base", x1: left, x2: right, y1: bottom, y2: bottom }));
    let last = -Infinity;
    for (const [x, text] of ticks) {
      axis.append(svg("line", { class: "base", x1: x, x2: x, y1: bottom, y2: bottom + 4 }));
      if (x - last < space) continue;
      axis.append(svg("text", { x, y: bottom + 17, "text-anchor": "middle" }, text));
      last = x;
    }
    axis.append(svg("text", { class: "title", x: (left + right) / 2, y: bottom + 36, "text-anchor": "middle" }, title));
    this.svg.append(axis);
  }

  point(event) {
    if (!this.svg) return;
    const box = this.svg.getBoundingClientRect();
    const scale = this.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    let nearest = null;
    let least = NEAR * scale;
    for (const mark of this.marks) {
      const far = Math.hypot(mark.x - x, mark.y - y) + (mark.quiet ? NEAR / 2 : 0);
      if (far < least) [nearest, least] = [mark, far];
    }
    if (nearest) this.show(nearest);
    else this.leave();
  }

  key(event) {
    const at = this.marks.find((mark) => mark.node === document.activeElement);
    if (!at || !MOVES.includes(event.key)) return;
    event.preventDefault();
    const upright = event.key === "ArrowUp" || event.key === "ArrowDown";
    const line = this.marks.filter((mark) => (upright ? mark.col === at.col : mark.row === at.row));
    line.sort((a, b) => (upright ? a.y - b.y : a.x - b.x));
    const place = line.indexOf(at);
    const next = { ArrowLeft: place - 1, ArrowUp: place - 1, Home: 0, End: line.length - 1 }[event.key] ?? place + 1;
    if (line[next]) this.focus(line[next]);
  }

  focus(mark) {
    for (const other of this.marks) other.node.setAttribute("tabindex", other === mark ? "0" : "-1");
    mark.node.focus({ preventScroll: false });
  }

  show(mark) {
    if (!mark) return;
    tip.replaceChildren(html("strong", {}, mark.title), html("dl", {}, ...mark.lines.flatMap(
      ([name, value]) => [html("dt", {}, name), html("dd", {}, value)])));
    tip.hidden = false;
    this.cursor.setAttribute("cx", mark.x);
    this.cursor.setAttribute("cy", mark.y);
    this.cursor.setAttribute("visibility", "visible");
    this.emphasise(mark.series);
    told = mark.node;
    place(tip, told.getBoundingClientRect());
  }

  leave() {
    tip.hidden = true;
    this.cursor?.setAttribute("visibility", "hidden");
    this.emphasise(null);
  }

  // Brings a contestant forward, or none.
  emphasise(i) {
    if (!this.svg) return;
    this.svg.classList.toggle("emphasis", i !== null);
    for (const node of this.svg.querySelectorAll("[data-c]")) {
      node.classList.toggle("on", i !== null && Number(node.dataset.c) === i);
    }
  }
}

// Beside a rectangle, within the window.
function place(node, { left, right, top, bottom }) {
  const { offsetWidth: width, offsetHeight: height } = node;
  const middle = (left + right) / 2 - width / 2;
  node.style.left = `${Math.max(8, Math.min(middle, document.documentElement.clientWidth - width - 8))}px`;
  node.style.top = `${top - height - 10 < 8 ? bottom + 10 : top - height - 10}px`;
}

// One of a few, as radio buttons: arrow keys, labels and state are the browser's.
let choices = 0;
function choice(title, options, selected, changed) {
  const name = `choice-${choices++}`;
  const inputs = options.map((_, i) => html("input", { type: "radio", name, value: i }));
  inputs[selected].checked = true;
  inputs.forEach((input, i) => input.addEventListener("change", () => changed(i)));
  const labels = options.map((option, i) => html("label", {}, inputs[i], html("span", {}, option)));
  const field = html("fieldset", { class: "choice" }, html("legend", {}, title), html("div", {}, ...labels));
  return { field, select: (i) => { inputs[i].checked = true; } };
}
