// The figures: where the job stands, how fast it went, how long things took, what it cost, why tasks failed.

const STAGES = [
  ["planned", ["planned"], "wait for their turn"],
  ["in flight", ["submitting", "submitted"], "at the provider"],
  ["doubtful", ["doubtful"], "the answer was lost"],
  ["fetching", ["ready"], "paid, files on their way"],
  ["done", ["done"], "delivered"],
  ["rejected", ["rejected"], "set aside by a check or a person"],
  ["failed", ["failed"], "ended without a picture"],
];
const MONEY = [
  ["spent", "What the provider billed.", ""],
  ["reserved", "For requests that are at the provider now.", ""],
  ["doubtful", "Perhaps paid: requests whose answer was lost.", "caution"],
  ["lost", "Paid, but the record was gone before it could be fetched.", "bad"],
];

let facts = null;
let session = null;

/** Shows everything anew from one object: the same for the report and for the live page. */
function showFigures(found) {
  facts = found;
  $("job").textContent = found.job;
  $("model").textContent = found.model;
  document.title = `${progress(found)}${found.job} · batcher`;
  showStanding(found);
  showTiles(found);
  showSessions(found.sessions);
  showCharts(found);
  showMoney(found);
  showFailures(found);
}

function progress(found) {
  if (found.state !== "running" || !found.total) return "";
  return `${Math.floor((100 * ended(found)) / found.total)} % · `;
}

/** Tasks that came to their end. */
const ended = ({ counts }) => counts.done + counts.rejected + counts.failed;

function showStanding(found) {
  const tone = { running: "live", finished: found.counts.failed ? "caution" : "good" }[found.state] || "caution";
  const chip = $("state");
  chip.hidden = false;
  chip.dataset.tone = tone;
  chip.textContent = found.state;
  const updated = new Date(found.updated_at);
  $("updated").replaceChildren("as of ", el("time", { datetime: found.updated_at }, dayForm.format(updated)));
  $("headline").textContent = headline(found);
  $("causes").replaceChildren(...(found.causes || []).map((cause) => el("p", {}, cause)));
  const stages = STAGES.map(([name, states, meaning]) => [name, states.reduce((n, s) => n + found.counts[s], 0), meaning])
    .filter(([name, n]) => n || (name !== "doubtful" && name !== "rejected"));
  const along = ["done", "rejected", "failed", "fetching", "doubtful", "in flight", "planned"];
  const parts = stages.filter(([, n]) => n).sort(([one], [two]) => along.indexOf(one) - along.indexOf(two));
  keyed($("bar"), parts, ([name]) => el("span", { "data-stage": name }),
    (span, [, n]) => { span.style.flexGrow = n; });
  $("bar").setAttribute("aria-label", stages.map(([name, n]) => `${whole.format(n)} ${name}`).join(", "));
  keyed($("flow"), stages, ([name, , meaning]) => el("li", { title: meaning },
    el("span", { class: "dot", "data-stage": name }), el("span", { class: "label" }, name), el("span", { class: "count" })),
    (item, [name, n]) => {
      item.lastChild.textContent = whole.format(n) + (name === "in flight" ? mayBe(found.in_flight) : "");
    });
}

/** How many may be in flight now, behind how many are; nothing where no run goes on. */
function mayBe(inFlight) {
  if (!inFlight) return "";
  const auto = inFlight.auto ? ` (auto, at most ${whole.format(inFlight.most)})` : "";
  return ` of ${whole.format(inFlight.size)}${auto}`;
}

/** Children by name: kept where they are there already, so that nothing flickers and widths can move. */
function keyed(parent, items, make, fill) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const child = known.get(item[0]) || make(item);
    child.dataset.key = item[0];
    fill(child, item);
    return child;
  });
  for (const child of known.values()) if (!wanted.includes(child)) child.remove();
  // What stands in its place is not touched: it keeps the focus, and does not arrive again.
  wanted.forEach((child, n) => {
    if (parent.children[n] !== child) parent.insertBefore(child, parent.children[n] || null);
  });
}

function headline(found) {
  const { counts, total } = found;
  const spent = `${credits(found.cost.spent)} credits`;
  const done = `${whole.format(counts.done)} of ${count(total, "task", "tasks")} done`;
  const rejected = counts.rejected ? `, ${whole.format(counts.rejected)} rejected` : "";
  const failed = rejected + (counts.failed ? `, ${whole.format(counts.failed)} failed` : "");
  if (!total) return found.state === "running" ? "The run begins." : "Nothing is planned.";
  if (found.state === "running") {
    const left = remaining(found);
    const pace = left ? `; about ${seconds(left)} left at this pace` : "";
    return `${done}${failed}, ${spent} spent${pace}${found.sharing ? `; it ${found.sharing}` : ""}.`;
  }
  if (found.state === "paused") return `Paused, ${done}${failed}, ${spent} spent; batcher resume goes on.`;
  if (found.state === "finished") {
    if (!counts.failed && rejected) return `All done: ${done}${rejected}, for ${spent}.`;
    if (!counts.failed) return `All done: ${count(found.images, "image", "images")} for ${spent}.`;
    return `Finished: ${done}${failed}, for ${spent}.`;
  }
  const doubt = counts.doubtful
    ? `${count(counts.doubtful, "request was", "requests were")} perhaps paid already`
    : "nothing is paid twice";
  return `Stopped with work left: ${done}${failed}. The same command goes on; ${doubt}.`;
}

/** Seconds until the rest is delivered, at the pace of the last minutes; 0 while that says nothing. */
function remaining(found) {
  const last = found.sessions[found.sessions.length - 1];
  const open = found.total - ended(found);
  if (!last || found.counts.done < 3) return 0;
  const points = Math.max(5, Math.ceil(180 / last.step));
  const recent = last.delivered.slice(-points);
  const images = recent.reduce((sum, n) => sum + n, 0);
  const perTask = Math.max(1, found.images / Math.max(1, found.counts.done + found.counts.rejected));
  return images ? (open * perTask * recent.length * last.step) / images : 0;
}

const rate = (perMinute) => (perMinute < 100 ? tenth : whole).format(perMinute);

function pace(part) {
  const worked = part.delivered.length * part.step;
  return (60 * part.delivered.reduce((sum, n) => sum + n, 0)) / worked;
}

/** What is left of the day and the month, on the live page. */
const left = ({ budgets = {} }) => Object.entries(budgets).map(([period, one]) =>
  `${credits(one.left)} of ${credits(one.limit)} left ${period === "day" ? "today" : "this month"}`);

function showTiles(found) {
  const last = found.sessions[found.sessions.length - 1];
  const { service, delay } = found;
  const calls = ["submit", "status", "result", "sync"].reduce((sum, kind) => sum + found.calls[kind], 0);
  const tiles = [
    ["Images", whole.format(found.images - found.rejected_images),
      found.rejected_images ? `delivered, ${whole.format(found.rejected_images)} rejected` : "delivered"],
    ["Credits", credits(found.cost.spent), [found.per_image ? `${credits(found.per_image)} an image` : "spent", ...left(found)].join("; ")],
    ["Pace", last ? rate(pace(last)) : "–", "images per minute"],
    ["Service time", service.n ? seconds(service.median) : "–", service.n ? `median; 90 % within ${seconds(service.p90)}` : "not known yet"],
    ["Delay", delay.n ? seconds(delay.median) : "–", delay.n ? `median; 90 % within ${seconds(delay.p90)}` : "not known yet"],
    ["API calls", whole.format(calls),
      found.images ? `${tenth.format(calls / found.images)} an image${found.calls.throttled ? `, ${whole.format(found.calls.throttled)} × 429` : ""}` : "so far"],
  ];
  keyed($("tiles"), tiles,
    ([name]) => el("div", {}, el("dt", {}, name), el("dd", { class: "value" }), el("dd", { class: "muted" })),
    (tile, [, value, beside]) => {
      tile.children[1].textContent = value;
      tile.children[2].textContent = beside;
    });
}

function showSessions(sessions) {
  const choice = $("session");
  const wanted = sessions.map((part) => String(part.began));
  $("session-label").hidden = sessions.length < 2;
  if (wanted.join() !== [...choice.options].map((option) => option.value).reverse().join()) {
    choice.replaceChildren(...sessions.map((part) =>
      el("option", { value: part.began }, `${moment(part.began, dayForm)}, ${seconds(part.delivered.length * part.step)}`)).reverse());
    if (session !== null && wanted.includes(session)) choice.value = session;
    else session = null;
  }
}

function showCharts(found) {
  const part = found.sessions.find((one) => String(one.began) === session) || found.sessions[found.sessions.length - 1];
  if (part) {
    const ended = part.began + part.delivered.length * part.step;
    // A point that is not over yet would look like a fall.
    const open = found.state === "running" && ended * 1000 > Date.parse(found.updated_at) && part.delivered.length > 2;
    const points = part.delivered.length - (open ? 1 : 0);
    const times = Array.from({ length: points + 1 }, (_, n) => part.began + n * part.step);
    const perMinute = (values) => [...values.slice(0, points), values[points - 1]].map((n) => (60 * n) / part.step);
    const each = `one point is ${seconds(part.step)}`;
    caption($("throughput"), `${rate(pace(part))} on average; the dashed line shows requests. ${capital(each)}.`);
    overTime($("throughput"), times, part.step, [
      { name: "images", values: perMinute(part.delivered), stroke: "--accent", fill: "--accent-soft", stepped: true },
      { name: "requests", values: perMinute(part.submitted), stroke: "--second", dash: [4, 4], stepped: true },
    ], { show: rate, unit: " per minute" });
    const total = part.spent[part.spent.length - 1];
    caption($("spending"), `${credits(total)} in this session.`);
    overTime($("spending"), times, part.step,
      [{ name: "credits", values: [0, ...part.spent.slice(0, points)], stroke: "--accent", fill: "--accent-soft" }], { show: credits, unit: "" });
  } else {
    nothing($("throughput"), "Nothing was submitted yet.");
    nothing($("spending"), "Nothing was spent yet.");
  }
  distribution($("service"), found.service, "What the model took, as the provider tells it", "--flight");
  distribution($("delay"), found.delay, "What came on top, from the provider's end to the file in its place", "--fetching");
}

const capital = (text) => text[0].toUpperCase() + text.slice(1);

function distribution(figure, lengths, what, stroke) {
  if (!lengths.n) return nothing(figure, "No result yet.");
  caption(figure, `${what}: median ${seconds(lengths.median)}, 99 % within ${seconds(lengths.p99)}, longest ${seconds(lengths.longest)}.`);
  return bars(figure, lengths, stroke, stroke);
}

function showMoney(found) {
  const rows = MONEY.map(([kind, meaning, tone]) => {
    const amount = found.cost[kind];
    const images = found.per_image ? Math.round(amount / found.per_image) : 0;
    const many = (kind === "doubtful" || kind === "lost") && images ? ` ${capital(count(images, "image", "images"))}.` : "";
    return el("tr", { "data-tone": amount ? tone : null }, el("th", { scope: "row" }, kind),
      el("td", { class: "number" }, credits(amount)), el("td", { class: "muted" }, meaning + many));
  });
  rows.push(el("tr", {}, el("th", { scope: "row" }, "per image"), el("td", { class: "number" }, credits(found.per_image)),
    el("td", { class: "muted" }, "The mean of what was billed; before that, the price.")));
  $("money").tBodies[0].replaceChildren(...rows);
  const balance = found.balance;
  // A run that found nothing to do says nothing of the job's money.
  const told = balance && (balance.spent || balance.opening !== balance.closing);
  $("balance").textContent = !told ? "" : `When the last run began the account had ${credits(balance.opening)} credits, when it ended ${credits(balance.closing)}: ` +
    (Math.abs(balance.difference) < 0.0001 ? "the difference is what its pictures cost."
      : `${credits(Math.abs(balance.difference))} ${balance.difference > 0 ? "less" : "more"} than its pictures explain; batcher audit compares request by request.`);
}

function showFailures(found) {
  const failures = Object.entries(found.failures);
  const rejections = Object.entries(found.rejections);
  const warnings = Object.entries(found.warnings);
  const verbs = { failed: "failed with", rejected: "were rejected for", warned: "have the warning" };
  $("no-failures").hidden = failures.length > 0;
  for (const [name, state, reasons] of [["failures", "failed", failures], ["rejections", "rejected", rejections], ["warnings", "warned", warnings]]) {
    $(`${name}-box`).hidden = !reasons.length;
    $(name).tBodies[0].replaceChildren(...reasons.map(([reason, n]) =>
      el("tr", {}, el("td", { class: "number" }, whole.format(n)), el("td", {}, reason),
        el("td", {}, document.body.dataset.mode === "live" && state === "failed" ? null
          : el("button", { type: "button", class: "quiet", "aria-label": `Show the tasks that ${verbs[state]} ${reason}`, onclick: () => showReason(reason, state) }, "Show")))));
  }
}

$("session").addEventListener("change", (event) => {
  session = event.target.value;
  showCharts(facts);
});
