// Tables whose rows a reader may sort: by a button in each head, and by a list where the heads have no room.

function sortable(details) {
  const table = details.querySelector("table");
  const heads = [...table.tHead.rows[0].cells];
  const select = html("select", {}, html("option", { value: -1 }, "as they came"),
    ...heads.map((head, i) => html("option", { value: i }, head.textContent)));
  const came = [...table.tBodies[0].rows];
  const sort = (column, falling) => {
    heads.forEach((head, i) => (i === column ? head.setAttribute("aria-sort", falling ? "descending" : "ascending") : head.removeAttribute("aria-sort")));
    select.value = column;
    table.tBodies[0].append(...(column < 0 ? came : sorted(came, column, falling)));
  };
  heads.forEach((head, i) => {
    const button = html("button", { type: "button" }, head.textContent);
    button.addEventListener("click", () => sort(i, head.getAttribute("aria-sort") === "ascending"));
    head.replaceChildren(button);
  });
  select.addEventListener("change", () => sort(Number(select.value), false));
  details.querySelector(".scroll").before(html("label", { class: "select sort" }, "Sort by ", select));
}

// Numbers by size, others by letters; what is not known comes last either way. Equal rows stay as they came.
function sorted(rows, column, falling) {
  const keyed = rows.map((row) => {
    const text = row.cells[column].textContent;
    return { row, text, value: Number(text.replaceAll(",", "").replace("−", "-")), none: text === UNKNOWN || text === "" };
  });
  const known = keyed.filter(({ none }) => !none);
  const numbers = known.every(({ value }) => !Number.isNaN(value));
  const order = numbers ? (a, b) => a.value - b.value : (a, b) => a.text.localeCompare(b.text, undefined, { numeric: true });
  known.sort((a, b) => (falling ? order(b, a) : order(a, b)));
  return [...known, ...keyed.filter(({ none }) => none)].map(({ row }) => row);
}
