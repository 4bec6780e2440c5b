// The grid: any two axes against each other, a picture and the counts in each cell; a cell filters the gallery.

const GRID_MOST = 24; // values of an axis that are shown
const GRID_REST = 400; // milliseconds between two drawings while pictures arrive

/** What two axes divide the tasks into: cells by the values' texts, with a picture and counts by state. */
function cellsOf(tasks, down, across) {
  const cells = new Map();
  for (const row of tasks) {
    const columns = row.columns || {};
    const [one, two] = [columns[down], columns[across]];
    if (one === undefined || two === undefined) continue;
    const key = JSON.stringify([String(one), String(two)]);
    const cell = cells.get(key) || { row: null, n: 0, rejected: 0, failed: 0, waiting: 0 };
    cells.set(key, cell);
    cell.n += 1;
    if (row.state === "rejected" || row.state === "failed") cell[row.state] += 1;
    else if (row.state !== "done") cell.waiting += 1;
    // A delivered picture stands for its cell before a rejected one does.
    if (row.after && (!cell.row || (cell.row.state !== "done" && row.state === "done"))) cell.row = row;
  }
  return cells;
}

/** The axes that can be chosen; the form keeps what was chosen. */
function buildGrid() {
  const names = Object.keys(axes);
  $("matrix").hidden = names.length < 2;
  if (names.length < 2) return;
  const form = $("matrix-axes");
  for (const [n, field] of [form.elements.down, form.elements.across].entries()) {
    const before = field.value;
    if ([...field.options].map((option) => option.value).join("\n") !== names.join("\n")) {
      field.replaceChildren(...names.map((name) => el("option", { value: name }, name)));
      // What has more values goes down: a page is longer than it is wide.
      const longest = [...names].sort((one, two) => axes[two].length - axes[one].length);
      field.value = names.includes(before) ? before : longest[n];
    }
  }
  drawGrid();
}

function drawGrid() {
  const form = $("matrix-axes");
  const [down, across] = [form.elements.down.value, form.elements.across.value];
  const sorted = (name) => axes[name].map(String).sort(collator.compare);
  const [lines, columns] = [sorted(down), down === across ? [] : sorted(across)];
  const beyond = [[lines, down], [columns, across]].filter(([values]) => values.length > GRID_MOST)
    .map(([values, name]) => `${GRID_MOST} of ${values.length} values of ${name}`);
  $("matrix-note").textContent = down === across ? "Choose two different axes."
    : beyond.length ? `${beyond.join(" and ")} are shown.` : "";
  const cells = cellsOf(rows.all(), down, across);
  const shown = columns.slice(0, GRID_MOST);
  const body = !shown.length ? [] : lines.slice(0, GRID_MOST).map((line) => el("tr", {}, el("th", { scope: "row" }, line),
    ...shown.map((column) => el("td", {}, gridCell(cells.get(JSON.stringify([line, column])), { [down]: line, [across]: column })))));
  const head = el("tr", {}, el("td", {}), ...shown.map((column) => el("th", { scope: "col" }, column)));
  $("matrix-table").replaceChildren(el("thead", {}, head), el("tbody", {}, ...body));
}

function gridCell(cell, values) {
  if (!cell) return el("span", { class: "muted" }, "–");
  const told = [count(cell.n, "task", "tasks"), ...["rejected", "failed", "waiting"].filter((name) => cell[name]).map((name) => `${whole.format(cell[name])} ${name}`)];
  const picture = cell.row ? frame(cell.row.after[0], "last")
    : el("span", { class: "frame" }, el("span", { class: "why", "data-state": cell.failed ? "failed" : "planned" }, cell.failed ? "failed" : "no picture yet"));
  const label = `${Object.entries(values).map(([name, value]) => `${name} ${value}`).join(", ")}: ${told.join(", ")}; show in the gallery`;
  return el("button", { type: "button", class: "card cell", "data-state": cell.row ? cell.row.state : "", "aria-label": label, onclick: () => showCell(values) },
    // Of one task its state is enough, and of one that is done nothing need be said.
    picture, el("span", { class: "tally" }, ...(cell.n > 1 ? told : told.slice(1).map((text) => text.slice(2))).map((text) => el("span", { "data-tone": text.endsWith("rejected") ? "rejected" : text.endsWith("failed") ? "bad" : "" }, text))));
}

/** The tasks of one cell, in the gallery. */
function showCell(values) {
  const form = $("filters");
  form.reset();
  for (const [name, value] of Object.entries(values)) {
    const field = form.elements[`column:${name}`];
    if (field) field.value = value;
  }
  filter();
  $("gallery").scrollIntoView();
  $("gallery").focus({ preventScroll: true });
}

/** It reads every row: a page that is only opened reads what it shows. */
function buildGridWhenSeen() {
  $("matrix").hidden = Object.keys(axes).length < 2;
  const watch = new IntersectionObserver(([seen]) => {
    if (!seen.isIntersecting) return;
    watch.disconnect();
    buildGrid();
  });
  watch.observe($("matrix"));
}

let gridDue = 0;

/** Draws it soon, however often it is asked: pictures may arrive in hundreds. */
function gridSoon() {
  if (!gridDue) gridDue = setTimeout(() => { gridDue = 0; buildGrid(); }, GRID_REST);
}

$("matrix-axes").addEventListener("input", drawGrid);
$("matrix-axes").addEventListener("submit", (event) => event.preventDefault());
