// Selecting rows, and what can be done with them: by mouse, keyboard, touch, and by dragging rows onto folders.
const { count, word, send, open, dialog, toast } = window.holdfast;
const listing = document.getElementById("listing");
const bar = document.getElementById("selection");
const menu = document.getElementById("row-panel");
const all = document.getElementById("select-all");
const here = listing.dataset.folder || null;
const rows = () => [...document.querySelectorAll("#rows tr[data-id]")];
const box = (row) => row.querySelector("input[type=checkbox]");
const selected = () => rows().filter((row) => box(row).checked);
const refresh = () => window.holdfast.refresh();
let anchor = null; // where a range starts
let menuRow = null;

// What a set of rows allows. Folders have no bytes of their own and no trash yet.
const allows = {
  open: (set) => set.length === 1,
  rename: (set) => set.length === 1,
  move: (set) => set.length > 0,
  download: (set) => set.length > 0 && set.every((row) => row.dataset.download),
  trash: (set) => set.length > 0 && set.every((row) => row.dataset.kind === "file"),
  clear: () => true,
};

const deeds = {
  open: ([row]) => location.assign(row.dataset.url),
  rename: ([row]) => open(`${row.dataset.url}/name`),
  move,
  download,
  trash,
  clear: () => tick([]),
};

function run(name, set) {
  if (set.length && allows[name](set)) deeds[name](set);
}

function offer(place, set) {
  for (const button of place.querySelectorAll("[data-do]")) button.hidden = !allows[button.dataset.do](set);
}

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
bar.addEventListener("click", (event) => run(event.target.closest("[data-do]")?.dataset.do ?? "clear", selected()));
document.addEventListener("holdfast:rows", show);
document.addEventListener("htmx:afterSettle", show);

// The menu of a row ----------------------------------------------------------------------------------------------------

function showMenu(row, near) {
  hideMenu();
  menuRow = row;
  offer(menu, [row]);
  menu.hidden = false;
  const { width, height } = menu.getBoundingClientRect();
  const left = Math.max(8, Math.min(near.right - width, innerWidth - width - 8));
  const below = near.bottom + 4;
  const top = below + height > innerHeight - 8 ? Math.max(8, near.top - height - 4) : below;
  menu.style.left = `${left}px`;
  menu.style.top = `${top}px`;
  row.querySelector("[data-row-menu]").setAttribute("aria-expanded", "true");
  menu.querySelector("[data-do]:not([hidden])").focus({ preventScroll: true });
}

function hideMenu(back = false) {
  if (!menuRow) return;
  const button = menuRow.querySelector("[data-row-menu]");
  button.removeAttribute("aria-expanded");
  if (back) button.focus({ preventScroll: true });
  menu.hidden = true;
  menuRow = null;
}

menu.addEventListener("click", (event) => {
  const name = event.target.closest("[data-do]")?.dataset.do;
  const row = menuRow;
  hideMenu(true);
  if (name) run(name, [row]);
});
menu.addEventListener("keydown", (event) => {
  const items = [...menu.querySelectorAll("[data-do]:not([hidden])")];
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1 + items.length, Home: 0, End: items.length - 1 }[event.key];
  if (to !== undefined) items[to % items.length].focus();
  else if (event.key === "Escape" || event.key === "Tab") hideMenu(true);
  else return;
  event.preventDefault();
  event.stopPropagation();
});
document.addEventListener("click", (event) => {
  if (!menu.contains(event.target) && !event.target.closest("[data-row-menu]")) hideMenu();
});
addEventListener("scroll", () => hideMenu(), { passive: true });
addEventListener("resize", () => hideMenu());

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
    " ": () => row && document.activeElement.matches(".entry") && look(row),
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

async function look(row) {
  if (row.dataset.kind === "folder") {
    location.assign(row.dataset.url);
    return;
  }
  if (!(await open(row.dataset.url, ".preview"))) return;
  const frame = document.getElementById("look").content.firstElementChild.cloneNode(true);
  frame.querySelector("h1").textContent = row.dataset.name;
  frame.querySelector("a").href = row.dataset.url;
  frame.append(...dialog.childNodes);
  dialog.replaceChildren(frame);
  dialog.setAttribute("aria-label", row.dataset.name);
  frame.querySelector("[data-dismiss]").focus();
}

// Deeds ----------------------------------------------------------------------------------------------------------------

const api = (row) => `/api/v1/${row.dataset.kind}s/${row.dataset.id}`;
const about = (row) => ({ kind: row.dataset.kind, id: row.dataset.id, url: api(row), name: row.dataset.name, version: row.dataset.version });

/** One call after another; says how many failed and why. Returns those that worked. */
async function each(things, call) {
  const done = [];
  const faults = [];
  for (const thing of things) {
    try {
      await call(thing);
      done.push(thing);
    } catch (fault) {
      faults.push(fault.message);
    }
  }
  if (faults.length) {
    toast(things.length === 1 ? word("failed", { reason: faults[0] }) : word("failed-some", { n: faults.length, reason: faults[0] }), { bad: true });
  }
  return done;
}

async function trash(set) {
  const things = set.map(about);
  const done = await each(things, ({ url, version }) => send("DELETE", url, { version }));
  await refresh();
  if (!done.length) return;
  toast(count("trashed", done.length, { name: done[0].name }), {
    undo: async () => {
      const back = await each(done, ({ url }) => send("POST", `${url}/restoration`));
      await refresh();
      if (back.length) toast(count("restored", back.length, { name: back[0].name }));
    },
  });
}

const place = (thing, folder) => ({ body: { [thing.kind === "folder" ? "parent_id" : "folder_id"]: folder } });

async function moveTo(things, folder) {
  const done = await each(things, (thing) => send("PATCH", thing.url, { ...place(thing, folder), version: thing.version }));
  await refresh();
  if (!done.length) return;
  toast(count("moved", done.length, { name: done[0].name }), {
    undo: async () => {
      const back = await each(done, (thing) => send("PATCH", thing.url, place(thing, here)));
      await refresh();
      if (back.length) toast(word("moved-back"));
    },
  });
}

let moving = [];

async function move(set) {
  moving = set.map(about);
  // A folder among them decides where one may walk: it cannot go into itself
  const first = set.find((row) => row.dataset.kind === "folder") ?? set[0];
  await open(`${first.dataset.url}/${first.dataset.kind === "folder" ? "parent" : "folder"}`);
}

dialog.addEventListener("holdfast:filled", () => {
  const title = dialog.querySelector("[data-move]") && dialog.querySelector("h1");
  if (title && moving.length > 1) title.textContent = word("move-many", { n: moving.length });
});
dialog.addEventListener("close", () => (moving = []));
dialog.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-move]");
  if (!form || !moving.length) return;
  event.preventDefault();
  const [things, field] = [moving, form.querySelector('[name="folder_id"], [name="parent_id"]')];
  dialog.close();
  moveTo(things, field.value || null);
});

function download(set) {
  for (const row of set) {
    const link = document.createElement("a");
    link.href = row.dataset.download;
    link.download = "";
    link.click();
  }
}

// Dragging rows onto folders and breadcrumbs -----------------------------------------------------------------------------

const KIND = "application/x-holdfast";
let dragged = [];
const target = (event) => event.dataTransfer.types.includes(KIND) && event.target.closest?.('tr[data-kind="folder"]:not(.is-selected), [data-drop]');

listing.addEventListener("dragstart", (event) => {
  const row = event.target.closest?.("tr[data-id]");
  if (!row) return;
  const set = box(row).checked ? selected() : [row];
  dragged = set.map(about);
  event.dataTransfer.setData(KIND, "1");
  event.dataTransfer.effectAllowed = "move";
});
document.addEventListener("dragover", (event) => {
  const over = target(event);
  for (const marked of document.querySelectorAll(".is-over")) if (marked !== over) marked.classList.remove("is-over");
  if (!over || dragged.some((thing) => thing.id === over.dataset.id)) return;
  over.classList.add("is-over");
  event.preventDefault();
});
document.addEventListener("drop", (event) => {
  const over = target(event);
  if (!over) return;
  event.preventDefault();
  over.classList.remove("is-over");
  moveTo(dragged, over.dataset.id ?? over.dataset.drop.match(/folders\/([\w-]+)/)?.[1] ?? null);
});
