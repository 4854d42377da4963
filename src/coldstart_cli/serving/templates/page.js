"use strict"; {
const at = id => document.getElementById(id);
// Whatever comes from the server or a person enters the page as text alone.
const made = (kind, settings = {}, ...inside) => {
  const node = document.createElement(kind);
  for (const [key, value] of Object.entries(settings)) {
    if (key in node) node[key] = value; else node.setAttribute(key, value);
  }
  node.append(...inside);
  return node;
};
const percent = share => `${(100 * share).toFixed(1)} %`;

let token = "", facts, labels, maker;
const kept = [];

function fail(line) {
  at("error").textContent = line;
  at("error").hidden = !line;
}

async function asked(path, body) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { headers, method: body === undefined ? "GET" : "POST", body: body && JSON.stringify(body) });
  } catch {
    throw new Error("server: it does not answer; see whether it runs");
  }
  const answer = await response.json().catch(() => ({}));
  if (response.status === 401) at("access").hidden = false;
  if (!response.ok) throw new Error(answer.error || `server: it answers ${response.status}; try again`);
  return answer;
}

async function open() {
  const described = await asked("openapi.json");
  at("access").hidden = true;
  facts = described["x-coldstart"];
  labels = described.components.schemas.Label?.enum;
  document.title = `${described.info.title}: coldstart serve`;
  at("name").textContent = described.info.title;
  at("about").textContent = described.info.description + (facts.threshold ? `; not sure below ${percent(facts.threshold)}` : "");
  maker = forms[facts.layout]();
  at("how").textContent = maker.how;
  at("keys").textContent = maker.keys || "";
  at("ask").hidden = false;
}

// A form for each layout: `inputs` as /predict takes them, each with what is shown and what a row of CSV holds.
const forms = {
  text() {
    const column = facts.columns[0].name;
    const area = made("textarea", { id: "text", rows: 5, required: true, dir: "auto" });
    const lines = made("input", { type: "checkbox", id: "lines" });
    at("fields").replaceChildren(
      made("label", { htmlFor: "text" }, "Text"), area,
      made("label", { className: "inline" }, lines, "Each line is a text of its own"),
    );
    area.addEventListener("keydown", event => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("ask").requestSubmit();
    });
    return {
      heads: [column],
      keys: "Ctrl+Enter",
      how: "Add them to the file that the bundle was adapted from, and adapt again.",
      read: () => (lines.checked ? area.value.split("\n").filter(line => line.trim()) : [area.value])
        .map(text => ({ input: text, shown: text, cells: [text] })),
    };
  },
  tabular() {
    const fields = facts.columns.map((column, i) => {
      const field = column.values
        ? made("select", { id: `c${i}` }, made("option", { value: "" }, "(missing)"), ...column.values.map(value => made("option", { value }, value)))
        : made("input", { id: `c${i}`, inputMode: "decimal", autocomplete: "off" });
      return [column.name, field];
    });
    at("fields").replaceChildren(made("div", { className: "columns" }, ...fields.map(([name, field]) =>
      made("div", {}, made("label", { htmlFor: field.id, dir: "auto" }, name), field))));
    return {
      heads: fields.map(([name]) => name),
      how: "Add them to the table that the bundle was adapted from, and adapt again.",
      read: () => {
        const cells = fields.map(([, field]) => field.value.trim());
        const input = Object.fromEntries(fields.map(([name], i) => [name, cells[i] || null]));
        return [{ input, shown: fields.map(([name], i) => `${name}: ${cells[i] || "missing"}`).join("\n"), cells }];
      },
    };
  },
  image_folder() {
    const files = made("input", { id: "files", type: "file", multiple: true, accept: "image/*", required: true });
    at("fields").replaceChildren(made("label", { htmlFor: "files" }, "Images"), files);
    return {
      heads: ["file"],
      how: "Names of files with their labels: move each into its label's folder, and adapt again.",
      read: () => Promise.all([...files.files].map(file => new Promise((done, failed) => {
        const reader = new FileReader();
        reader.onerror = () => failed(new Error(`${file.name}: it cannot be read; choose another`));
        reader.onload = () => {
          const image = made("img", { src: URL.createObjectURL(file), alt: "" });
          done({ input: reader.result, image, shown: file.name, cells: [file.name] });
        };
        reader.readAsDataURL(file);
      }))),
    };
  },
  arrays() {
    const shape = facts.shape;
    const area = made("textarea", { id: "text", rows: 5, required: true, spellcheck: false });
    at("fields").replaceChildren(made("label", { htmlFor: "text" }, `Numbers of shape ${shape.join(" x ")}, as JSON`), area);
    const size = shape.reduce((a, b) => a * b, 1);
    return {
      heads: Array.from({ length: size }, (_, i) => `x${i}`),
      how: "A table of all numbers of an input in one row, which dataset=tabular reads.",
      read: () => {
        let input;
        try { input = JSON.parse(area.value); } catch { throw new Error("input: is not JSON; write [1, 2.5, ...]"); }
        return [{ input, shown: area.value, cells: [input].flat(Infinity) }];
      },
    };
  },
};

function bars(answer) {
  const top = answer.top || [{ label: answer.label, probability: answer.probability }];
  return made("dl", { className: "bars" }, ...top.flatMap(one => {
    const bar = made("span");
    bar.style.width = `${100 * one.probability}%`;
    return [
      made("dt", { dir: "auto" }, one.label),
      made("dd", { className: "track", ariaHidden: "true" }, bar),
      made("dd", { className: "share" }, percent(one.probability)),
    ];
  }));
}

function answered(given, answer, i) {
  const item = made("li");
  item.append(made("div", { className: "given", dir: "auto" }, ...(given.image ? [given.image] : []), given.shown));
  const id = `label${i}`;
  let field;
  if (labels) {
    const best = answer.top ? answer.top[0].label : answer.label;
    item.append(made("div", { className: "verdict", dir: "auto" }, answer.label ?? "(not sure)"), bars(answer));
    field = made("select", { id }, ...labels.map(label => made("option", { value: label, selected: label === best }, label)));
  } else {
    item.append(made("div", { className: "verdict" }, String(answer.value)));
    field = made("input", { id, inputMode: "decimal", value: String(answer.value), autocomplete: "off" });
  }
  const keep = made("button", { type: "button", className: "quiet" }, "Keep this row");
  keep.addEventListener("click", () => {
    const row = { shown: given.shown, cells: given.cells, answer: field.value };
    const before = kept.findIndex(one => one.cells.join("\0") === row.cells.join("\0"));
    if (before < 0) kept.push(row); else kept[before] = row;
    list();
  });
  item.append(made("div", { className: "fix" }, made("label", { htmlFor: id }, labels ? "Right label" : "Right value", field), keep));
  return item;
}

function list() {
  at("keeping").hidden = !kept.length;
  at("count").textContent = `${kept.length} row${kept.length === 1 ? "" : "s"}`;
  at("kept").replaceChildren(...kept.map((row, i) => {
    const drop = made("button", { type: "button", className: "quiet", ariaLabel: `Remove row ${i + 1}` }, "Remove");
    drop.addEventListener("click", () => {
      kept.splice(i, 1);
      list();
      (at("kept").querySelectorAll("button")[Math.min(i, kept.length - 1)] || at("go")).focus();
    });
    return made("li", {}, made("span", { dir: "auto" }, row.answer, made("span", { className: "text", dir: "auto" }, row.shown)), drop);
  }));
}

// RFC 4180; text stands as it was typed, for it is learned from.
const cell = value => /[",\r\n]|^\s|\s$/.test(String(value)) ? `"${String(value).replaceAll('"', '""')}"` : String(value);
const csv = () => [[...maker.heads, facts.answer_column || "label"], ...kept.map(row => [...row.cells, row.answer])]
  .map(row => row.map(cell).join(",") + "\n").join("");

at("ask").addEventListener("submit", async event => {
  event.preventDefault();
  if (at("go").getAttribute("aria-disabled") === "true") return;
  at("go").setAttribute("aria-disabled", "true");
  fail("");
  try {
    const given = await maker.read();
    const told = await asked("predict", { inputs: given.map(one => one.input) });
    at("remarks").replaceChildren(...told.remarks.map(line => made("li", { dir: "auto" }, line)));
    at("answers").replaceChildren(...told.answers.map((answer, i) => answered(given[i], answer, i)));
    at("answered").hidden = false;
    at("answers-title").focus();
  } catch (error) {
    fail(error.message);
  } finally {
    at("go").removeAttribute("aria-disabled");
  }
});

at("access").addEventListener("submit", event => {
  event.preventDefault();
  token = at("token").value;
  fail("");
  open().catch(error => fail(error.message));
});

at("clear").addEventListener("click", () => { kept.length = 0; list(); at("go").focus(); });

at("download").addEventListener("click", () => {
  const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  made("a", { href: address, download: "corrected.csv" }).click();
  setTimeout(() => URL.revokeObjectURL(address), 1000);
});

open().catch(error => fail(error.message));
}
