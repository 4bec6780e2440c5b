// Elements, numbers and times. Foreign text reaches the page only as text: textContent, never markup.

const $ = (id) => document.getElementById(id);

/** An element with attributes and children; a string child is text. */
function el(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenth = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });

function count(n, one, many) {
  return `${whole.format(n)} ${n === 1 ? one : many}`;
}

/** Cents, and below one credit three significant digits. */
function credits(amount) {
  if (amount === 0 || Math.abs(amount) >= 0.9995) {
    return amount.toLocaleString("en", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  }
  const digits = Math.min(6, Math.max(2, 2 - Math.floor(Math.log10(Math.abs(amount)))));
  return amount.toFixed(digits).replace(/(\.\d\d\d*?)0+$/, "$1");
}

function seconds(length) {
  if (length < 10) return `${length.toFixed(length < 1 ? 2 : 1)} s`;
  if (length < 90) return `${Math.round(length)} s`;
  const minutes = Math.round(length / 60);
  return minutes < 90 ? `${minutes} min` : `${tenth.format(length / 3600)} h`;
}

const clockForm = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit" });
const secondForm = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const dayForm = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

const moment = (unix, form) => form.format(new Date(unix * 1000));

/** The colour of a custom property as a canvas takes it. */
function colour(name) {
  const probe = el("span");
  probe.style.color = `var(${name})`;
  document.body.append(probe);
  const found = getComputedStyle(probe).color;
  probe.remove();
  return found;
}
