// The page System: the server draws its state, this puts a fresh drawing in place while it is seen.

import "../frame.js";
import { call } from "../api.js";
import { localiseTimes } from "../bind.js";
import { ask } from "../dialog.js";
import { toastProblem } from "../toast.js";

const EVERY_MS = 5000;
const place = document.getElementById("system");

async function refresh() {
  if (document.hidden) return;
  const lost = document.getElementById("lost");
  try {
    const response = await fetch("/admin/system/state", { signal: AbortSignal.timeout(EVERY_MS) });
    if (!response.ok) throw new Error(response.statusText);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    const held = document.activeElement?.dataset.clean;
    place.replaceChildren(...fresh.body.children);
    localiseTimes(place);
    if (held) place.querySelector(`[data-clean="${CSS.escape(held)}"]`)?.focus();
    lost.hidden = true;
  } catch {
    lost.hidden = false;
  }
}

place.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-clean]");
  if (!button || !(await ask("confirm-clean", button.dataset.name))) return;
  try {
    await call("POST", "/orphans/removals", { id: button.dataset.clean });
  } catch (problem) {
    toastProblem(problem);
  }
  refresh();
});

setInterval(refresh, EVERY_MS);
