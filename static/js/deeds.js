// What can be done with rows: by the menu of a row, the bar over a selection, keys, and dragging.
const { count, word, send, open, dialog, toast, token } = window.holdfast;
const here = document.getElementById("listing").dataset.folder || null;
const refresh = () => window.holdfast.refresh();

// What a set of rows allows. Folders have no bytes of their own.
const allows = {
  open: (set) => set.length === 1,
  rename: (set) => set.length === 1,
  move: (set) => set.length > 0,
  download: (set) => set.length > 0,
  trash: (set) => set.length > 0,
  look: (set) => set.length === 1,
  clear: () => true,
};

const deeds = {
  open: ([row]) => location.assign(row.dataset.url),
  rename: ([row]) => open(`${row.dataset.url}/name`),
  move,
  download,
  trash,
  look: ([row]) => look(row),
  clear: () => window.holdfast.tick([]),
};

/** Does the deed of this name with these rows, if they allow it. */
function run(name, set) {
  if (set.length && allows[name](set)) deeds[name](set);
}

/** Shows the buttons of the deeds that these rows allow. */
function offer(place, set) {
  for (const button of place.querySelectorAll("[data-do]")) button.hidden = !allows[button.dataset.do](set);
}

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
  const restores = "restores" in document.getElementById("listing").dataset; // else only who owns it takes it back
  toast(count("trashed", done.length, { name: done[0].name }), {
    undo: restores && (async () => {
      const back = await each(done, ({ url }) => send("POST", `${url}/restoration`));
      await refresh();
      if (back.length) toast(count("restored", back.length, { name: back[0].name }));
    }),
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

/** One file comes as it is, all else as a zip: by a form, for only so a browser saves the answer as it comes in. */
function download(set) {
  const [row] = set;
  if (set.length === 1) {
    const link = document.createElement("a");
    link.href = row.dataset.download ?? `${row.dataset.url}/archive`;
    if (row.dataset.download) link.download = "";
    link.click();
    return;
  }
  const form = document.createElement("form");
  [form.method, form.action, form.hidden] = ["post", "/archives", true];
  const fields = set.map((each) => [`${each.dataset.kind}_ids`, each.dataset.id]);
  for (const [name, value] of [["csrf_token", token], ...fields]) {
    form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
  }
  document.body.append(form);
  form.submit();
  form.remove();
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

Object.assign(window.holdfast, { run, offer, about, moveTo });
