// The page reads well without this. It opens all evidence at once, and what is printed.

const folds = [...document.querySelectorAll("details")];
const evidence = folds.filter((fold) => fold.matches(".evidence"));
const all = document.getElementById("all");

if (all && evidence.length > 1) {
  all.hidden = false;
  all.addEventListener("click", () => {
    const open = all.getAttribute("aria-pressed") !== "true";
    for (const fold of evidence) fold.open = open;
    all.setAttribute("aria-pressed", String(open));
    all.textContent = open ? "Close all evidence" : "Open all evidence";
  });
}

const opened = [];
addEventListener("beforeprint", () => {
  for (const image of document.images) image.loading = "eager";
  for (const fold of folds) {
    if (fold.open) continue;
    fold.open = true;
    opened.push(fold);
  }
});
addEventListener("afterprint", () => { while (opened.length) opened.pop().open = false; });
