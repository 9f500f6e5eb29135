// A file's page: copies its checksum and shows the preview when the server has made it.
const { toast, word } = window.holdfast;

for (const button of document.querySelectorAll("[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent.trim());
    toast(word("copied"));
  });
}

async function refresh() {
  const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null);
  if (!answer?.ok || document.hidden) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of ["#steps", ".preview:not(:has(audio, video))"]) {
    const [old, now] = [document.querySelector(part), fresh.querySelector(part)];
    if (old && now && !old.isEqualNode(now)) old.replaceWith(document.importNode(now, true));
  }
}

function watch(pause = 1500) {
  if (!document.querySelector("#steps[data-busy]")) return;
  setTimeout(async () => {
    if (!window.holdfast.hears?.()) await refresh();
    watch(Math.min(pause * 1.25, 10_000));
  }, pause);
}
watch();

const id = location.pathname.split("/").pop();
document.addEventListener("holdfast:news", ({ detail: what }) => {
  if (what.has(id) || what.has("everything")) refresh();
});
