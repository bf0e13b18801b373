// The page Hypervisors: the list follows the payloads; adding asks the REST interface.

import "../frame.js";
import { fill, makeFromTemplate } from "../bind.js";
import { onSubmit } from "../dialog.js";
import { addHypervisor } from "../hypervisor-form.js";
import { announce } from "../announce.js";
import { connectLive } from "../live.js";
import { desktopsByHost } from "../running.js";
import { say, words } from "../words.js";

const list = document.getElementById("hypervisors");
const empty = document.getElementById("empty");
const payloads = new Map();
const cards = new Map();
for (const card of list.children) cards.set(card.dataset.id, card);
for (const item of JSON.parse(document.getElementById("hypervisors-data").textContent)) {
  payloads.set(item.id, item);
}

const running = desktopsByHost(() => payloads.forEach(change));

function change(payload) {
  const before = payloads.get(payload.id);
  payloads.set(payload.id, payload);
  const shown = { ...payload, desktops: running.known ? running.on(payload.id).length : payload.desktops };
  const card = cards.get(payload.id);
  if (card) {
    fill(card, shown);
  } else {
    const made = makeFromTemplate("hypervisor-card", shown);
    cards.set(payload.id, made);
    const next = [...list.children].find((other) => other.dataset.id > payload.id);
    list.insertBefore(made, next ?? null);
  }
  if (before && before.observed.state !== payload.observed.state) {
    announce(say("state_now", { name: payload.id, state: words("host_state", payload.observed.state) }));
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
  "hypervisors.list": ({ items }) => {
    const kept = new Set(items.map((item) => item.id));
    for (const id of [...payloads.keys()]) if (!kept.has(id)) remove(id);
    items.forEach(change);
  },
  "hypervisor.changed": change,
  "hypervisor.removed": ({ id }) => remove(id),
  ...running.listeners,
});

// Its own page shows how access is set up and the checks as they are made.
onSubmit(document.getElementById("hypervisor"), async (form) => {
  const { id } = await addHypervisor(form);
  location.assign(`/admin/hypervisors/${encodeURIComponent(id)}`);
});
