// A review: one picture after another, kept or rejected by a key. A decision is sent at once and the next picture
// shown meanwhile; one that could not be made is told, and its picture is come back to.

const REJECTED = 1;
const LOOKED_AT = 2;
const WARNED = 4;
const AT_ONCE = 60; // rows that are asked for together
const KEPT_ROWS = 3000; // rows that the page keeps
const AHEAD = 3; // pictures that are fetched before they are shown
const NUMBERED = 9;
const CHOICES = {
  unreviewed: ["Unreviewed", (flags) => !(flags & LOOKED_AT)],
  all: ["All", () => true],
  warned: ["Warned", (flags) => Boolean(flags & WARNED)],
  rejected: ["Rejected", (flags) => Boolean(flags & REJECTED)],
};

const page = JSON.parse($("data-page").textContent);
const rows = { small: (digest, link) => link.replace(/^full/, "thumb") };
const tasks = new Map(); // how each task stands, by number
const cached = new Map(); // rows by task
const asked = new Set(); // tasks whose rows are on their way
const pending = new Set(); // tasks about which a decision is on its way
let reasons = page.reasons;
let list = []; // the tasks that are gone through, as they were when that was chosen, and what came since
let choice = "unreviewed";
let over = false;
let begun = false;
let sending = Promise.resolve();

const flagsOf = (task) => tasks.get(task) || 0;
const knownRow = (task) => cached.get(task) || null;
const currentTask = () => (list.length ? list[viewer.at] : undefined);
const word = (flags) => (flags & REJECTED ? "rejected" : flags & LOOKED_AT ? "kept" : "unreviewed");
const standing = (task) => ({ name: (knownRow(task) || { name: "a picture" }).name, word: word(flagsOf(task)), warned: Boolean(flagsOf(task) & WARNED) });
const counted = (test) => { let n = 0; for (const flags of tasks.values()) n += test(flags) ? 1 : 0; return n; };

// --- rows

/** Asks for the rows of these tasks that are not there; the page is drawn again when they are. */
async function need(wanted) {
  const missing = wanted.filter((task) => task !== undefined && !cached.has(task) && !asked.has(task)).slice(0, AT_ONCE);
  if (!missing.length) return;
  for (const task of missing) asked.add(task);
  try {
    const answer = await fetch(`rows?tasks=${missing.join(",")}`);
    const told = await answer.json();
    if (!answer.ok) throw new Error(told.error);
    for (const row of told.rows) remember(row);
    refresh(missing);
  } catch (error) {
    if (!over) tell(`The pictures could not be read: ${error.message}`, "bad");
  } finally {
    for (const task of missing) asked.delete(task);
  }
}

function remember(row) {
  cached.delete(row.id);
  cached.set(row.id, row);
  for (const task of cached.keys()) {
    if (cached.size <= KEPT_ROWS) break;
    if (task !== currentTask()) cached.delete(task);
  }
}

/** Shows anew what concerns these tasks. */
function refresh(changed) {
  if (changed.includes(currentTask())) {
    const now = knownRow(currentTask());
    const [before, after] = [viewer.row, now].map((row) => ((row || {}).after || []).map(([digest]) => digest).join());
    viewer.row = now;
    if (before !== after) view(viewer.at);
    else { showFacts(now, (now.after || [])[viewer.position]); showStanding(); }
  }
  showSheet();
}

// --- what is shown

function showProgress() {
  const [total, looked, rejected] = [tasks.size, counted((flags) => flags & LOOKED_AT), counted((flags) => flags & REJECTED)];
  const text = `${whole.format(looked)} of ${whole.format(total)} looked at, ${whole.format(rejected)} rejected`;
  $("headline").textContent = `${text}.`;
  document.title = `${total ? Math.floor((100 * looked) / total) : 0} % · ${$("job").textContent} · review · batcher`;
  const unlooked = counted((flags) => !(flags & (LOOKED_AT | REJECTED)));
  const parts = [["kept", total - rejected - unlooked], ["rejected", rejected], ["unreviewed", unlooked]].filter(([, n]) => n);
  $("bar").replaceChildren(...parts.map(([name, n]) => { const part = el("span", { "data-stage": name }); part.style.flexGrow = n; return part; }));
  $("bar").setAttribute("aria-label", parts.map(([name, n]) => `${whole.format(n)} ${name}`).join(", "));
  $("choices").replaceChildren(...Object.entries(CHOICES).map(([name, [label, test]]) =>
    el("button", { type: "button", "data-choice": name, "aria-pressed": String(name === choice), onclick: () => choose(name) },
      `${label} `, el("span", { class: "n" }, whole.format(counted(test))))));
}

function showStanding() {
  const task = currentTask();
  const row = task === undefined ? null : knownRow(task);
  const flags = flagsOf(task);
  const name = task === undefined ? "" : word(flags);
  const look = row && row.look && flags & LOOKED_AT ? `; ${row.look[1]}, ${moment(row.look[0], dayForm)}` : "";
  const why = row && flags & REJECTED && row.state === "rejected" ? `: ${row.reason}` : "";
  const by = row && flags & REJECTED && row.by && row.by !== "person" ? ` (by the check ${row.by})` : "";
  const words = { kept: "kept", rejected: `rejected${why}${by}`, unreviewed: "not looked at yet" };
  $("standing").dataset.tone = name;
  $("standing").replaceChildren(task === undefined ? "" : `${words[name]}${look}`, ...((row && row.warnings) || []).map((text) => el("span", {}, text)));
  $("stage").dataset.standing = name;
  $("place").textContent = list.length ? `${whole.format(viewer.at + 1)} of ${whole.format(list.length)} ${choice === "all" ? "" : CHOICES[choice][0].toLowerCase()}` : "";
  const off = over || task === undefined;
  for (const button of [$("keep"), $("reject"), $("redo"), ...$("reasons").querySelectorAll("button")]) button.disabled = off;
  $("take-back").disabled = over;
  $("reason").disabled = off;
}

function showReasons() {
  $("reasons").replaceChildren(...reasons.map((reason, n) =>
    el("li", {}, el("button", { type: "button", class: "quiet", onclick: () => decide("reject", reason), "aria-keyshortcuts": n < NUMBERED ? String(n + 1) : null },
      n < NUMBERED ? el("kbd", {}, String(n + 1)) : null, el("span", {}, reason)))));
}

function showSheet() {
  need(drawSheet(list, viewer.at, standing));
}

function tell(text, tone = "") {
  $("told").dataset.tone = tone;
  $("told").replaceChildren(...(Array.isArray(text) ? text : [text]));
}

/** What comes after the last one. */
function atTheEnd() {
  const left = counted((flags) => !(flags & LOOKED_AT));
  if (left) return ["That was the last one here. ", el("button", { type: "button", class: "quiet", onclick: () => choose("unreviewed") }, `${whole.format(left)} unreviewed`)];
  return ["Everything is looked at. What is kept leaves with ", el("code", {}, "batcher export"), "."];
}

// --- going through

/** The tasks that are gone through from now on; `place` is one to begin with. */
function choose(name, place) {
  choice = name;
  const test = CHOICES[name][1];
  list = [...tasks].filter(([task, flags]) => test(flags) || task === place).map(([task]) => task).sort((one, two) => one - two);
  const found = list.indexOf(place);
  Object.assign(viewer, { count: list.length, of: (n) => knownRow(list[n]) || { name: "…", state: "" } });
  showProgress();
  sheetAt(found);
  if (list.length) view(Math.max(found, 0));
  else showNothing();
  tell("");
}

function showNothing() {
  Object.assign(viewer, { at: 0, row: { name: `No picture is ${CHOICES[choice][0].toLowerCase()}.`, state: choice === "unreviewed" ? "Everything is looked at." : " " } });
  showViewer();
  showStanding();
  showSheet();
  remind();
}

/** So that a page that is loaded again is where it was. */
function remind() {
  const task = currentTask();
  history.replaceState(null, "", `#show=${choice}${task === undefined ? "" : `&task=${task}`}`);
}

viewer.viewed = () => {
  if (!list.length) return;
  showStanding();
  remind();
  if (Math.floor(viewer.at / SHEET) !== sheetPage) sheetAt(viewer.at);
  const around = list.slice(Math.max(0, viewer.at - 2), viewer.at + AHEAD + 1);
  need(around.concat(list.slice(viewer.at + AHEAD + 1, viewer.at + AT_ONCE - 6)));
  showSheet();
  for (const task of list.slice(viewer.at + 1, viewer.at + AHEAD + 1)) {
    const picture = ((knownRow(task) || {}).after || [])[0];
    if (picture) new Image().src = picture[1];
  }
};

function turnSheet(to) {
  sheetPage = to;
  showSheet();
}

// --- decisions

async function post(path, body) {
  const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  const told = await answer.json().catch(() => ({ error: `batcher answered ${answer.status}` }));
  if (!answer.ok) throw new Error(told.error);
  return told;
}

function takeOver(told) {
  const { row } = told;
  remember(row);
  const flags = (flagsOf(row.id) & WARNED) | (row.state === "rejected" ? REJECTED : 0) | (row.look ? LOOKED_AT : 0);
  tasks.set(row.id, flags);
  if (told.reasons.join("\n") !== reasons.join("\n")) {
    reasons = told.reasons;
    showReasons();
  }
  showProgress();
  refresh([row.id]);
  return row;
}

function decide(decision, reason = "") {
  const task = currentTask();
  if (over || task === undefined) return;
  const before = flagsOf(task);
  const { name } = standing(task);
  tasks.set(task, (before & WARNED) | LOOKED_AT | (decision === "keep" ? 0 : REJECTED));
  pending.add(task);
  sending = sending.then(() => post("decisions", { task, decision, reason })).then((told) => {
    const row = takeOver(told);
    if (told.beside) tell(`${row.name} is kept; a replacement of it is delivered too, or on its way, and stands beside it.`);
    if (told.lost.length) tell(`${told.lost.join(", ")} was not there to be moved; batcher verify tells what else is missing.`, "bad");
    $("spoken").textContent = `${row.name} ${decision === "keep" ? "kept" : "rejected"}`;
  }).catch((error) => {
    tasks.set(task, before);
    showProgress();
    const at = list.indexOf(task);
    if (at >= 0) view(at);
    tell(`${name} stays as it was: ${error.message}`, "bad");
  }).finally(() => pending.delete(task));
  showProgress();
  const last = viewer.at >= list.length - 1;
  if (last) { showStanding(); showSheet(); } else view(viewer.at + 1);
  const why = reason ? `: ${reason}` : "";
  const done = { keep: `${name} kept. `, reject: `${name} rejected${why}. `, redo: `${name} rejected; the run that goes on, or the next one, makes another, which is paid for. ` }[decision];
  tell([done, ...(last ? atTheEnd() : [el("span", { class: "muted" }, "Z takes it back.")])]);
}

function takeBack() {
  if (over) return;
  sending = sending.then(() => post("take-back", {})).then((told) => {
    const row = takeOver(told);
    if (!list.includes(row.id)) choose("all", row.id);
    else view(list.indexOf(row.id));
    tell(`Taken back: ${row.name} is ${word(flagsOf(row.id)) === "unreviewed" ? "not looked at" : word(flagsOf(row.id))} again.` +
      (told.beside ? " Its replacement is made already, or on its way: it stands beside it." : ""));
  }).catch((error) => tell(error.message, "bad"));
}

$("keep").addEventListener("click", () => decide("keep"));
$("reject").addEventListener("click", () => decide("reject"));
$("redo").hidden = !page.redo;
$("redo").addEventListener("click", () => decide("redo"));
$("take-back").addEventListener("click", takeBack);
$("other").addEventListener("submit", (event) => {
  event.preventDefault();
  const reason = $("reason").value.trim();
  $("reason").value = "";
  $("reason").blur();
  if (reason) decide("reject", reason);
});
$("sheet").addEventListener("click", (event) => {
  const chosen = event.target.closest(".tile");
  if (!chosen) return;
  view(Number(chosen.dataset.at));
  $("viewer").scrollIntoView({ block: "nearest" });
  $("viewer").focus({ preventScroll: true });
});
// How two pictures are compared holds for the next ones too; at first the result is seen by itself.
viewer.usual = "after";
$("modes").addEventListener("click", () => { viewer.usual = viewer.mode || viewer.usual; });
$("known").open = matchMedia("(min-width: 60rem)").matches;
// A slider that was moved by hand gives the arrows back.
$("cut").addEventListener("pointerup", () => $("cut").blur());
document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target === $("reason")) {
    if (event.key === "Escape") $("reason").blur();
    return;
  }
  const key = event.key.toLowerCase();
  if (event.key === "ArrowRight" && event.target !== $("cut")) view(viewer.at + 1);
  else if (event.key === "ArrowLeft" && event.target !== $("cut")) view(viewer.at - 1);
  else if (event.repeat) return; // a key that is held down decides once
  else if (key === "k" && !event.shiftKey) decide("keep");
  else if (key === "r" && !event.shiftKey) decide("reject");
  else if (key === "r" && page.redo) decide("redo");
  else if (key === "z" && !event.shiftKey) takeBack();
  else if (/^[1-9]$/.test(key) && reasons[key - 1]) decide("reject", reasons[key - 1]);
  else return;
  event.preventDefault();
});

// --- what the ledger says

const source = new EventSource("events");
source.addEventListener("tasks", (event) => {
  const changed = JSON.parse(event.data).filter(([task]) => !pending.has(task));
  const test = CHOICES[choice][1];
  const arrived = [];
  for (const [task, flags] of changed) {
    if (begun && flags !== null && !tasks.has(task) && test(flags)) arrived.push(task);
    if (flags === null) tasks.delete(task);
    else {
      // Somebody else decided: what is known of it is asked for again.
      if (tasks.has(task) && tasks.get(task) !== flags) cached.delete(task);
      tasks.set(task, flags);
    }
  }
  if (!begun) {
    begun = true;
    const place = new URLSearchParams(location.hash.slice(1));
    const task = Number(place.get("task") || NaN);
    const name = place.get("show") in CHOICES ? place.get("show") : counted(CHOICES.unreviewed[1]) ? "unreviewed" : "all";
    return choose(name, tasks.has(task) ? task : undefined);
  }
  showProgress();
  if (!arrived.length) return refresh(changed.map(([task]) => task).filter(knownRow)), need([currentTask()]), showStanding();
  const empty = !list.length;
  list.push(...arrived.sort((one, two) => one - two));
  viewer.count = list.length;
  if (empty) return view(0);
  showStanding();
  $("next").disabled = viewer.at >= list.length - 1;
  return showSheet();
});
source.addEventListener("figures", (event) => {
  const { state, job } = JSON.parse(event.data);
  $("job").textContent = job;
  Object.assign($("state"), { hidden: state !== "running" && state !== "paused", textContent: state === "paused" ? "paused" : "a run goes on" }).dataset.tone = "live";
});
source.addEventListener("waiting", (event) => { if (!begun) $("headline").textContent = JSON.parse(event.data); });
source.addEventListener("ended", () => {
  source.close();
  over = true;
  showStanding();
  tell("batcher has ended; nothing can be decided here any more. The same command goes on where this ends.");
});
source.addEventListener("error", () => {
  if (over) return;
  Object.assign($("state"), { hidden: false, textContent: "connection lost" }).dataset.tone = "caution";
});
source.addEventListener("open", () => { $("state").hidden = true; });

showReasons();
showStanding();
