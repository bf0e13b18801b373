// The page System: the server draws its state, this puts a fresh drawing in place while it is seen.

import "../frame.js";

const EVERY_MS = 5000;
const place = document.getElementById("system");

async function refresh() {
  if (document.hidden) return;
  const lost = document.getElementById("lost");
  try {
    const response = await fetch("/admin/system/state", { signal: AbortSignal.timeout(EVERY_MS) });
    if (!response.ok) throw new Error(response.statusText);
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    place.replaceChildren(...fresh.body.children);
    lost.hidden = true;
  } catch {
    lost.hidden = false;
  }
}

setInterval(refresh, EVERY_MS);
