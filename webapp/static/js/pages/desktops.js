// The page Desktops: cards follow the payloads; buttons ask the REST interface and nothing else.
// What a card shows comes only from the server, never from what was clicked.

import "../frame.js";
import { announce } from "../announce.js";
import { askDesktop, call } from "../api.js";
import { fill, makeFromTemplate } from "../bind.js";
import { whileBusy } from "../busy.js";
import { installCreateFromMedia } from "../create-media.js";
import { FieldProblem, ask, onSubmit, readField } from "../dialog.js";
import { installFilter } from "../filter.js";
import { connectLive, showAnswer } from "../live.js";
import { watchThumbnails } from "../thumbnails.js";
import { toast } from "../toast.js";
import { say, words } from "../words.js";
import { followWork } from "../work.js";

const list = document.getElementById("desktops");
const payloads = new Map();
const cards = new Map();
for (const card of list.children) cards.set(card.dataset.id, card);
for (const payload of JSON.parse(document.getElementById("desktops-data").textContent)) {
  payloads.set(payload.id, payload);
}

const filter = installFilter(payloads, cards);

const work = followWork((id) => {
  if (cards.has(id)) fill(cards.get(id), { ...payloads.get(id), task: work.on(id) });
});

const isBefore = (a, b) => {
  const [left, right] = [a.name.toLowerCase(), b.name.toLowerCase()];
  return left === right ? a.id < b.id : left < right;
};

function placeCard(card, payload) {
  const last = payloads.get(list.lastElementChild?.dataset.id);
  if (last && last.id !== payload.id && isBefore(last, payload)) {
    list.append(card);
    return;
  }
  for (const other of list.children) {
    const there = payloads.get(other.dataset.id);
    if (other !== card && there && isBefore(payload, there)) {
      if (other.previousElementSibling !== card) list.insertBefore(card, other);
      return;
    }
  }
  if (list.lastElementChild !== card) list.append(card);
}

function addCard(payload) {
  const card = makeFromTemplate("desktop-card", { ...payload, task: work.on(payload.id) });
  cards.set(payload.id, card);
  placeCard(card, payload);
  thumbnails.add(card);
}

function change(payload) {
  const before = payloads.get(payload.id);
  payloads.set(payload.id, payload);
  const card = cards.get(payload.id);
  if (card) {
    fill(card, { ...payload, task: work.on(payload.id) });
    if (before.name !== payload.name) placeCard(card, payload);
  } else {
    addCard(payload);
  }
  if (before?.condition !== payload.condition) {
    if (before) announce(say("state_now", { name: payload.name, state: words("condition", payload.condition) }));
    thumbnails.tellSoon();
  }
  filter.refresh();
}

function remove(id) {
  const payload = payloads.get(id);
  const card = cards.get(id);
  payloads.delete(id);
  cards.delete(id);
  if (card) {
    thumbnails.remove(card);
    const inside = card.contains(document.activeElement);
    const next = card.nextElementSibling ?? card.previousElementSibling;
    card.remove();
    if (inside) (next?.querySelector(".button:not([hidden])") ?? document.getElementById("content")).focus();
  }
  if (payload) announce(say("removed", { name: payload.name }));
  filter.refresh();
}

function replaceAll(items) {
  const kept = new Set(items.map((item) => item.id));
  for (const id of [...payloads.keys()]) if (!kept.has(id)) remove(id);
  for (const item of items) change(item);
}

const socket = connectLive({
  "desktops.list": ({ items }) => replaceAll(items),
  "desktop.changed": change,
  "desktop.removed": ({ id }) => remove(id),
  ...work.listeners,
  "thumbnail.changed": ({ id, url, at }) => {
    const payload = payloads.get(id);
    if (payload) change({ ...payload, thumbnail_url: url, thumbnail_at: at });
  },
});
const isRunning = (id) => ["started", "paused"].includes(payloads.get(id)?.observed.state);
const thumbnails = watchThumbnails(socket, list, isRunning);
socket.on("connect", thumbnails.tellSoon);

// Buttons

async function perform(payload, action, button) {
  if (action === "edit") {
    openRename(payload);
    return;
  }
  if (action === "delete" || action === "power_off") {
    if (!(await ask(`confirm-${action}`, payload.name))) return;
  }
  await whileBusy(button, () => showAnswer(change, askDesktop(payload, action)));
}

list.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  const payload = payloads.get(button?.closest(".desktop").dataset.id);
  if (payload) perform(payload, button.dataset.action, button);
});

// Dialogs

const rename = document.getElementById("rename");
let renamed = null;

function openRename(payload) {
  renamed = payload.id;
  const form = rename.querySelector("form");
  form.elements.name.value = payload.name;
  form.elements.description.value = payload.description;
  rename.showModal();
  form.elements.name.select();
}

onSubmit(rename, async (form) => {
  const fields = { name: readField(form, "name", true), description: readField(form, "description") };
  await showAnswer(change, call("PATCH", `/desktops/${encodeURIComponent(renamed)}`, fields));
  toast("good", say("saved"));
});

const create = document.getElementById("create");
const createForm = create.querySelector("form");
const fromMedia = installCreateFromMedia(createForm);
const isFromMedia = () => createForm.elements.from?.value === "media";
let nameTouched = false;

function showOrigin() {
  const origin = isFromMedia() ? "media" : "template";
  for (const part of create.querySelectorAll("[data-from]")) part.hidden = part.dataset.from !== origin;
}

function suggestName() {
  const form = create.querySelector("form");
  if (nameTouched || !form.elements.name) return;
  const picked = form.querySelector('input[name="template"]:checked')?.dataset.name ?? "";
  const base = isFromMedia() ? fromMedia.suggestion() : picked;
  const taken = new Set([...payloads.values()].map((payload) => payload.name));
  let name = base;
  for (let number = 2; taken.has(name); number += 1) name = `${base} ${number}`;
  form.elements.name.value = name;
}

// Before it is there: "toggle" comes later, when somebody may be typing already.
create.addEventListener("beforetoggle", (event) => {
  if (event.newState !== "open") return;
  nameTouched = false;
  suggestName();
});
create.addEventListener("change", (event) => {
  if (event.target.name === "from") showOrigin();
  if (["template", "from", "medium"].includes(event.target.name)) suggestName();
});
create.addEventListener("input", (event) => (nameTouched ||= event.target.name === "name"));

function readTemplate(form) {
  const picked = form.querySelector('input[name="template"]:checked');
  if (!picked) throw new FieldProblem("origin.template", say("pick_template"));
  return { origin: { template: picked.value } };
}

onSubmit(create, async (form) => {
  const made = await showAnswer(change, call("POST", "/desktops", {
    name: readField(form, "name", true),
    description: readField(form, "description"),
    ...(isFromMedia() ? fromMedia.read() : readTemplate(form)),
  }));
  form.elements.description.value = "";
  cards.get(made.id)?.scrollIntoView({ block: "nearest" });
});


// Long lists: the server draws the first cards, the page the rest, in portions between other work.

const PORTION = 40;

function drawRest(rest) {
  for (const id of rest.splice(0, PORTION)) {
    const payload = payloads.get(id);
    if (payload && !cards.has(id)) addCard(payload);
  }
  filter.refresh();
  if (rest.length) setTimeout(drawRest, 0, rest);
}

drawRest([...payloads.keys()].filter((id) => !cards.has(id)));
