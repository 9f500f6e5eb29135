// Short messages at the foot of the page, read out by screen readers, some with Undo.
const { word, icon } = window.holdfast;
const region = document.getElementById("toasts");

/** Shows a message. `undo` is a function or a form; `bad` stays until it is closed. */
function toast(text, { undo, bad = false } = {}) {
  const box = document.createElement("div");
  box.className = bad ? "notice-toast notice-toast-bad" : "notice-toast";
  const line = document.createElement("p");
  line.textContent = text;
  box.append(icon(bad ? "alert-circle" : "circle-check"), line);
  if (undo instanceof HTMLFormElement) {
    undo.querySelector("button").className = "";
    box.append(undo);
  } else if (undo) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = word("undo");
    button.addEventListener("click", () => {
      box.remove();
      undo();
    });
    box.append(button);
  }
  const close = document.createElement("button");
  close.type = "button";
  close.className = "toast-close";
  close.setAttribute("aria-label", word("close"));
  close.append(icon("x"));
  close.addEventListener("click", () => box.remove());
  box.append(close);
  region.append(box);
  while (region.children.length > 3) region.firstElementChild.remove();
  if (!bad) expire(box, undo ? 12_000 : 6_000);
}

// Nobody loses a message while reading it: the clock stops under the pointer and the focus
function expire(box, milliseconds) {
  let timer = setTimeout(() => box.remove(), milliseconds);
  const stop = () => clearTimeout(timer);
  const start = () => {
    stop();
    timer = setTimeout(() => box.remove(), milliseconds / 2);
  };
  for (const name of ["pointerenter", "focusin"]) box.addEventListener(name, stop);
  for (const name of ["pointerleave", "focusout"]) box.addEventListener(name, start);
}

window.holdfast.toast = toast;

for (const flash of document.querySelectorAll("[data-flashes] .flash-success")) {
  toast(flash.querySelector("p").textContent, { undo: flash.querySelector("form") });
  flash.remove();
}
for (const box of document.querySelectorAll("[data-flashes]:not(:has(*))")) box.remove();
