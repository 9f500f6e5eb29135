// What happens on the server, as it happens: one event stream while the page is in sight. Without one the page polls as
// it would without this file: lists and jobs by htmx, files by their own clocks.
const LATER = 15_000; // milliseconds until a refused stream is asked for again; doubled up to five minutes
const ROUND = 60_000; // a page that hears looks at itself this often all the same: times grow old
const TOGETHER = 150; // events that come together make one refresh
let source;
let hears = false;
let patience = LATER;
let retry;
let gathered;
const changed = new Set();

function open() {
  clearTimeout(retry);
  if (source || document.hidden || !window.EventSource || !document.querySelector("[data-live], #listing, #steps")) return;
  source = new EventSource("/events");
  source.addEventListener("open", () => {
    hears = true;
    patience = LATER;
  });
  source.addEventListener("error", () => {
    hears = false;
    if (source?.readyState !== EventSource.CLOSED) return; // it comes back by itself, with Last-Event-ID
    close();
    retry = setTimeout(open, patience * (0.5 + Math.random()));
    patience = Math.min(2 * patience, 300_000);
  });
  for (const name of ["job.changed", "file.changed", "folder.changed"]) {
    source.addEventListener(name, (event) => {
      const data = JSON.parse(event.data);
      note(name.split(".")[0], data.id, data.target_id);
    });
  }
  source.addEventListener("sync", () => note("everything"));
  source.addEventListener("notification", () => window.holdfast.toast(window.holdfast.word("job-failed")));
}

// A hidden page gives its connection back: a browser has six of them for all its windows
function close() {
  source?.close();
  source = undefined;
  hears = false;
}

function note(...what) {
  for (const one of what) if (one) changed.add(one);
  gathered ??= setTimeout(tell, TOGETHER);
}

function tell() {
  gathered = undefined;
  if (document.querySelector("[data-live].htmx-request")) return note(); // its answer may be older than the news
  const what = new Set(changed);
  changed.clear();
  document.dispatchEvent(new CustomEvent("holdfast:news", { detail: what }));
  for (const part of document.querySelectorAll("[data-live]")) {
    const wanted = part.dataset.live.split(" ");
    if (what.has("everything") || wanted.some((one) => what.has(one))) window.htmx?.trigger(part, "news");
  }
}

// While the stream tells, nothing is asked by the clock, but for a slow round
let looked = Date.now();
document.addEventListener("htmx:beforeRequest", (event) => {
  const { elt, requestConfig } = event.detail;
  if (!elt.matches("[data-live]") || requestConfig.triggeringEvent) return;
  if (hears && Date.now() - looked < ROUND) event.preventDefault();
  else looked = Date.now();
});

document.addEventListener("visibilitychange", () => (document.hidden ? close() : open()));
addEventListener("pagehide", close);
addEventListener("pageshow", open);
window.holdfast.hears = () => hears;
open();
