// The page: where its data comes from. A report carries all of it; the live page is told.

const STRIP = 16;
const SPOKEN_EVERY = 15000;

document.addEventListener("theme", () => facts && showCharts(facts));

function report(page) {
  showFigures(page.figures);
  const open = () => {
    const scripts = document.querySelectorAll("script[data-rows]");
    const { here, ...told } = JSON.parse(scripts[scripts.length - 1].textContent);
    showGallery(new EmbeddedRows(page, here), told);
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", open);
  else open();
}

function live(page) {
  const arriving = new ArrivingRows(page.most);
  rows = arriving;
  let facets = "";
  let spoken = -SPOKEN_EVERY;
  const source = new EventSource("events");
  source.addEventListener("figures", (event) => {
    const found = JSON.parse(event.data);
    showFigures(found);
    showControls(found.controls, found.state);
    if (performance.now() - spoken > SPOKEN_EVERY || found.state !== "running") {
      spoken = performance.now();
      if ($("spoken").textContent !== headline(found)) $("spoken").textContent = headline(found);
    }
  });
  source.addEventListener("pictures", (event) => {
    const told = JSON.parse(event.data);
    arriving.add(told.rows);
    const states = Object.fromEntries(arriving.rows.map((row) => [row.state, null]));
    const warned = arriving.rows.some((row) => row.warnings) ? null : 0;
    const fields = JSON.stringify([told.facets, Object.keys(states).sort(), warned]);
    if (fields !== facets) {
      facets = fields;
      buildFilters(told.facets, states, warned);
    }
    filter({ keepPage: true });
    gridSoon();
    keyed($("newest"), arriving.rows.slice(0, STRIP).map((row, n) => [cardKey(row), n, row]),
      ([, , row]) => { const made = card(row); made.classList.add("fresh"); return made; },
      (made, [, n]) => { made.dataset.at = n; });
  });
  source.addEventListener("waiting", (event) => {
    $("headline").textContent = JSON.parse(event.data);
  });
  source.addEventListener("ended", () => {
    source.close();
    endControls();
    $("newest-note").textContent = "batcher has ended; this page no longer changes.";
  });
  source.addEventListener("open", () => { $("newest-note").textContent = ""; });
  source.addEventListener("error", () => {
    const chip = $("state");
    Object.assign(chip, { hidden: false, textContent: "connection lost" }).dataset.tone = "caution";
    $("newest-note").textContent = "The connection to batcher is lost; it is tried again.";
  });
  $("newest").addEventListener("click", (event) => {
    const chosen = event.target.closest(".card");
    if (chosen) openViewer(Number(chosen.dataset.at), arriving.length, (n) => arriving.at(n));
  });
  buildFilters({}, {});
  filter();
}

const page = JSON.parse($("data-page").textContent);
if (document.body.dataset.mode === "live") live(page);
else report(page);
