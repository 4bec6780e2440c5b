// The contact sheet: small pictures of the tasks under review, by pages; only what a page shows is asked for.

const SHEET = 60;

let sheetPage = 0;

/** The page that holds place `at` of the list. */
function sheetAt(at) {
  sheetPage = Math.floor(Math.max(at, 0) / SHEET);
}

/** Draws the page; `list` are task numbers, `at` the place of the one that is looked at. */
function drawSheet(list, at, standing) {
  const pages = Math.max(1, Math.ceil(list.length / SHEET));
  sheetPage = Math.min(Math.max(sheetPage, 0), pages - 1);
  const first = sheetPage * SHEET;
  const shown = list.slice(first, first + SHEET);
  const known = new Map([...$("sheet").children].map((item) => [item.dataset.key, item]));
  const wanted = shown.map((task, n) => {
    const row = knownRow(task);
    // A picture is asked for once: an item is made anew when its row arrives, or has other pictures.
    const key = `${task} ${row ? ((row.after || [])[0] || [""])[0] : "…"}`;
    const item = known.get(key) || el("li", { "data-key": key }, tile(row));
    dress(item.firstChild, standing(task), first + n, at);
    return item;
  });
  if (wanted.length !== $("sheet").children.length || wanted.some((item, n) => $("sheet").children[n] !== item)) $("sheet").replaceChildren(...wanted);
  $("sheet-note").textContent = list.length ? `${whole.format(first + 1)} to ${whole.format(first + shown.length)} of ${whole.format(list.length)}` : "";
  const step = (to, label, off) => el("button", { type: "button", disabled: off, onclick: () => turnSheet(to) }, label);
  $("pager").hidden = pages < 2;
  $("pager").replaceChildren(
    step(0, "First", sheetPage === 0), step(sheetPage - 1, "Previous page", sheetPage === 0),
    el("span", {}, `Page ${whole.format(sheetPage + 1)} of ${whole.format(pages)}`),
    step(sheetPage + 1, "Next page", sheetPage === pages - 1), step(pages - 1, "Last", sheetPage === pages - 1));
  return shown;
}

function tile(row) {
  const picture = row && (row.after || [])[0];
  const image = picture ? el("img", { alt: "", loading: "lazy", decoding: "async" }) : null;
  if (image) {
    image.addEventListener("error", () => image.replaceWith(el("span", { class: "why" }, "the picture is not here")));
    image.src = rows.small(picture[0], picture[1]);
  }
  return el("button", { type: "button", class: "card tile" },
    el("span", { class: "frame" }, image),
    el("span", { class: "label" }, el("span", { class: "sign", "aria-hidden": "true" }), el("b", {}, row ? row.name : "…")));
}

const SIGNS = { kept: "✓", rejected: "✗", unreviewed: "" };

function dress(button, { name, word, warned }, n, at) {
  button.dataset.at = n;
  button.dataset.standing = word;
  if (warned) button.dataset.warned = "yes";
  else delete button.dataset.warned;
  button.setAttribute("aria-current", String(n === at));
  button.setAttribute("aria-label", `${name}, ${word}${warned ? ", with a warning" : ""}`);
  button.querySelector(".sign").textContent = SIGNS[word];
}
