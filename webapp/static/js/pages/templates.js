// The page Templates: the list follows the payloads; making one asks the REST interface.

import "../frame.js";
import { announce } from "../announce.js";
import { call } from "../api.js";
import { fill, makeFromTemplate } from "../bind.js";
import { whileBusy } from "../busy.js";
import { onSubmit, readField } from "../dialog.js";
import { connectLive, showAnswer } from "../live.js";
import { toast } from "../toast.js";
import { say, words } from "../words.js";

const list = document.getElementById("templates");
const empty = document.getElementById("empty");
const make = document.getElementById("make");
const payloads = new Map();
const cards = new Map();
for (const card of list.children) cards.set(card.dataset.id, card);
for (const item of JSON.parse(document.getElementById("templates-data").textContent)) {
  payloads.set(item.id, item);
}

const order = (payload) => [payload.name.toLowerCase(), payload.id].join("\n");

function change(payload) {
  const before = payloads.get(payload.id);
  payloads.set(payload.id, payload);
  const card = cards.get(payload.id);
  if (card) {
    fill(card, payload);
  } else {
    const made = makeFromTemplate("template-card", payload);
    cards.set(payload.id, made);
    const next = [...list.children].find((other) => order(payloads.get(other.dataset.id)) > order(payload));
    list.insertBefore(made, next ?? null);
  }
  if (before && before.condition !== payload.condition) {
    announce(say("state_now", { name: payload.name, state: words("condition", payload.condition) }));
  }
  empty.hidden = payloads.size > 0;
}

function remove(id) {
  const payload = payloads.get(id);
  payloads.delete(id);
  cards.get(id)?.remove();
  cards.delete(id);
  if (payload) announce(say("removed", { name: payload.name }));
  empty.hidden = payloads.size > 0;
}

connectLive({
  "templates.list": ({ items }) => {
    const kept = new Set(items.map((item) => item.id));
    for (const id of [...payloads.keys()]) if (!kept.has(id)) remove(id);
    items.forEach(change);
  },
  "template.changed": change,
  "template.removed": ({ id }) => remove(id),
});

list.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action=retry]");
  if (!button) return;
  const { id } = button.closest(".desktop").dataset;
  await whileBusy(button, () =>
    showAnswer(change, call("PATCH", `/templates/${encodeURIComponent(id)}`, { retry: true })));
});

// The name is the desktop's until somebody types another.
const form = make.querySelector("form");
let nameTouched = false;
function suggestName() {
  if (nameTouched || !form.elements.desktop) return;
  form.elements.name.value = form.elements.desktop.selectedOptions[0].text.slice(0, 80);
}
// Before it is there: "toggle" comes later, when somebody may be typing already.
make.addEventListener("beforetoggle", (event) => event.newState === "open" && suggestName());
form.addEventListener("change", (event) => event.target.name === "desktop" && suggestName());
form.addEventListener("input", (event) => (nameTouched ||= event.target.name === "name"));

onSubmit(make, async () => {
  const made = await showAnswer(change, call("POST", "/templates", {
    name: readField(form, "name", true),
    description: readField(form, "description"),
    kind: form.elements.base?.checked ? "base" : "template",
    origin: { desktop: form.elements.desktop.value },
  }));
  nameTouched = false;
  toast("good", say("created", { name: made.name }));
});

if ("chosen" in make.dataset) make.showModal();
