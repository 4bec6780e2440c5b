// Charts: a line over time and a row of bars, drawn by uPlot, each with its numbers as a table.

const drawn = new Map();
const HEIGHT = 200; // CSS pixels

/** Draws `chart` into the figure, or changes the data of the one that is there. */
function chart(figure, key, data, options, rows) {
  const place = figure.querySelector(".plot");
  const known = drawn.get(figure.id);
  if (known && known.key === key) {
    known.plot.setData(data);
    known.table.rows = rows;
    fillTable(known.table);
  } else {
    if (known) known.plot.destroy();
    place.replaceChildren();
    const size = { width: Math.max(place.clientWidth, 120), height: HEIGHT };
    const plot = new uPlot({ ...size, legend: { show: false }, padding: [10, 30, 0, 0], ...options }, data, place);
    const table = known ? known.table : tableOf(figure);
    table.rows = rows;
    fillTable(table);
    drawn.set(figure.id, { key, plot, table });
  }
  const canvas = place.querySelector("canvas");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `${figure.querySelector("h2").textContent}: ${said(figure)}`);
}

const said = (figure) => figure.querySelector("figcaption").dataset.rest || "";

/** The sentence below a chart's title; while the pointer is over the chart, the numbers under it. */
function caption(figure, text) {
  const line = figure.querySelector("figcaption");
  line.dataset.rest = text;
  if (!line.dataset.hover) line.textContent = text;
}

function readout(figure, tell) {
  return [
    (plot) => {
      const line = figure.querySelector("figcaption");
      const at = plot.cursor.idx;
      const hovered = at === null || at === undefined || plot.cursor.left < 0 ? "" : tell(at, plot.data);
      if (hovered) line.dataset.hover = "1";
      else delete line.dataset.hover;
      line.textContent = hovered || line.dataset.rest || "";
    },
  ];
}

function tableOf(figure) {
  const holder = el("div", { tabindex: "0", role: "region", "aria-label": "The same numbers" });
  const box = el("details", {}, el("summary", {}, "As a table"), holder);
  const table = { box, holder, rows: [] };
  box.addEventListener("toggle", () => fillTable(table));
  figure.append(box);
  return table;
}

function fillTable(table) {
  if (!table.box.open) return;
  const [header, ...rows] = table.rows();
  const cells = (tag, row) =>
    row.map((cell, n) => el(tag, { class: n ? "number" : null, scope: tag === "th" ? "col" : null }, String(cell)));
  table.holder.replaceChildren(
    el("table", {}, el("thead", {}, el("tr", {}, ...cells("th", header))),
      el("tbody", {}, ...rows.map((row) => el("tr", {}, ...cells("td", row))))),
  );
}

function nothing(figure, text) {
  const known = drawn.get(figure.id);
  if (known) {
    known.plot.destroy();
    known.table.box.remove();
    drawn.delete(figure.id);
  }
  figure.querySelector(".plot").replaceChildren(el("p", { class: "nothing" }, text));
  caption(figure, "");
}

const axis = (more) => ({
  stroke: colour("--muted"),
  grid: { stroke: colour("--edge"), width: 1 },
  ticks: { show: false },
  font: "12px system-ui, sans-serif",
  ...more,
});

const shortNumber = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const numbers = (plot, values) => values.map((value) => shortNumber.format(value));

/** Lines over time. `lines`: {name, values, stroke, fill, dash}; `unit` follows a number. */
function overTime(figure, times, step, lines, { show, unit }) {
  const long = times.length > 1 && times[times.length - 1] - times[0] > 86400;
  const form = long ? dayForm : step < 60 ? secondForm : clockForm;
  const stepped = uPlot.paths.stepped({ align: 1 });
  const options = {
    scales: { x: { time: true }, y: { range: (plot, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      axis({ size: 30, space: long ? 110 : 80, values: (plot, values) => values.map((v) => moment(v, form)), grid: { show: false } }),
      axis({ size: 52, values: numbers }),
    ],
    cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
    series: [
      {},
      ...lines.map((line) => ({
        stroke: colour(line.stroke), fill: line.fill ? colour(line.fill) : undefined, width: 1.8, dash: line.dash,
        paths: line.stepped ? stepped : undefined, points: { show: times.length < 2 },
      })),
    ],
    hooks: {
      setCursor: readout(figure, (at, data) =>
        `${moment(data[0][at], form)}: ` +
        lines.map((line, n) => `${show(data[n + 1][at] ?? 0)} ${line.name}`).join(", ")),
    },
  };
  const data = [times, ...lines.map((line) => line.values)];
  const key = `${theme()} ${step} ${long} ${lines.length}`;
  chart(figure, key, data, options, () => [
    ["from", ...lines.map((line) => `${line.name}${unit}`)],
    ...times.map((time, n) => [moment(time, form), ...lines.map((line) => show(line.values[n] ?? 0))]),
  ]);
}

/** Bars of equal width from 0 on. */
function bars(figure, lengths, stroke, fill) {
  const { width, bars: counts, open } = lengths;
  const middles = counts.map((_, n) => (n + 0.5) * width);
  const range = (n) =>
    open && n === counts.length - 1
      ? `${trimmed(n * width)} s and longer`
      : `${trimmed(n * width)} to ${trimmed((n + 1) * width)} s`;
  const options = {
    scales: {
      x: { time: false, range: () => [0, counts.length * width] },
      y: { range: (plot, low, high) => [0, Math.max(high * 1.08, 1)] },
    },
    axes: [
      axis({ values: (plot, values) => values.map((v) => `${trimmed(v)} s`), grid: { show: false }, space: 60, size: 30 }),
      axis({ size: 52, values: numbers, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 50000, 100000, 500000] }),
    ],
    cursor: { y: false, drag: { x: false, y: false }, points: { show: false } },
    series: [
      {},
      { stroke: colour(stroke), fill: colour(fill), width: 1, points: { show: false }, paths: uPlot.paths.bars({ size: [0.92, 200] }) },
    ],
    hooks: { setCursor: readout(figure, (at, data) => `${range(at)}: ${count(data[1][at], "time", "times")}`) },
  };
  chart(figure, `${theme()} ${width} ${counts.length}`, [middles, counts], options, () => [
    ["length", "times"],
    ...counts.map((n, at) => [range(at), whole.format(n)]),
  ]);
}

const trimmed = (value) => String(Number(value.toFixed(2)));

new ResizeObserver(() => {
  for (const [id, { plot }] of drawn) {
    const width = $(id).querySelector(".plot").clientWidth;
    if (width && width !== plot.width) plot.setSize({ width, height: HEIGHT });
  }
}).observe(document.querySelector(".charts"));
