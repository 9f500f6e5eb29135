// Selecting rows by mouse, touch and keyboard, and the bar that appears over a selection.
const { count, run, offer } = window.holdfast;
const listing = document.getElementById("listing");
const bar = document.getElementById("selection");
const all = document.getElementById("select-all");
const rows = () => [...document.querySelectorAll("#rows tr[data-id]")];
const box = (row) => row.querySelector("input[type=checkbox]");
const selected = () => rows().filter((row) => box(row).checked);
const showMenu = (row, near) => window.holdfast.showMenu(row, near);
let anchor = null; // where a range starts

function show() {
  const set = selected();
  for (const row of rows()) row.classList.toggle("is-selected", box(row).checked);
  listing.classList.toggle("is-selecting", set.length > 0);
  all.checked = set.length > 0 && set.length === rows().length;
  all.indeterminate = set.length > 0 && !all.checked;
  bar.hidden = set.length === 0;
  bar.querySelector("[data-count]").textContent = set.length ? count("selected", set.length) : "";
  offer(bar, set);
}

function tick(set) {
  for (const row of rows()) box(row).checked = set.includes(row);
  show();
}

function range(from, to) {
  const list = rows();
  const [a, b] = [list.indexOf(from), list.indexOf(to)].sort((x, y) => x - y);
  return list.slice(Math.max(a, 0), b + 1);
}

// Mouse and touch ----------------------------------------------------------------------------------------------------

listing.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-id]");
  if (!row) return;
  const button = event.target.closest("[data-row-menu]");
  if (button) {
    event.preventDefault();
    showMenu(row, button.getBoundingClientRect());
    return;
  }
  const link = event.target.closest("a");
  const choosing = listing.classList.contains("is-selecting") && matchMedia("(max-width: 767.98px)").matches;
  if (link && !choosing && !event.shiftKey) return; // Ctrl opens a tab, as links do
  if (event.shiftKey && anchor) {
    event.preventDefault();
    getSelection().removeAllRanges();
    tick([...new Set([...selected(), ...range(anchor, row)])]);
    return;
  }
  if (link) event.preventDefault();
  if (event.target !== box(row)) box(row).checked = !box(row).checked;
  anchor = row;
  show();
});
listing.addEventListener("mousedown", (event) => {
  if (event.shiftKey && event.target.closest("tr[data-id]")) event.preventDefault(); // marks no text
});
listing.addEventListener("contextmenu", (event) => {
  const row = event.target.closest("tr[data-id]");
  if (!row) return;
  if (event.pointerType === "touch") {
    event.preventDefault(); // a long press starts a selection
    box(row).checked = true;
    anchor = row;
    show();
  } else if (!event.target.closest("a")) {
    event.preventDefault();
    showMenu(row, { left: event.clientX, right: event.clientX, top: event.clientY, bottom: event.clientY });
  }
});
all.addEventListener("change", () => tick(all.checked ? rows() : []));
bar.addEventListener("click", (event) => {
  const button = event.target.closest("[data-do]");
  if (button) run(button.dataset.do, selected());
});
document.addEventListener("holdfast:rows", show);
document.addEventListener("htmx:afterSettle", show);

// Keyboard -------------------------------------------------------------------------------------------------------------

document.addEventListener("keydown", (event) => {
  const busy = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable], details[open]");
  if (busy || event.altKey || document.querySelector("dialog[open]")) return;
  const row = document.activeElement?.closest("tr[data-id]");
  const set = selected().length ? selected() : row ? [row] : [];
  const act = {
    ArrowDown: () => walk(row, 1, event.shiftKey),
    ArrowUp: () => walk(row, -1, event.shiftKey),
    F2: () => run("rename", set),
    Delete: () => run("trash", set),
    Escape: () => tick([]),
    x: () => row && flip(row),
    " ": () => row && document.activeElement.matches(".entry") && run("look", [row]),
    "Control+a": () => tick(rows()),
  }[(event.ctrlKey || event.metaKey ? "Control+" : "") + event.key];
  if (!act || (event.key === " " && !document.activeElement.matches(".entry"))) return;
  event.preventDefault();
  act();
});

function walk(row, step, extend) {
  const list = rows();
  const next = row ? list[list.indexOf(row) + step] : list[step > 0 ? 0 : list.length - 1];
  if (!next) return;
  if (extend) {
    anchor = anchor ?? row;
    tick(range(anchor ?? next, next));
  } else {
    anchor = next;
  }
  next.querySelector(".entry").focus();
  next.scrollIntoView({ block: "nearest" });
}

function flip(row) {
  box(row).checked = !box(row).checked;
  anchor = row;
  show();
}

Object.assign(window.holdfast, { tick, selected });
