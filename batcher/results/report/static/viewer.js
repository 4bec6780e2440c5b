// One task at its full size: before and after under a slider, or side by side, and all that is known of it.

const viewer = { at: 0, count: 0, row: null, position: 0, mode: "", usual: "slider", of: () => null, viewed: () => {} };

function openViewer(at, total, of) {
  Object.assign(viewer, { count: total, of });
  if (!$("viewer").open) $("viewer").showModal();
  view(at);
}

function view(at) {
  viewer.at = Math.min(Math.max(at, 0), viewer.count - 1);
  viewer.row = viewer.of(viewer.at);
  viewer.position = 0;
  viewer.mode = "";
  showViewer();
  viewer.viewed();
}

function showViewer() {
  const { row } = viewer;
  const picture = (row.after || [])[viewer.position];
  $("viewer-name").textContent = row.name;
  $("previous").disabled = viewer.at === 0;
  $("next").disabled = viewer.at >= viewer.count - 1;
  const both = Boolean(row.before && picture);
  $("modes").hidden = !both;
  $("absent").hidden = Boolean(picture || row.before);
  $("absent").textContent = row.reason || row.state;
  load("before", row.before, row);
  load("after", picture, row);
  setMode(both ? viewer.mode || viewer.usual : picture ? "after" : row.before ? "before" : "none");
  cut(50);
  const several = row.after || [];
  $("several").hidden = several.length < 2;
  $("several").replaceChildren(...several.map((_, n) =>
    el("button", { type: "button", "aria-pressed": String(n === viewer.position), onclick: () => { viewer.position = n; showViewer(); } }, String(n + 1))));
  showFacts(row, picture);
}

/** The full picture where it can be had, else its thumbnail. */
function load(side, source, row) {
  const image = $(side).querySelector("img");
  image.onerror = null;
  image.removeAttribute("src");
  if (!source) return;
  const [digest, link] = source;
  const small = rows.small(digest, link);
  image.alt = `${row.name}, ${side}`;
  image.onerror = () => {
    image.onerror = null;
    if (small !== link) image.src = small;
  };
  image.onload = () => {
    if (viewer.mode || viewer.usual !== "slider" || viewer.row !== row) return;
    const [one, two] = ["before", "after"].map((id) => $(id).querySelector("img"));
    const alike = Math.abs(one.naturalWidth / one.naturalHeight / (two.naturalWidth / two.naturalHeight) - 1);
    // Two pictures of different shapes do not lie on one another, unless it is known where.
    if (one.naturalWidth && two.naturalWidth && row.before && alike > 0.03 && !placement()) setMode("sides");
  };
  image.src = link;
}

/** The rectangle of the picture that the original covers, in the picture's pixels. */
function placement() {
  const picture = ((viewer.row || {}).after || [])[viewer.position];
  return viewer.row && viewer.row.before && picture ? picture[4] : null;
}

/** Under the slider, the original lies where the model laid it. */
function lay() {
  const image = $("before").querySelector("img");
  const rectangle = $("stage").dataset.mode === "slider" ? placement() : null;
  const style = { inset: "", left: "", top: "", width: "", height: "", objectFit: "" };
  if (rectangle) {
    const [, , wide, high] = viewer.row.after[viewer.position];
    const box = $("after").getBoundingClientRect();
    const scale = Math.min(box.width / wide, box.height / high);
    const [x, y, width, height] = rectangle.map((pixels) => pixels * scale);
    Object.assign(style, {
      inset: "auto", left: `${(box.width - wide * scale) / 2 + x}px`, top: `${(box.height - high * scale) / 2 + y}px`,
      width: `${width}px`, height: `${height}px`, objectFit: "fill",
    });
  }
  Object.assign(image.style, style);
}

function setMode(mode) {
  $("stage").dataset.mode = mode;
  lay();
  for (const button of $("modes").children) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
}

function cut(percent) {
  $("cut").value = percent;
  $("stage").style.setProperty("--cut", `${percent}%`);
}

function showFacts(row, picture) {
  const facts = [["state", row.state], ["reason", row.reason], ["rejected by", row.by]];
  for (const warning of row.warnings || []) facts.push(["warning", warning]);
  if (picture) facts.push(["size", `${picture[2]} × ${picture[3]} pixels`]);
  if (picture && document.body.dataset.mode === "report") facts.push(["file", el("a", { href: picture[1], target: "_blank", rel: "noreferrer" }, decodeURIComponent(picture[1].split("/").pop()))]);
  if (row.beforeUrl) facts.push(["made from", row.beforeUrl]);
  if (row.cost !== undefined) facts.push(["cost", `${credits(row.cost)} credits`]);
  if (row.seconds !== undefined) facts.push(["service time", seconds(row.seconds)]);
  for (const [name, value] of Object.entries(row.columns || {})) facts.push([name, String(value)]);
  const told = row.columns || {};
  for (const [name, value] of Object.entries(row.params || {})) if (told[name] !== value) facts.push([name in told ? `${name} (sent)` : name, String(value)]);
  $("facts").replaceChildren(...facts.filter(([, value]) => value).flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

new ResizeObserver(lay).observe($("stage"));
$("cut").addEventListener("input", (event) => cut(event.target.value));
$("modes").addEventListener("click", (event) => {
  const mode = event.target.dataset.mode;
  if (mode) setMode((viewer.mode = mode));
});
$("previous").addEventListener("click", () => view(viewer.at - 1));
$("next").addEventListener("click", () => view(viewer.at + 1));
$("close").addEventListener("click", () => $("viewer").close());
$("viewer").addEventListener("click", (event) => {
  if (event.target === $("viewer") && $("viewer").open) $("viewer").close();
});
$("viewer").addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey) return;
  const onSlider = event.target === $("cut");
  if (event.key === "PageDown" || (event.key === "ArrowRight" && !onSlider)) view(viewer.at + 1);
  else if (event.key === "PageUp" || (event.key === "ArrowLeft" && !onSlider)) view(viewer.at - 1);
  else return;
  event.preventDefault();
});
