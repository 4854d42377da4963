// Which contestants are in colour, and which k: said once in a setting, heard by all its charts.

class Shared {
  constructor(setting) {
    const { order, coloured, ks } = setting;
    this.setting = setting;
    this.shown = new Set(order.slice(0, coloured));
    this.others = true; // draw the others in grey
    this.k = Math.max(0, ks.findIndex((k) => Number(k) > 0));
    this.charts = [];
    this.selects = [];
    this.buttons = [];
    this.switches = [];
  }

  chooseK(index) {
    this.k = index;
    for (const select of this.selects) select(index);
    for (const chart of this.charts) if (chart.ofOneK) chart.redraw();
  }

  toggle(i) {
    if (!this.shown.delete(i)) this.shown.add(i);
    for (const [j, button] of this.buttons) if (i === j) button.setAttribute("aria-pressed", this.shown.has(i));
    this.recolour();
  }

  showOthers(on) {
    this.others = on;
    this.recolour();
  }

  recolour() {
    for (const { label, box } of this.switches) {
      box.checked = this.others;
      label.hidden = this.shown.size === this.setting.contestants.length;
    }
    for (const chart of this.charts) if (chart.inColour) chart.redraw();
  }

  // Those to draw, in the order of painting: the others, then the best last and so on top.
  painted() {
    const order = [...this.setting.order].reverse();
    const quiet = this.others ? order.filter((i) => !this.shown.has(i)) : [];
    return [...quiet, ...order.filter((i) => this.shown.has(i))];
  }
}

// A chart whose k can be chosen.
function withK(chart) {
  const { setting, shared } = chart;
  chart.ofOneK = true;
  if (setting.ks.length < 2) return;
  const one = choice("k", setting.ks, shared.k, (index) => shared.chooseK(index));
  shared.selects.push(one.select);
  chart.controls.append(one.field);
}

// A chart with contestants in colour: a button for each, those beyond the first few folded. Without the others
// the scale has to hold only those in colour, so that what is close together comes apart.
function withLegend(chart) {
  const { setting, shared } = chart;
  chart.inColour = true;
  const buttons = setting.order.map((i) => legendButton(chart, i));
  const legend = html("div", { class: "legend", role: "group", "aria-label": "Contestants in colour" });
  legend.append(...buttons.slice(0, setting.coloured));
  chart.controls.append(legend);
  const rest = buttons.slice(setting.coloured);
  if (rest.length) {
    chart.controls.append(html("details", { class: "more" }, html("summary", {}, `${rest.length} more`),
      html("div", { class: "legend", role: "group", "aria-label": "More contestants" }, ...rest)));
  }
  const box = html("input", { type: "checkbox" });
  const label = html("label", { class: "switch" }, box, " draw the others in grey");
  box.addEventListener("change", () => shared.showOthers(box.checked));
  shared.switches.push({ label, box });
  chart.controls.append(label);
}

function legendButton(chart, i) {
  const { setting, shared } = chart;
  const style = look(setting, i);
  const key = svg("svg", { class: `key ${style.colour}`, viewBox: "0 0 30 12", width: 30, height: 12, "aria-hidden": "true" },
    svg("line", { class: "line", x1: 1, x2: 29, y1: 6, y2: 6, "stroke-dasharray": style.dash }),
    svg("g", { class: "dot", transform: "translate(15,6)" }, shape(style.marker, 4)));
  const button = html("button", { type: "button", "aria-pressed": shared.shown.has(i), title: setting.contestants[i].name },
    key, html("span", {}, setting.contestants[i].name));
  button.addEventListener("click", () => shared.toggle(i));
  for (const [event, who] of [["pointerenter", i], ["focus", i], ["pointerleave", null], ["blur", null]]) {
    button.addEventListener(event, () => {
      for (const other of shared.charts) if (other.inColour) other.emphasise(who);
    });
  }
  shared.buttons.push([i, button]);
  return button;
}
