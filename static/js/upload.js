// Uploads: files dropped anywhere on the page or chosen, three at a time, each with its line in the tray.
const { word, count, icon, size, reason, token } = window.holdfast;
const listing = document.getElementById("listing");
const tray = document.getElementById("tray");
const list = document.getElementById("tray-list");
const sheet = document.getElementById("drop-sheet");
const pattern = document.getElementById("tray-item");
const limit = Number(listing.dataset.limit) || Infinity;
const folder = listing.dataset.folder;
const TOGETHER = 3;
const MOST_WAITS = 30; // of one file, before a person is asked
const uploads = [];

// A line of the tray -----------------------------------------------------------------------------------------------------

function line(upload) {
  const element = pattern.content.firstElementChild.cloneNode(true);
  const find = (css) => element.querySelector(css);
  find(".tray-name").textContent = find(".tray-name").title = upload.file.name;
  find(".tray-size").textContent = size(upload.file.size);
  find(".bar").setAttribute("aria-label", upload.file.name);
  find("[data-act]").addEventListener("click", () => (upload.state === "failed" ? start(upload) : stop(upload)));
  find(".tray-fix").addEventListener("click", () => {
    upload.conflict = "rename";
    start(upload);
  });
  list.append(element);
  return element;
}

const TONES = { done: "bar bar-good", failed: "bar bar-bad" };
const MARKS = { done: "circle-check", failed: "refresh" };

function draw(upload, text) {
  const { element, state } = upload;
  const bar = element.querySelector(".bar");
  const button = element.querySelector("[data-act]");
  const ended = state === "done" || state === "failed";
  bar.value = ended ? 1000 : Math.round(1000 * upload.sent);
  bar.className = TONES[state] ?? "bar";
  element.classList.toggle("is-done", state === "done");
  element.classList.toggle("is-bad", state === "failed");
  element.querySelector(".tray-text").textContent = text;
  element.querySelector(".tray-fix").hidden = !upload.taken || state !== "failed";
  if (button.dataset.state === state) return;
  button.dataset.state = state;
  button.replaceChildren(icon(MARKS[state] ?? "x"));
  button.disabled = state === "done";
  const label = { done: "upload-ready", failed: "upload-retry" }[state] ?? "upload-cancel";
  button.setAttribute("aria-label", word(label, { name: upload.file.name }));
}

function head() {
  const number = (state) => uploads.filter((upload) => upload.state === state).length;
  const [done, failed] = [number("done"), number("failed")];
  const active = uploads.length - done - failed;
  const title = tray.querySelector("[data-title]");
  const note = tray.querySelector("[data-note]");
  if (active) title.textContent = count("upload-title", uploads.length);
  else title.textContent = failed ? word("upload-ended") : count("upload-finished", done);
  const parts = [];
  if (active || failed) parts.push(done ? word("upload-done", { n: done }) : "", failed ? count("upload-stuck", failed) : "");
  const text = parts.filter(Boolean).join(" · ");
  if (note.textContent !== text) note.textContent = text; // a live region: speaks only of changes
  tray.querySelector("[data-close]").hidden = active > 0;
  tray.hidden = uploads.length === 0;
}

// One upload -------------------------------------------------------------------------------------------------------------

function add(file, fault) {
  const upload = { file, state: "waiting", sent: 0, conflict: "", taken: false };
  upload.element = line(upload);
  uploads.push(upload);
  if (fault) fail(upload, fault);
  else if (file.size > limit) fail(upload, word("upload-too-large", { limit: size(limit) }));
  else draw(upload, word("upload-waits"));
}

function start(upload) {
  upload.state = "waiting";
  upload.sent = 0;
  upload.taken = false;
  draw(upload, word("upload-waits"));
  pump();
}

function stop(upload) {
  upload.request?.abort();
  uploads.splice(uploads.indexOf(upload), 1);
  upload.element.remove();
  pump();
}

function fail(upload, text) {
  upload.state = "failed";
  draw(upload, text);
}

let rest = 0; // until then the server wants nothing of us

/** Starts what may start; called after every change. */
function pump() {
  if (performance.now() < rest) return head();
  const sending = uploads.filter((upload) => upload.state === "sending").length;
  uploads.filter((upload) => upload.state === "waiting").slice(0, Math.max(0, TOGETHER - sending)).forEach(transmit);
  head();
}

function transmit(upload) {
  const query = new URLSearchParams({ name: upload.file.name });
  if (folder) query.set("folder_id", folder);
  if (upload.conflict) query.set("conflict", upload.conflict);
  const request = new XMLHttpRequest(); // fetch tells nothing of a body's progress
  upload.request = request;
  upload.state = "sending";
  upload.marks = [[performance.now(), 0]];
  request.open("POST", `/api/v1/files?${query}`);
  request.setRequestHeader("Content-Type", "application/octet-stream");
  request.setRequestHeader("Accept", "application/json");
  request.setRequestHeader("X-CSRF-Token", token);
  request.upload.addEventListener("progress", (event) => progress(upload, event.loaded));
  request.upload.addEventListener("load", () => draw(upload, word("upload-saving")));
  request.addEventListener("error", () => fail(upload, word("upload-offline")));
  request.addEventListener("load", () => answered(upload, request));
  request.addEventListener("loadend", pump);
  request.send(upload.file);
  draw(upload, word("upload-start", { percent: 0 }));
}

/** Speed over the last three seconds: steady enough to read, quick enough to be true. */
function progress(upload, sent) {
  const now = performance.now();
  upload.sent = upload.file.size ? sent / upload.file.size : 1;
  upload.marks.push([now, sent]);
  while (upload.marks.length > 2 && now - upload.marks[0][0] > 3000) upload.marks.shift();
  const [[then, before]] = upload.marks;
  const percent = Math.floor(100 * upload.sent);
  if (now - then < 400) return draw(upload, word("upload-start", { percent }));
  const speed = (1000 * (sent - before)) / (now - then);
  const left = speed ? (upload.file.size - sent) / speed : Infinity;
  return draw(upload, word("upload-speed", { percent, speed: size(speed), left: duration(left) }));
}

function duration(seconds) {
  if (seconds < 90) return word("seconds", { n: Math.max(1, Math.round(seconds)) });
  if (seconds < 5400) return word("minutes", { n: Math.round(seconds / 60) });
  return Number.isFinite(seconds) ? word("hours", { n: Math.round(seconds / 3600) }) : "…";
}

/** Where the server says when it has time again, all wait that long, some times. Returns whether it did. */
function postponed(upload, request) {
  const seconds = Number(request.getResponseHeader("Retry-After"));
  upload.waits = (upload.waits ?? 0) + 1;
  if (![429, 503].includes(request.status) || !(seconds > 0) || upload.waits > MOST_WAITS) return false;
  upload.state = "waiting";
  rest = Math.max(rest, performance.now() + seconds * 1000);
  setTimeout(pump, seconds * 1000 + 50);
  draw(upload, word("upload-pause", { left: duration(seconds) }));
  return true;
}

let later;

function answered(upload, request) {
  if (request.status >= 200 && request.status < 300) {
    upload.state = "done";
    draw(upload, word("upload-ready"));
    clearTimeout(later);
    later = setTimeout(() => window.holdfast.refresh(), 250);
    return;
  }
  if (postponed(upload, request)) return;
  const { codes, message } = reason(request.status, request.responseText);
  upload.taken = request.status === 409 && codes.includes("name_taken");
  fail(upload, message);
}

// Where files come from ----------------------------------------------------------------------------------------------------

function take(files, isFolder = () => false) {
  if (!uploads.some((upload) => upload.state === "sending" || upload.state === "waiting" || upload.state === "failed")) clear();
  [...files].forEach((file, index) => add(file, isFolder(index) ? word("upload-folder") : ""));
  tray.classList.remove("is-folded");
  pump();
}

function clear() {
  uploads.length = 0;
  list.replaceChildren();
  head();
}

const picker = document.createElement("input");
picker.type = "file";
picker.multiple = true;
picker.addEventListener("change", () => {
  take(picker.files);
  picker.value = "";
});

for (const button of document.querySelectorAll("[data-upload] > summary, [data-pick]")) {
  button.addEventListener("click", (event) => {
    event.preventDefault();
    picker.click();
  });
}
document.addEventListener("keydown", (event) => {
  const busy = event.target.closest("input:not([type=checkbox]), textarea, select, dialog");
  if (event.key === "u" && !busy && !event.ctrlKey && !event.metaKey && !event.altKey) picker.click();
});

let depth = 0; // dragenter and dragleave come in pairs for every element on the way
const hasFiles = (event) => event.dataTransfer?.types.includes("Files");

addEventListener("dragenter", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  depth += 1;
  sheet.hidden = false;
});
addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = "copy";
});
addEventListener("dragleave", (event) => {
  if (!hasFiles(event)) return;
  depth -= 1;
  sheet.hidden = depth > 0 ? sheet.hidden : true;
});
addEventListener("drop", (event) => {
  depth = 0;
  sheet.hidden = true;
  if (!hasFiles(event)) return;
  event.preventDefault();
  const entries = [...event.dataTransfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry?.());
  take(event.dataTransfer.files, (index) => Boolean(entries[index]?.isDirectory));
});

tray.querySelector("[data-fold]").addEventListener("click", (event) => {
  const folded = tray.classList.toggle("is-folded");
  event.currentTarget.setAttribute("aria-expanded", String(!folded));
});
tray.querySelector("[data-close]").addEventListener("click", clear);

addEventListener("beforeunload", (event) => {
  if (uploads.some((upload) => upload.state === "sending" || upload.state === "waiting")) event.preventDefault();
});
