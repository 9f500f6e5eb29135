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
const SMALL = 5 * 1000 * 1000; // bytes: less goes in one request, because there is little to go on with after a cut
const MOST_WAITS = 30; // of one file, before a person is asked
const uploads = [];

// A line of the tray -----------------------------------------------------------------------------------------------------

function line(upload) {
  const element = pattern.content.firstElementChild.cloneNode(true);
  const find = (css) => element.querySelector(css);
  find(".tray-name").textContent = find(".tray-name").title = upload.path || upload.file.name;
  find(".tray-size").textContent = size(upload.file.size);
  find(".bar").setAttribute("aria-label", upload.file.name);
  find("[data-act]").addEventListener("click", () => (upload.state === "failed" ? start(upload) : stop(upload)));
  find("[data-pause]").addEventListener("click", () => (upload.state === "paused" ? start(upload) : pause(upload)));
  for (const fix of element.querySelectorAll("[data-fix]")) {
    fix.addEventListener("click", () => settle(upload, fix.dataset.fix));
  }
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
  for (const fix of element.querySelectorAll("[data-fix]")) fix.hidden = !upload.taken || state !== "failed";
  drawPause(upload, element.querySelector("[data-pause]"));
  if (button.dataset.state === state) return;
  button.dataset.state = state;
  button.replaceChildren(icon(MARKS[state] ?? "x"));
  button.disabled = state === "done";
  const label = { done: "upload-ready", failed: "upload-retry" }[state] ?? "upload-cancel";
  button.setAttribute("aria-label", word(label, { name: upload.file.name }));
}

function drawPause({ file, parts, state }, button) {
  const paused = state === "paused";
  button.hidden = !paused && !(state === "sending" && parts);
  if (button.hidden || button.dataset.state === state) return;
  button.dataset.state = state;
  button.replaceChildren(icon(paused ? "player-play" : "player-pause"));
  button.setAttribute("aria-label", word(paused ? "upload-go-on" : "upload-hold", { name: file.name }));
}

function head() {
  const number = (state) => uploads.filter((upload) => upload.state === state).length;
  const [done, failed] = [number("done"), number("failed")];
  const active = uploads.length - done - failed;
  everywhere.hidden = waiting().length < 2;
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

function add(file, path) {
  const upload = { file, path, state: "waiting", sent: 0, conflict: answerForAll, taken: false };
  upload.parts = file.size > SMALL || path.includes("/");
  upload.element = line(upload);
  uploads.push(upload);
  if (file.size > limit) fail(upload, word("upload-too-large", { limit: size(limit) }));
  else draw(upload, word("upload-waits"));
}

function start(upload) {
  upload.state = "waiting";
  upload.taken = false;
  draw(upload, word("upload-waits"));
  pump();
}

function pause(upload) {
  upload.state = "paused";
  upload.request.abort();
  draw(upload, word("upload-held", { percent: Math.floor(100 * upload.sent) }));
  pump();
}

function stop(upload) {
  upload.request?.abort(true); // of tus: also on the server
  uploads.splice(uploads.indexOf(upload), 1);
  upload.element.remove();
  pump();
}

const everywhere = tray.querySelector("[data-all]");
let answerForAll = "";
const waiting = () => uploads.filter((upload) => upload.taken && upload.state === "failed");

/** A taken name: keep both, replace, skip; for this one or for all from now on. */
function settle(upload, answer) {
  const all = everywhere.querySelector("input").checked && !everywhere.hidden;
  if (all) answerForAll = answer;
  for (const one of all ? waiting() : [upload]) {
    if (answer === "skip") stop(one);
    else {
      one.conflict = answer;
      start(one);
    }
  }
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

let library; // tus-js-client, at the first upload that needs it

function loaded() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = listing.dataset.tus;
    script.addEventListener("load", () => resolve(window.tus));
    script.addEventListener("error", () => {
      library = undefined;
      reject(new Error("offline"));
    });
    document.head.append(script);
  });
  return library;
}

/** In parts that go on after a cut, a reload (choose the file again) or a restart of the server. */
async function transmitParts(upload) {
  upload.state = "sending";
  upload.marks = [[performance.now(), upload.file.size * upload.sent]];
  draw(upload, word("upload-start", { percent: Math.floor(100 * upload.sent) }));
  try {
    const { Upload } = await loaded();
    if (upload.state !== "sending") return;
    const { name, type, size: length, lastModified } = upload.file;
    const metadata = { filename: name, filetype: type, relativePath: upload.path, conflict: upload.conflict };
    if (folder) metadata.folder_id = folder;
    if (upload.conflict === "skip") metadata.conflict = "";
    upload.request = new Upload(upload.file, {
      endpoint: "/api/v1/uploads",
      headers: { "X-CSRF-Token": token },
      metadata,
      retryDelays: [500, 1000, 2000, 4000, 8000, 15000, 30000],
      removeFingerprintOnSuccess: true,
      uploadDataDuringCreation: length <= SMALL,
      fingerprint: async () => ["tus", folder, upload.path, name, length, lastModified].join("-"),
      onShouldRetry: (error) => ![400, 401, 403, 404, 409, 410, 413, 415, 422].includes(statusOf(error)),
      onProgress: (sent) => upload.state === "sending" && progress(upload, sent),
      onSuccess: () => ended(upload, 204, ""),
      onError: (error) => ended(upload, statusOf(error), error.originalResponse?.getBody() ?? ""),
    });
    const [before] = await upload.request.findPreviousUploads();
    if (before) upload.request.resumeFromPreviousUpload(before);
    if (upload.state === "sending") upload.request.start();
  } catch {
    ended(upload, 0, "");
  }
}

const statusOf = (error) => error.originalResponse?.getStatus() ?? 0;

function ended(upload, status, text) {
  if (!status) fail(upload, word("upload-offline"));
  else settled(upload, status, text);
  pump();
}

function transmit(upload) {
  if (upload.parts) return void transmitParts(upload);
  const query = new URLSearchParams({ name: upload.file.name });
  if (folder) query.set("folder_id", folder);
  if (upload.conflict && upload.conflict !== "skip") query.set("conflict", upload.conflict);
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
  if (!postponed(upload, request)) settled(upload, request.status, request.responseText);
}

function settled(upload, status, text) {
  if (status >= 200 && status < 300) {
    upload.state = "done";
    draw(upload, word("upload-ready"));
    clearTimeout(later);
    later = setTimeout(() => window.holdfast.refresh(), 250);
    return;
  }
  const { codes, message } = reason(status, text);
  upload.taken = status === 409 && codes.includes("name_taken");
  fail(upload, message);
  if (upload.taken && answerForAll === "skip") stop(upload);
}

// Where files come from ----------------------------------------------------------------------------------------------------

function take(found) {
  if (!uploads.some((upload) => upload.state !== "done")) clear();
  for (const { file, path } of found) add(file, path);
  tray.classList.remove("is-folded");
  pump();
}

const chosen = (files) => [...files].map((file) => ({ file, path: file.webkitRelativePath }));

/** All files of a dropped entry, folders walked through; each with its path where it lies in a folder. */
async function filesOf(entry, above = "") {
  const path = `${above}${entry.name}`;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, path: above && path }];
  }
  const reader = entry.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found; // browsers give a hundred at a time
    for (const child of some) found.push(...(await filesOf(child, `${path}/`)));
  }
}

function clear() {
  uploads.length = 0;
  answerForAll = "";
  list.replaceChildren();
  head();
}

const picker = document.createElement("input");
picker.type = "file";
picker.multiple = true;
picker.addEventListener("change", () => {
  take(chosen(picker.files));
  picker.value = "";
});
const folders = document.createElement("input");
folders.type = "file";
folders.webkitdirectory = true;
folders.addEventListener("change", () => {
  take(chosen(folders.files));
  folders.value = "";
});
for (const button of document.querySelectorAll("[data-pick-folder]")) {
  button.addEventListener("click", () => folders.click());
}

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
  const items = [...event.dataTransfer.items].filter((item) => item.kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.()); // at once: the items are gone after this event
  if (!entries.some((entry) => entry?.isDirectory)) take(chosen(event.dataTransfer.files));
  else Promise.all(entries.filter(Boolean).map((entry) => filesOf(entry))).then((found) => take(found.flat()));
});

tray.querySelector("[data-fold]").addEventListener("click", (event) => {
  const folded = tray.classList.toggle("is-folded");
  event.currentTarget.setAttribute("aria-expanded", String(!folded));
});
tray.querySelector("[data-close]").addEventListener("click", clear);

addEventListener("beforeunload", (event) => {
  if (uploads.some((upload) => ["sending", "waiting", "paused"].includes(upload.state))) event.preventDefault();
});
