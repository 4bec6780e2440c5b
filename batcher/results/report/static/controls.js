// The live page's buttons: the run is paused, resumed, and given other limits. What holds is what the ledger says.

const control = { paused: null, limits: {}, state: "", over: false, busy: false };
const LIMITS = ["rpm", "max_cost", "max_cost_per.day", "max_cost_per.month", "in_flight"];

const fields = () => LIMITS.map((name) => $("limits").elements[name]);
const otherwise = () => fields().filter((field) => field.value.trim() && field.value.trim() !== control.limits[field.name]);

/** Shows what holds; what somebody is typing stays. */
function showControls({ paused, limits }, state) {
  const before = control.limits;
  Object.assign(control, { paused, limits, state });
  $("controls").hidden = false;
  $("limits").hidden = !Object.keys(limits).length;
  for (const field of fields()) if (field.value === "" || field.value === before[field.name]) field.value = limits[field.name] ?? "";
  dressControls();
}

function dressControls() {
  const { paused, state, over, busy } = control;
  const turn = $("turn");
  turn.textContent = paused === null ? "Pause" : "Resume";
  turn.disabled = over || busy || (paused === null && state === "finished");
  $("turned").textContent = paused !== null ? `Paused since ${moment(paused, dayForm)}. Nothing is submitted; what is in flight comes home.`
    : state === "running" ? "A pause lets nothing more be submitted; what is in flight comes home."
      : state === "finished" ? "Nothing is left to be submitted." : "No run is going on; a pause holds for the next one.";
  for (const field of fields()) field.disabled = over || busy;
  $("limits").querySelector("button").disabled = over || busy || !otherwise().length;
}

function endControls() {
  control.over = true;
  dressControls();
}

async function ask(path, body) {
  control.busy = true;
  dressControls();
  try {
    const answer = await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
    const told = await answer.json().catch(() => ({ error: `batcher answered ${answer.status}` }));
    if (!answer.ok) throw new Error(told.error);
    for (const name of Object.keys(body)) $("limits").elements[name].value = told.limits[name];
    showControls(told, control.state);
    const takes = told.running ? "The run takes it over within a second." : "No run is going on; it holds for the next one.";
    $("asked").dataset.tone = "";
    $("asked").textContent = told.changed.length ? `${told.changed.join("; ")}. ${takes} It holds until the manifest says another value than now.` : takes;
  } catch (error) {
    $("asked").dataset.tone = "bad";
    $("asked").textContent = `Nothing was changed: ${error.message}`;
  } finally {
    control.busy = false;
    dressControls();
  }
}

if ($("controls")) {
  $("turn").addEventListener("click", () => ask(control.paused === null ? "pause" : "resume", {}));
  $("limits").addEventListener("input", dressControls);
  $("limits").addEventListener("submit", (event) => {
    event.preventDefault();
    const changed = otherwise();
    if (changed.length) ask("limits", Object.fromEntries(changed.map((field) => [field.name, field.value.trim()])));
  });
}
