// Small form pages open as dialogs over the page one is on; without this module the same links lead to the pages.
const dialog = document.getElementById("dialog");
const keys = document.getElementById("keys");

/** Opens the part of another page that `selector` names. Resolves to the dialog; follows the link where there is no such part. */
async function open(url, selector = "[data-dialog-body]") {
  let body;
  try {
    const answer = await fetch(url, { headers: { Accept: "text/html" } });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    body = answer.ok ? page.querySelector(selector) : null;
  } catch {
    body = null;
  }
  if (!body) {
    location.assign(url);
    return null;
  }
  const part = document.importNode(body, true);
  // addresses on that page are relative to it, not to this one
  for (const link of part.querySelectorAll("a[href]")) link.href = new URL(link.getAttribute("href"), new URL(url, location.href));
  part.classList.remove("panel", "form-page");
  dialog.replaceChildren(part);
  dialog.setAttribute("aria-label", dialog.querySelector("h1")?.textContent.trim() ?? "");
  if (!dialog.open) dialog.showModal();
  dialog.dispatchEvent(new CustomEvent("holdfast:filled"));
  const input = dialog.querySelector("input[autofocus]");
  if (input) {
    input.focus();
    // the name without its ending is what people retype
    const dot = input.value.lastIndexOf(".");
    input.setSelectionRange(0, dot > 0 ? dot : input.value.length);
  }
  return dialog;
}

document.addEventListener("click", (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  const link = event.target.closest("a[data-dialog]");
  if (link) {
    event.preventDefault();
    link.closest("details.popup")?.removeAttribute("open");
    open(link.href);
  } else if (event.target.closest("dialog [data-dismiss]")) {
    event.preventDefault();
    dialog.close();
  } else if (event.target === dialog || event.target === keys) {
    event.target.close(); // the backdrop belongs to the dialog
  }
});

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-show-keys]");
  if (!opener) return;
  opener.closest("details.popup")?.removeAttribute("open");
  keys.showModal();
});
document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable]");
  if (event.key !== "?" || typing || document.querySelector("dialog[open]")) return;
  keys.showModal();
});

// What was looked at stops playing, and the next dialog starts empty
dialog.addEventListener("close", () => dialog.replaceChildren());

window.holdfast.open = open;
window.holdfast.dialog = dialog;
