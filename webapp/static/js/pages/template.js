// The page of one template: facts, sharing, and the tree of what is built upon it, which the server
// draws anew whenever something in it may have changed.

import "../frame.js";
import { announce } from "../announce.js";
import { call } from "../api.js";
import { fill, localiseTimes } from "../bind.js";
import { whileBusy } from "../busy.js";
import { FieldProblem, onSubmit, readField } from "../dialog.js";
import { connectLive, showAnswer } from "../live.js";
import { allowedOf, changedSharing, fillSharing, followSharing } from "../sharing.js";
import { toast } from "../toast.js";
import { say, sayCount, words } from "../words.js";

const TREE_AFTER_MS = 400;
const TREE_EVERY_MS = 15000; // other people's desktops are not told to everybody

const page = document.getElementById("template-page");
const tree = document.getElementById("tree");
const share = document.getElementById("share");
const removal = document.getElementById("remove");
const bulk = document.getElementById("bulk");
let template = JSON.parse(document.getElementById("template-data").textContent);
const path = `/templates/${encodeURIComponent(template.id)}`;

function change(payload) {
  if (payload.id !== template.id) return;
  if (payload.condition !== template.condition) {
    announce(say("state_now", { name: payload.name, state: words("condition", payload.condition) }));
  }
  template = payload;
  document.title = `${template.name} · IsardVDI`;
  fill(page, template);
  // What somebody is choosing here stays.
  if (share && !changedSharing(share).allowed) fillSharing(share, template.allowed);
}

const gone = () => location.assign("/templates");

// The tree

let timer = null;
function readTreeSoon() {
  if (!tree) return;
  clearTimeout(timer);
  timer = setTimeout(readTree, TREE_AFTER_MS);
}

async function readTree() {
  const response = await fetch(`${path}/tree`, { credentials: "same-origin" });
  if (!response.ok || response.redirected) return;
  const text = await response.text();
  if (text === tree.dataset.text) return;
  tree.dataset.text = text;
  const drawn = new DOMParser().parseFromString(text, "text/html");
  tree.replaceChildren(...drawn.body.children);
}

const shownTree = () => tree.querySelector(".tree");

setInterval(() => document.visibilityState === "visible" && readTreeSoon(), TREE_EVERY_MS);

connectLive({
  "templates.list": ({ items }) => {
    const own = items.find((item) => item.id === template.id);
    if (!own) gone();
    else change(own);
    readTreeSoon();
  },
  "template.changed": (payload) => {
    change(payload);
    readTreeSoon();
  },
  "template.removed": ({ id }) => (id === template.id ? gone() : readTreeSoon()),
  "desktops.list": readTreeSoon,
  "desktop.changed": readTreeSoon,
  "desktop.removed": readTreeSoon,
});

// Buttons and dialogs

async function openRemoval() {
  await readTree();
  const { count, others, mayDelete } = shownTree().dataset;
  const many = Number(count) > 0;
  removal.querySelector('[data-slot="name"]').textContent = template.name;
  const key = !many ? "remove_alone" : mayDelete === undefined ? "remove_others" : "remove_tree";
  removal.querySelector('[data-slot="text"]').textContent = say(key, { count, others });
  removal.querySelector("#remove-tree").hidden = !many;
  removal.querySelector("#remove-tree").replaceChildren(shownTree().cloneNode(true));
  removal.querySelector('[type="submit"]').hidden = many && mayDelete === undefined;
  removal.showModal();
}

page.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  await whileBusy(button, async () => {
    if (button.dataset.action === "delete") await openRemoval();
    else await showAnswer(change, call("PATCH", path, { retry: true }));
  });
});

// What is deleted is the tree in the dialog, and no other.
onSubmit(removal, async () => {
  const { version, count } = removal.querySelector(".tree").dataset;
  await showAnswer(change, call("DELETE", Number(count) ? `${path}/tree/${version}` : path));
});

onSubmit(document.getElementById("edit"), async (form) => {
  const fields = { name: readField(form, "name", true), description: readField(form, "description") };
  const spec = { vcpus: Number(form.elements.vcpus.value), memory_mib: Number(form.elements.memory_mib.value) };
  await showAnswer(change, call("PATCH", path, { ...fields, spec }));
  toast("good", say("saved"));
});

bulk.addEventListener("change", (event) => {
  if (event.target.name !== "way") return;
  for (const field of bulk.querySelectorAll("[data-way]")) field.hidden = field.dataset.way !== event.target.value;
});

onSubmit(bulk, async (form) => {
  const way = form.elements.way?.value ?? "count";
  const value = way === "group" ? form.elements.group.value : Number(form.elements.count.value);
  if (way === "count" && !(value >= 1 && value <= 200)) throw new FieldProblem("count", say("from_to", { from: 1, to: 200 }));
  const made = await call("POST", "/desktops/bulk", {
    name: readField(form, "name", true),
    origin: { template: template.id },
    [way]: value,
  });
  toast("good", sayCount("made", made.items.length));
});

// Sharing

if (share) {
  fillSharing(share, template.allowed);
  followSharing(share);
  onSubmit(share, async () => {
    await showAnswer(change, call("PATCH", path, { allowed: allowedOf(share) }));
    fillSharing(share, template.allowed);
    toast("good", say("saved"));
  });
}

localiseTimes();
