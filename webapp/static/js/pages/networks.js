// The page Networks: the list follows the payloads; the form asks the REST interface.

import "../frame.js";
import { call } from "../api.js";
import { fill, makeFromTemplate } from "../bind.js";
import { whileBusy } from "../busy.js";
import { ask, onSubmit, readField } from "../dialog.js";
import { connectLive, showAnswer } from "../live.js";
import { allowedOf, changedSharing, fillSharing, followSharing } from "../sharing.js";
import { toast } from "../toast.js";
import { say } from "../words.js";

const list = document.getElementById("networks");
const empty = document.getElementById("empty");
const dialog = document.getElementById("network");
const form = dialog.querySelector("form");
const payloads = new Map();
const cards = new Map();
let edited = null;

for (const card of list.children) cards.set(card.dataset.id, card);
for (const item of JSON.parse(document.getElementById("networks-data").textContent)) {
  payloads.set(item.id, item);
}

function change(payload) {
  payloads.set(payload.id, payload);
  const card = cards.get(payload.id);
  if (card) {
    fill(card, payload);
  } else {
    const made = makeFromTemplate("network-card", payload);
    cards.set(payload.id, made);
    const next = [...list.children].find((other) => other.dataset.id > payload.id);
    list.insertBefore(made, next ?? null);
  }
  empty.hidden = payloads.size > 0;
}

function remove(id) {
  payloads.delete(id);
  cards.get(id)?.remove();
  cards.delete(id);
  empty.hidden = payloads.size > 0;
}

connectLive({
  "networks.list": ({ items }) => {
    const kept = new Set(items.map((item) => item.id));
    for (const id of [...payloads.keys()]) if (!kept.has(id)) remove(id);
    items.forEach(change);
  },
  "network.changed": change,
  "network.removed": ({ id }) => remove(id),
});

// Only what belongs to the chosen kind is shown.
function showParts() {
  for (const part of form.querySelectorAll("[data-for-kind]")) {
    part.hidden = part.dataset.forKind !== form.elements.kind.value;
  }
}

form.addEventListener("change", showParts);
followSharing(form);

function open(payload) {
  edited = payload;
  form.reset();
  form.querySelector('[data-field="id"]').hidden = Boolean(payload);
  dialog.querySelector("h2").textContent = payload
    ? say("edit_it", { name: payload.name })
    : say("add_network");
  if (payload) {
    for (const name of ["id", "name", "description", "kind", "network", "bridge", "model", "addresses"]) {
      form.elements[name].value = payload[name] ?? "";
    }
  }
  fillSharing(form, payload?.allowed);
  showParts();
  dialog.showModal();
}

function fieldsOf() {
  const kind = form.elements.kind.value;
  return {
    name: readField(form, "name", true),
    description: readField(form, "description"),
    kind,
    network: kind === "network" ? readField(form, "network") || null : null,
    bridge: kind === "bridge" ? readField(form, "bridge", true) : null,
    model: form.elements.model.value,
    addresses: form.elements.addresses.value || null,
  };
}

const pathOf = ({ id }) => `/networks/${encodeURIComponent(id)}`;

onSubmit(dialog, async () => {
  if (edited) {
    const fields = { ...fieldsOf(), ...changedSharing(form) };
    await showAnswer(change, call("PATCH", pathOf(edited), fields));
    toast("good", say("saved"));
  } else {
    const fields = { id: readField(form, "id", true), ...fieldsOf(), allowed: allowedOf(form) };
    await showAnswer(change, call("POST", "/networks", fields));
  }
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-add]")) open(null);
});

list.addEventListener("click", async (event) => {
  const payload = payloads.get(event.target.closest(".network")?.dataset.id);
  if (!payload) return;
  if (event.target.closest("[data-edit]")) open(payload);
  const button = event.target.closest("[data-delete]");
  if (!button || !(await ask("confirm-remove", payload.name))) return;
  await whileBusy(button, async () => {
    await call("DELETE", pathOf(payload));
    remove(payload.id);
  });
});
