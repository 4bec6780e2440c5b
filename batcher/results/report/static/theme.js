// Light or dark: as the system has it, or as the person chose. Whoever draws is told when it changes.

const system = matchMedia("(prefers-color-scheme: dark)");

function theme() {
  return document.documentElement.dataset.theme || (system.matches ? "dark" : "light");
}

function setTheme(wanted) {
  if (wanted === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = wanted;
  $("theme").textContent = `Theme: ${wanted}`;
  document.dispatchEvent(new Event("theme"));
}

const remembered = {
  get: () => { try { return localStorage.getItem("batcher-theme"); } catch { return null; } },
  set: (value) => { try { localStorage.setItem("batcher-theme", value); } catch { /* a page without storage forgets */ } },
};

$("theme").addEventListener("click", () => {
  const order = ["system", "light", "dark"];
  const next = order[(order.indexOf(document.documentElement.dataset.theme || "system") + 1) % order.length];
  remembered.set(next);
  setTheme(next);
});
system.addEventListener("change", () => document.dispatchEvent(new Event("theme")));
if (["light", "dark"].includes(remembered.get())) setTheme(remembered.get());
