// The menu of one row, opened by its dots or the right mouse button.
const { run, offer } = window.holdfast;
const menu = document.getElementById("row-panel");
let menuRow = null;

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

window.holdfast.showMenu = showMenu;
