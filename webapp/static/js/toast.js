// Short messages in the corner. Good news goes by itself; a problem stays until it is dismissed.

import { say } from "./words.js";

const GOOD_MS = 5000;
const TOASTS_MAX = 4;
const ICONS = { good: "check", bad: "warn", info: "info" };

export function toast(tone, text, title = "") {
  const place = document.getElementById("toasts");
  const made = document.getElementById("toast").content.firstElementChild.cloneNode(true);
  made.dataset.tone = tone;
  made.setAttribute("role", tone === "bad" ? "alert" : "status");
  const use = made.querySelector(".icon use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${ICONS[tone]}`));
  made.querySelector(".toast-title").textContent = title;
  made.querySelector(".toast-text").textContent = text;
  made.querySelector("button").addEventListener("click", () => drop(made));
  while (place.children.length >= TOASTS_MAX) place.firstElementChild.remove();
  if (place.matches(":popover-open")) place.hidePopover();
  place.append(made);
  place.showPopover(); // on top of any dialog that is open
  if (tone !== "bad") setTimeout(() => drop(made), GOOD_MS);
}

export function toastProblem(problem) {
  if (problem.reason === undefined) throw problem;
  toast("bad", problem.message, say("refused"));
}

function drop(made) {
  made.remove();
  const place = document.getElementById("toasts");
  if (!place.children.length && place.matches(":popover-open")) place.hidePopover();
}
