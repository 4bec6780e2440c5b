// The gallery: pairs of pictures by pages; only what a page shows is built, and only when it is shown.

const PAGE = 48;
const FACETS = 12;
const collator = new Intl.Collator("en", { numeric: true });

/** Rows that lie in the page, in chunks that are read when they are needed. */
class EmbeddedRows {
  constructor(page, here) {
    this.scripts = [...document.querySelectorAll("script[data-rows]")];
    this.chunks = this.scripts.map(() => null);
    this.size = page.chunk;
    this.length = here;
    this.thumbs = {};
  }

  chunk(n) {
    if (!this.chunks[n]) {
      const { rows, thumbs } = JSON.parse(this.scripts[n].textContent);
      Object.assign(this.thumbs, thumbs);
      this.chunks[n] = rows;
    }
    return this.chunks[n];
  }

  at(n) {
    return this.chunk(Math.floor(n / this.size))[n % this.size];
  }

  all() {
    return this.scripts.slice(0, Math.ceil(this.length / this.size)).flatMap((_, n) => this.chunk(n));
  }

  small(digest, link) {
    return this.thumbs[digest] ? `data:image/webp;base64,${this.thumbs[digest]}` : link;
  }
}

/** Rows that arrive while the run goes on: the newest first, and not more than can be looked through. */
class ArrivingRows {
  constructor(most) {
    this.most = most;
    this.rows = [];
  }

  get length() {
    return this.rows.length;
  }

  /** `arrived`: oldest first. */
  add(arrived) {
    const known = new Map(this.rows.map((row) => [row.id, row]));
    const count = (row) => (row.after || []).length;
    // What was only judged stays where it is; what has another picture comes first.
    const judged = new Map(arrived.filter((row) => known.has(row.id) && count(known.get(row.id)) === count(row)).map((row) => [row.id, row]));
    const fresh = arrived.filter((row) => !judged.has(row.id)).reverse();
    const again = new Set(fresh.map((row) => row.id));
    const kept = this.rows.filter((row) => !again.has(row.id)).map((row) => judged.get(row.id) || row);
    this.rows = [...fresh, ...kept].slice(0, this.most);
  }

  at(n) {
    return this.rows[n];
  }

  all() {
    return this.rows;
  }

  small(digest) {
    return `thumb/${digest}`;
  }
}

let rows = null;
let axes = {}; // the columns that tell tasks apart, with their values
let found = null; // the rows that pass the filters; null: all of them
let pageNumber = 0;

const shownCount = () => (found ? found.length : rows.length);
const shownRow = (n) => (found ? found[n] : rows.at(n));

function showGallery(source, { facets, states, warned, beyond }) {
  rows = source;
  buildFilters(facets, states, warned);
  $("filters").dataset.beyond = beyond ? whole.format(beyond) : "";
  filter();
  buildGridWhenSeen();
}

/** `states` by name with their counts, and how many are `warned`; a count of null is not told. */
function buildFilters(facets, states, warned = 0) {
  axes = facets;
  const form = $("filters");
  const before = new Map([...form.elements].map((field) => [field.name, field.value]));
  const select = (name, label, options, every) =>
    el("label", {}, label, el("select", { name }, el("option", { value: "" }, every),
      ...options.map(([value, text]) => el("option", { value }, text))));
  const several = Object.entries(states).filter(([, n]) => n !== 0);
  const counted = (name, n) => (n === null ? name : `${name} (${whole.format(n)})`);
  const fields = several.length > 1
    ? [select("state", "State", several.map(([state, n]) => [state, counted(state, n)]), "every state")]
    : [];
  if (warned !== 0) fields.push(select("warned", "Checks", [["yes", counted("with a warning", warned)]], "any result"));
  const columns = Object.entries(facets).slice(0, FACETS);
  for (const [name, values] of columns) {
    const sorted = values.map(String).sort(collator.compare);
    fields.push(select(`column:${name}`, name, sorted.map((value) => [value, value.slice(0, 80)]), "every value"));
  }
  fields.push(el("label", {}, "Text", el("input", { type: "search", name: "text", placeholder: "name, prompt, reason" })));
  fields.push(el("button", { type: "reset", class: "quiet" }, "Show all"));
  form.replaceChildren(...fields);
  for (const field of form.elements) if (before.has(field.name)) field.value = before.get(field.name);
}

const searched = new WeakMap();

function haystack(row) {
  if (!searched.has(row)) {
    const values = [row.name, row.reason, ...(row.warnings || []), ...Object.values(row.columns || {}), ...Object.values(row.params || {})];
    searched.set(row, values.join("\n").toLowerCase());
  }
  return searched.get(row);
}

const same = (held, chosen) => String(held) === chosen || (typeof held === "number" && held === Number(chosen));

function filter({ keepPage = false } = {}) {
  const wanted = [...new FormData($("filters"))].filter(([, value]) => value !== "");
  const text = wanted.filter(([name]) => name === "text").map(([, value]) => value.toLowerCase());
  const state = wanted.filter(([name]) => name === "state").map(([, value]) => value);
  const columns = wanted.filter(([name]) => name.startsWith("column:")).map(([name, value]) => [name.slice(7), value]);
  const warned = wanted.some(([name]) => name === "warned");
  found = wanted.length === 0 ? null : rows.all().filter((row) =>
    (!warned || row.warnings) &&
    state.every((value) => row.state === value) &&
    columns.every(([name, value]) => same((row.columns || {})[name], value)) &&
    text.every((value) => haystack(row).includes(value)));
  if (!keepPage) pageNumber = 0;
  showPage();
}

function showPage() {
  const total = shownCount();
  const pages = Math.max(1, Math.ceil(total / PAGE));
  pageNumber = Math.min(Math.max(pageNumber, 0), pages - 1);
  const first = pageNumber * PAGE;
  const shown = Array.from({ length: Math.min(PAGE, total - first) }, (_, n) => [first + n, shownRow(first + n)]);
  keyed($("grid"), shown.map(([at, row]) => [cardKey(row), at, row]),
    ([, , row]) => el("li", {}, card(row)), (item, [, at]) => { item.firstChild.dataset.at = at; });
  const beyond = $("filters").dataset.beyond;
  $("shown").textContent = (found ? `${whole.format(total)} of ${count(rows.length, "task", "tasks")}` : count(total, "task", "tasks")) +
    (beyond ? `; ${beyond} more are not in this page` : "");
  const step = (to, label, off) => el("button", { type: "button", disabled: off, onclick: () => turn(to) }, label);
  $("pager").hidden = pages < 2;
  $("pager").replaceChildren(
    step(0, "First", pageNumber === 0), step(pageNumber - 1, "Previous", pageNumber === 0),
    el("span", {}, `Page ${whole.format(pageNumber + 1)} of ${whole.format(pages)}`),
    step(pageNumber + 1, "Next", pageNumber === pages - 1), step(pages - 1, "Last", pageNumber === pages - 1));
}

function turn(to) {
  pageNumber = to;
  showPage();
  $("gallery").scrollIntoView();
  $("gallery").focus({ preventScroll: true });
}

/** A card is made anew when this changes. */
const cardKey = (row) => `${row.id} ${(row.after || []).length} ${row.state}`;

/** One task: what went in, what came out, or why nothing did. */
function card(row) {
  const after = (row.after || [])[0];
  const frames = [];
  if (row.before) frames.push(frame(row.before, "first"));
  if (after) frames.push(frame(after, "last"));
  if (!after) frames.push(el("span", { class: "frame" }, el("span", { class: "why", "data-state": row.state }, row.reason || row.state)));
  const several = (row.after || []).length > 1 ? `${row.after.length} pictures` : "";
  const beside = [row.state === "done" ? "" : row.state, several, ...about(row)];
  const title = row.name;
  const marks = [];
  if (after && row.state === "rejected") marks.push(el("span", { class: "mark", "data-tone": "rejected" }, row.reason));
  for (const warning of row.warnings || []) marks.push(el("span", { class: "mark", "data-tone": "caution" }, warning));
  return el("button", { type: "button", class: "card", "data-state": row.state, "aria-label": `${title}, ${row.state}${row.warnings ? ", with a warning" : ""}: open` },
    el("span", { class: "pair" }, ...frames),
    el("span", { class: "caption" }, el("b", {}, title), el("span", {}, beside.filter(Boolean).join(" · ")), ...marks));
}

/** What tells this task from its neighbours, in a few words. */
function about(row) {
  const columns = row.columns || {};
  const told = Object.keys(axes).map((name) => columns[name]).filter((value) => value !== undefined && value !== null);
  return (told.length ? told : [(row.params || {}).prompt]).map((value) => String(value ?? "")).filter(Boolean);
}

function frame([digest, link], side) {
  const image = el("img", { alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(el("span", { class: "why" }, side === "first" ? "the original is not here" : "the picture is not here")));
  image.src = rows.small(digest, link);
  return el("span", { class: `frame ${side}` }, image);
}

/** The tasks that failed, were rejected or have a warning, for one reason. */
function showReason(reason, state) {
  const form = $("filters");
  form.reset();
  const field = form.elements[state === "warned" ? "warned" : "state"];
  if (field) field.value = state === "warned" ? "yes" : state;
  form.elements.text.value = reason;
  filter();
  $("gallery").scrollIntoView();
  $("gallery").focus({ preventScroll: true });
}

let typing = 0;
$("filters").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(filter, event.target.type === "search" ? 150 : 0);
});
$("filters").addEventListener("submit", (event) => event.preventDefault());
$("filters").addEventListener("reset", () => setTimeout(filter, 0));
$("grid").addEventListener("click", (event) => {
  const chosen = event.target.closest(".card");
  if (chosen) openViewer(Number(chosen.dataset.at), shownCount(), shownRow);
});
