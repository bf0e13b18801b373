// The page Storage & pools: the list follows the payloads; adding asks the REST interface.

import "../frame.js";
import { announce } from "../announce.js";
import { fill, makeFromTemplate } from "../bind.js";
import { onSubmit } from "../dialog.js";
import { connectLive, showAnswer } from "../live.js";
import { addPool, hostListeners, installDialog, withHosts } from "../pool-form.js";
import { say, words } from "../words.js";

const list = document.getElementById("pools");
const empty = document.getElementById("empty");
const dialog = document.getElementById("pool");
const payloads = new Map();
const cards = new Map();
const hosts = new Map();
for (const card of list.children) cards.set(card.dataset.id, card);
for (const item of JSON.parse(document.getElementById("pools-data").textContent)) {
  payloads.set(item.id, item);
  for (const host of item.hosts) hosts.set(host.id, host);
}

function change(payload) {
  const before = payloads.get(payload.id);
  payloads.set(payload.id, payload);
  const shown = withHosts(payload, hosts);
  const card = cards.get(payload.id);
  if (card) {
    fill(card, shown);
  } else {
    const made = makeFromTemplate("pool-card", shown);
    cards.set(payload.id, made);
    const next = [...list.children].find((other) => other.dataset.id > payload.id);
    list.insertBefore(made, next ?? null);
  }
  if (before && before.observed.state !== payload.observed.state) {
    announce(say("state_now", { name: payload.name, state: words("pool_state", payload.observed.state) }));
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
  "pools.list": ({ items }) => {
    const kept = new Set(items.map((item) => item.id));
    for (const id of [...payloads.keys()]) if (!kept.has(id)) remove(id);
    items.forEach(change);
  },
  "pool.changed": change,
  "pool.removed": ({ id }) => remove(id),
  ...hostListeners(hosts, () => payloads.forEach(change)),
});

const folder = (use) => [{ path: `/opt/isard/${use}`, disk_operations: [], weight: 100 }];
const uses = ["bases", "templates", "groups", "media"];
installDialog(dialog, () => ({
  allowed: { roles: [] },
  paths: Object.fromEntries(uses.map((use) => [use, folder(use)])),
}));

onSubmit(dialog, async (form) => {
  await showAnswer(change, addPool(form));
  form.reset();
});
