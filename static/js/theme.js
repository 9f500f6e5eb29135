// Loaded before anything is painted, so that the chosen theme never flashes the other one.
{
  const root = document.documentElement;
  const system = matchMedia("(prefers-color-scheme: dark)");

  const stored = () => {
    try {
      return localStorage.getItem("theme") ?? "auto";
    } catch {
      return "auto"; // storage is forbidden in some private windows
    }
  };

  const apply = () => {
    const theme = stored();
    root.dataset.theme = theme;
    // Swagger UI knows this class only
    root.classList.toggle("dark-mode", theme === "dark" || (theme === "auto" && system.matches));
  };

  root.classList.add("js");
  apply();
  system.addEventListener("change", apply);
  addEventListener("storage", apply);

  addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    if (!choice) return;
    choice.hidden = false;
    choice.querySelector(`[value="${stored()}"]`).checked = true;
    choice.addEventListener("change", (event) => {
      try {
        localStorage.setItem("theme", event.target.value);
      } catch {
        root.dataset.theme = event.target.value;
        return;
      }
      apply();
    });
  });
}
