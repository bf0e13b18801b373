// The page Updates: what a catalogue offers, downloaded with one click. How far a download is comes with
// the media's own events; the list is then read again, a moment later.

import "../frame.js";
import { call } from "../api.js";
import { fill, makeFromTemplate } from "../bind.js";
import { whileBusy } from "../busy.js";
import { onSubmit } from "../dialog.js";
import { connectLive } from "../live.js";
import { toast } from "../toast.js";
import { say } from "../words.js";

const head = document.getElementById("updates-head");
const list = document.getElementById("entries");
const checkButton = document.getElementById("check");
let updates = JSON.parse(document.getElementById("updates-data").textContent);

const keyOf = (entry) => `${entry.id}@${entry.version}`;

function show(payload) {
  updates = payload;
  fill(head, updates);
  const cards = [...list.children];
  updates.entries.forEach((entry, at) => {
    if (cards[at]) fill(cards[at], entry);
    else list.append(makeFromTemplate("entry-card", entry));
  });
  cards.slice(updates.entries.length).forEach((card) => card.remove());
  checkButton.hidden = !updates.url;
  document.getElementById("no-catalogue").hidden = Boolean(updates.url);
  document.getElementById("no-entries").hidden = !updates.url || updates.entries.length > 0;
}

let timer = null;
function readSoon() {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    try {
      show(await call("GET", "/updates"));
    } catch {
      // The next event asks again.
    }
  }, 300);
}

const conditions = new Map();
function follow(medium) {
  if (!medium.catalogue || conditions.get(medium.id) === medium.condition) return;
  conditions.set(medium.id, medium.condition);
  readSoon();
}

connectLive({
  "media.list": ({ items }) => items.forEach(follow),
  "medium.changed": follow,
  "medium.removed": ({ id }) => conditions.delete(id) && readSoon(),
});

checkButton.addEventListener("click", () => whileBusy(checkButton, async () => {
  show(await call("POST", "/updates/check"));
  if (!updates.problem) toast("good", say("catalogue_read"));
}));

list.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  whileBusy(button, async () => {
    const id = button.closest(".medium").dataset.id;
    const entry = await call("POST", `/updates/entries/${encodeURIComponent(id)}`);
    show({ ...updates, entries: updates.entries.map((one) => (keyOf(one) === keyOf(entry) ? entry : one)) });
  });
});

onSubmit(document.getElementById("catalogue"), async (form) => {
  show(await call("PUT", "/updates", { url: form.elements.url.value.trim() }));
});
