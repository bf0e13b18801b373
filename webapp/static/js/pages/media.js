// The page Media: the list follows the payloads; buttons ask the REST interface; files are sent from
// here in pieces. What is sent by this page is shown with it; another page only knows that it goes on.

import "../frame.js";
import { announce } from "../announce.js";
import { call } from "../api.js";
import { fill, makeFromTemplate } from "../bind.js";
import { whileBusy } from "../busy.js";
import { FieldProblem, ask, onSubmit, readField } from "../dialog.js";
import { followImport } from "../import-form.js";
import { connectLive, showAnswer } from "../live.js";
import { followFiles } from "../save-file.js";
import { allowedOf, changedSharing, fillSharing, followSharing } from "../sharing.js";
import { toast, toastProblem } from "../toast.js";
import { upload } from "../upload.js";
import { say, words } from "../words.js";

const list = document.getElementById("media");
const empty = document.getElementById("empty");
const payloads = new Map();
const cards = new Map();
const sending = new Map();
const bringing = new Map();
for (const card of list.children) cards.set(card.dataset.id, card);

const pathOf = (id) => `/media/${encodeURIComponent(id)}`;

function isBefore(a, b) {
  const [left, right] = [a.name.toLowerCase(), b.name.toLowerCase()];
  return left === right ? a.id < b.id : left < right;
}

function draw(payload) {
  const progress = sending.get(payload.id) ?? null;
  const resumable = payload.condition === "uploading" && !progress && payload.actions.length > 0;
  const shown = { ...payload, upload: progress, delivery: bringing.get(payload.id) ?? null, resumable };
  let card = cards.get(payload.id);
  if (card) fill(card, shown);
  else {
    card = makeFromTemplate("medium-card", shown);
    cards.set(payload.id, card);
  }
  const next = [...list.children].find((other) => {
    const there = payloads.get(other.dataset.id);
    return other !== card && there && isBefore(payload, there);
  });
  if (card.parentElement !== list || (next ?? null) !== card.nextElementSibling) {
    list.insertBefore(card, next ?? null);
  }
}

function change(payload) {
  const before = payloads.get(payload.id);
  payloads.set(payload.id, payload);
  draw(payload);
  if (before && before.condition !== payload.condition) {
    announce(say("state_now", { name: payload.name, state: words("media_condition", payload.condition) }));
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

for (const item of JSON.parse(document.getElementById("media-data").textContent)) change(item);

const files = followFiles((id, progress) => {
  if (progress) bringing.set(id, progress);
  else bringing.delete(id);
  if (payloads.has(id)) draw(payloads.get(id));
});

connectLive({
  "media.list": ({ items }) => {
    const kept = new Set(items.map((item) => item.id));
    for (const id of [...payloads.keys()]) if (!kept.has(id)) remove(id);
    items.forEach(change);
  },
  "medium.changed": change,
  "medium.removed": ({ id }) => remove(id),
  ...files.listeners,
});

// Uploads

async function send(id, file) {
  if (sending.has(id)) return;
  const show = (progress) => {
    sending.set(id, progress);
    if (payloads.has(id)) draw(payloads.get(id));
  };
  const name = payloads.get(id).name;
  try {
    await upload(id, file, show, () => payloads.has(id));
    if (payloads.has(id)) toast("good", say("uploaded", { name }));
  } catch (problem) {
    toastProblem(problem);
  } finally {
    sending.delete(id);
    if (payloads.has(id)) draw(payloads.get(id));
  }
}

addEventListener("beforeunload", (event) => sending.size && event.preventDefault());

const picker = document.getElementById("continue-file");
let continued = null;
picker.addEventListener("change", () => {
  const [file] = picker.files;
  if (file && continued) send(continued, file);
  picker.value = "";
});

// Buttons

const WISHES = { download: "available", cancel: "absent" };

async function perform(payload, action) {
  if (action === "edit") return openEdit(payload);
  if (action === "import") return openImport(payload);
  if (action === "save") return files.save(payload);
  if (action === "continue") {
    continued = payload.id;
    return picker.click();
  }
  if (action === "delete") {
    if (await ask("confirm-delete", payload.name)) await showAnswer(change, call("DELETE", pathOf(payload.id)));
    return undefined;
  }
  const state = WISHES[action] ?? payload.desired.state;
  return showAnswer(change, call("PATCH", pathOf(payload.id), { desired: { state } }));
}

list.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  const payload = payloads.get(button?.closest(".medium").dataset.id);
  if (!payload) return;
  await whileBusy(button, () => perform(payload, button.dataset.action));
});

// Dialogs

const add = document.getElementById("add");
const addForm = add.querySelector("form");
let nameTouched = false;

function showSource() {
  for (const field of add.querySelectorAll("[data-from]")) {
    field.hidden = field.dataset.from !== addForm.elements.from.value;
  }
}

// "debian-12.11.0-amd64-netinst.iso" becomes a name one can read.
function suggestName(text) {
  if (nameTouched) return;
  const name = decodeURIComponent(text.split(/[?#]/)[0].split("/").pop() ?? "");
  const plain = name.replace(/\.(iso|img|qcow2|raw|flp|vfd|vmdk|vdi|ova)$/i, "").replace(/[<>_]+/g, " ").trim();
  addForm.elements.name.value = plain.slice(0, 80);
}

add.addEventListener("change", (event) => {
  if (event.target.name === "from") showSource();
  if (event.target.name === "file") suggestName(event.target.files[0]?.name ?? "");
});
add.addEventListener("input", (event) => {
  if (event.target.name === "name") nameTouched = event.target.value !== "";
  try {
    if (event.target.name === "url") suggestName(event.target.value);
  } catch {
    // Half a percent sign while typing: no name is suggested yet.
  }
});

function readSource(form) {
  const sha256 = readField(form, "sha256");
  const known = sha256 ? { sha256 } : {};
  if (form.elements.from.value === "url") {
    const url = form.elements.url.value.trim();
    if (!url) throw new FieldProblem("source.url", say("required"));
    return { url, ...known };
  }
  const [file] = form.elements.file.files;
  if (!file) throw new FieldProblem("source.size", say("pick_file"));
  return { upload: true, size: file.size, file: file.name.slice(0, 200).replace(/[<>/\\]/g, " "), ...known };
}

followSharing(addForm);

onSubmit(add, async (form) => {
  const source = readSource(form);
  const [file] = form.elements.file.files;
  const made = await showAnswer(change, call("POST", "/media", {
    name: readField(form, "name", true),
    kind: form.elements.kind.value,
    description: readField(form, "description"),
    source,
    allowed: allowedOf(form),
  }));
  form.reset();
  nameTouched = false;
  showSource();
  if (source.upload) send(made.id, file);
});

const edit = document.getElementById("edit");
let edited = null;
followSharing(edit.querySelector("form"));

function openEdit(payload) {
  edited = payload;
  const form = edit.querySelector("form");
  const { elements } = form;
  elements.name.value = payload.name;
  elements.description.value = payload.description;
  fillSharing(form, payload.allowed);
  edit.showModal();
  elements.name.select();
}

onSubmit(edit, async (form) => {
  const fields = { name: readField(form, "name", true), description: readField(form, "description") };
  await showAnswer(change, call("PATCH", pathOf(edited.id), { ...fields, ...changedSharing(form) }));
  toast("good", say("saved"));
});

const importing = document.getElementById("import");
const hardware = followImport(importing.querySelector("form"));
let imported = null;

function openImport(payload) {
  imported = payload.id;
  const { elements } = importing.querySelector("form");
  elements.name.value = payload.name;
  hardware.fill(payload);
  importing.showModal();
  elements.name.select();
}

onSubmit(importing, async (form) => {
  const name = readField(form, "name", true);
  const args = { name, kind: form.elements.kind.value, ...hardware.read() };
  await call("POST", `${pathOf(imported)}/tasks`, { kind: "import", args });
  toast("good", say("created", { name: args.name }));
});

const sources = document.getElementById("sources");
if (sources) {
  onSubmit(sources, async (form) => {
    const allow = form.elements.allow.value.split(/[\s,;]+/).filter(Boolean);
    const answer = await call("PUT", "/downloads", { allow });
    form.elements.allow.value = answer.allow.join("\n");
    toast("good", say("saved"));
  });
}
