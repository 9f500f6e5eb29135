// Dragging rows onto folders and breadcrumbs.
const { about, moveTo, selected } = window.holdfast;
const listing = document.getElementById("listing");
const KIND = "application/x-holdfast";
let dragged = [];
const target = (event) => event.dataTransfer.types.includes(KIND) && event.target.closest?.('tr[data-kind="folder"]:not(.is-selected), [data-drop]');

listing.addEventListener("dragstart", (event) => {
  const row = event.target.closest?.("tr[data-id]");
  if (!row) return;
  const set = row.classList.contains("is-selected") ? selected() : [row];
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
