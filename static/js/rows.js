// Brings the list up to date without leaving the page, and keeps looking while something is still being made.
const rows = () => document.getElementById("rows");
const listing = document.getElementById("listing");
let timer;
let pause = 1500;

async function page(url) {
  const answer = await fetch(url, { headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

/** Loads the list again, as many pages as are shown. Selection and focus stay where they are. */
async function refresh() {
  clearTimeout(timer);
  const shown = rows().querySelectorAll("tr[data-id]").length;
  let fresh;
  try {
    fresh = await page(location.href);
    const body = fresh.getElementById("rows");
    let more = body.querySelector(".row-more");
    while (more && body.querySelectorAll("tr[data-id]").length < shown) {
      const next = await page(new URL(more.querySelector("a").getAttribute("href"), location.href));
      more.replaceWith(...next.getElementById("rows").children);
      more = body.querySelector(".row-more");
    }
  } catch {
    timer = setTimeout(refresh, 10_000);
    return;
  }
  take(fresh);
  watch();
}

function take(fresh) {
  const old = rows();
  const known = new Set([...old.querySelectorAll("tr[data-id]")].map((row) => row.dataset.id));
  const ticked = new Set([...old.querySelectorAll(".is-selected")].map((row) => row.dataset.id));
  const focused = document.activeElement?.closest("tr[data-id]")?.dataset.id;
  const body = document.importNode(fresh.getElementById("rows"), true);
  for (const row of body.querySelectorAll("tr[data-id]")) {
    if (ticked.has(row.dataset.id)) row.querySelector("input[type=checkbox]").checked = true;
    if (!known.has(row.dataset.id)) row.classList.add("is-new");
  }
  old.replaceWith(body);
  window.htmx?.process(body);
  if (focused) body.querySelector(`tr[data-id="${CSS.escape(focused)}"] .entry`)?.focus();
  listing.classList.toggle("is-empty", !body.querySelector("tr[data-id]"));
  for (const part of [".page-note", ".storage", ".rail-list"]) {
    const now = fresh.querySelector(part);
    if (now) document.querySelector(part)?.replaceWith(document.importNode(now, true));
  }
  document.dispatchEvent(new CustomEvent("holdfast:rows"));
}

/** While a row is marked as busy the list is looked at again, at growing intervals. */
function watch() {
  clearTimeout(timer);
  if (!rows().querySelector(".chip-busy")) {
    pause = 1500;
    return;
  }
  // nothing is exchanged under an open menu or a dragged row
  const still = () => document.hidden || window.holdfast.hears?.() || document.querySelector("#row-panel:not([hidden]), .is-over");
  timer = setTimeout(() => (still() ? watch() : refresh()), pause);
  pause = Math.min(pause * 1.25, 10_000);
}

// Somebody, perhaps this person elsewhere, changed a file or a folder, or a job went on
let refreshing = false;
let again = false;
document.addEventListener("holdfast:news", async () => {
  again = true;
  if (refreshing) return;
  refreshing = true;
  while (again) {
    again = false;
    if (document.querySelector("#row-panel:not([hidden]), .is-over")) watch();
    else await refresh();
  }
  refreshing = false;
});

window.holdfast.refresh = () => {
  pause = 1500;
  return refresh();
};
watch();
