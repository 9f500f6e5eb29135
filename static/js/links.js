// Copies the address of a public link.
const { toast, word } = window.holdfast;

for (const button of document.querySelectorAll("[data-copy-value]")) {
  button.addEventListener("click", async () => {
    const box = document.getElementById(button.dataset.copyValue);
    box.select();
    await navigator.clipboard.writeText(box.value);
    toast(word("copied"));
  });
}
