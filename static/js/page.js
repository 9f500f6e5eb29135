// What every page does, and what the other modules share as `holdfast`. Modules import nothing from one another, so each
// file can be cached for ever under an address that holds its digest.
const words = document.getElementById("words")?.content;
const token = document.querySelector('meta[name="csrf-token"]')?.content ?? "";
const sprite = document.querySelector("svg.icon use")?.getAttribute("href").split("#")[0] ?? "";
const lang = document.documentElement.lang;

/** A sentence of templates/_words.html; `{name}` is replaced by values.name. */
function word(key, values = {}) {
  const text = words?.querySelector(`[data-word="${key}"]`)?.textContent ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The sentence for one thing or for many: `key-one` and `key`. */
function count(key, n, values = {}) {
  return word(n === 1 ? `${key}-one` : key, { n, ...values });
}

function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `${sprite}#${name}`);
  svg.append(use);
  return svg;
}

/** Bytes as kB, MB, GB (powers of 1000, as on the server). */
function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let step = 0;
  while (bytes >= 999.5 && step < units.length - 1) {
    bytes /= 1000;
    step += 1;
  }
  const digits = step === 0 || bytes >= 99.5 ? 0 : 1;
  return `${bytes.toLocaleString(lang, { maximumFractionDigits: digits })} ${units[step]}`;
}

/** What went wrong, in words for people: RFC 9457's detail, else the status. */
function reason(status, text) {
  let problem = {};
  try {
    problem = JSON.parse(text);
  } catch {
    // a proxy's page, not ours
  }
  const codes = [problem.code, ...(problem.errors ?? []).map((error) => error.code)];
  const detail = status === 401 ? word("upload-signed-out") : problem.detail ?? problem.title;
  return { status, codes, message: detail || word("upload-failed", { status }) };
}

/** One call of the API. Throws {status, codes, message}; the message is for people. */
async function send(method, url, { body, version } = {}) {
  const headers = { Accept: "application/json", "X-CSRF-Token": token };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (version) headers["If-Match"] = `"${version}"`;
  let answer;
  try {
    answer = await fetch(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch {
    throw { status: 0, codes: [], message: word("offline") };
  }
  const text = await answer.text();
  if (!answer.ok) throw reason(answer.status, text);
  return text ? JSON.parse(text) : null;
}

window.holdfast = { word, count, icon, size, reason, send, token };

// A summary of faults is read first
document.querySelector("[data-focus]")?.focus();

// A popup closes when the person turns to something else
const popups = () => document.querySelectorAll("details.popup[open]");
document.addEventListener("click", (event) => {
  for (const popup of popups()) if (!popup.contains(event.target)) popup.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const popup of popups()) {
    popup.open = false;
    popup.querySelector("summary").focus();
    event.stopImmediatePropagation();
  }
});
document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("details.popup[open]")) event.target.querySelector(".popup-form input:not([type=hidden])")?.focus();
}, true);

// A live list rests in a hidden window, and for good once the person went on to older rows: they would vanish again
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt } = event.detail;
  if (elt.matches("tbody") && (document.hidden || elt.dataset.grown)) event.preventDefault();
  if (elt.closest(".row-more")) elt.closest("tbody").dataset.grown = "yes";
});

// The button that was pressed shows that it works, and a second press changes nothing
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (event.defaultPrevented || event.target.method !== "post" || !button) return;
  requestAnimationFrame(() => button.setAttribute("aria-busy", "true"));
});
addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll('button[aria-busy="true"]')) button.removeAttribute("aria-busy");
});

// "/" leads to the field of search, wherever one is but in another field
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable], dialog")) return;
  const field = [...document.querySelectorAll("[data-search]")].find((each) => each.offsetParent);
  if (!field) return;
  event.preventDefault();
  field.focus();
  field.select();
});

for (const button of document.querySelectorAll("[data-print]")) {
  button.hidden = false;
  button.addEventListener("click", () => print());
}

for (const button of document.querySelectorAll("[data-reveal]")) {
  const input = document.getElementById(button.dataset.reveal);
  button.hidden = false;
  button.addEventListener("click", () => {
    const shown = input.type === "password";
    input.type = shown ? "text" : "password";
    button.setAttribute("aria-pressed", String(shown));
  });
}
