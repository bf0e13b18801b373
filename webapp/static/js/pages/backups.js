// The page Backups: what there is, kept live; made, tried again, downloaded and deleted; the schedule.

import "../frame.js";
import { announce } from "../announce.js";
import { call } from "../api.js";
import { fill, makeFromTemplate } from "../bind.js";
import { whileBusy } from "../busy.js";
import { FieldProblem, ask, onSubmit } from "../dialog.js";
import { connectLive, showAnswer } from "../live.js";
import { say, words } from "../words.js";

const head = document.getElementById("schedule-head");
const list = document.getElementById("backups");
const empty = document.getElementById("no-backups");
const data = JSON.parse(document.getElementById("backups-data").textContent);
const payloads = new Map(data.backups.map((item) => [item.id, item]));
const items = new Map([...list.children].map((item) => [item.dataset.id, item]));

const pathOf = (id) => `/backups/${encodeURIComponent(id)}`;
const isNewer = (left, right) =>
  left.created_at === right.created_at ? left.id < right.id : (left.created_at ?? "") > (right.created_at ?? "");

function change(payload) {
  const before = payloads.get(payload.id);
  payloads.set(payload.id, payload);
  const item = items.get(payload.id) ?? makeFromTemplate("backup-item", payload);
  if (items.has(payload.id)) fill(item, payload);
  else {
    items.set(payload.id, item);
    const next = [...list.children].find((other) => isNewer(payload, payloads.get(other.dataset.id)));
    list.insertBefore(item, next ?? null);
  }
  if (before && before.state !== payload.state) {
    announce(say("state_now", { name: payload.id, state: words("backup_state", payload.state) }));
  }
  if (before?.state !== payload.state && !payload.is_open) readScheduleSoon();
  empty.hidden = true;
}

function remove(id) {
  payloads.delete(id);
  items.get(id)?.remove();
  items.delete(id);
  empty.hidden = items.size > 0;
}

let timer = null;
function readScheduleSoon() {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    try {
      fill(head, await call("GET", "/backup-schedule"));
    } catch {
      // The next event asks again.
    }
  }, 300);
}

connectLive({
  "backups.list": ({ items: all }) => {
    const kept = new Set(all.map((item) => item.id));
    for (const id of [...payloads.keys()]) if (!kept.has(id)) remove(id);
    all.forEach(change);
  },
  "backup.changed": change,
  "backup.removed": ({ id }) => remove(id),
});

document.getElementById("now").addEventListener("click", ({ currentTarget }) =>
  whileBusy(currentTarget, async () => showAnswer(change, call("POST", "/backups", {}))));

const download = document.getElementById("download");
const actions = {
  download: (id) => {
    download.dataset.id = id;
    download.querySelector("form").reset();
    download.showModal();
  },
  retry: async (id) => showAnswer(change, call("POST", `${pathOf(id)}/trials`)),
  delete: async (id) => {
    if (await ask("confirm-delete", id)) await showAnswer(change, call("DELETE", pathOf(id)));
  },
};

list.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-action]");
  if (button) whileBusy(button, async () => actions[button.dataset.action](button.closest(".backup").dataset.id));
});

onSubmit(download, async (form) => {
  const link = document.createElement("a");
  link.href = `/api/v1${pathOf(download.dataset.id)}/file?secrets=${form.elements.secrets.checked}`;
  link.download = "";
  link.click();
});

function readNumber(form, name) {
  const { value, min, max } = form.elements[name];
  const number = Number(value);
  if (!Number.isInteger(number) || number < Number(min) || number > Number(max)) {
    throw new FieldProblem(name, say("from_to", { from: min, to: max }));
  }
  return number;
}

onSubmit(document.getElementById("schedule"), async (form) => {
  if (!form.elements.at.value) throw new FieldProblem("at", say("required"));
  fill(head, await call("PATCH", "/backup-schedule", {
    enabled: form.elements.enabled.checked,
    every_hours: readNumber(form, "every_hours"),
    at: form.elements.at.value.slice(0, 5),
    keep_count: readNumber(form, "keep_count"),
    keep_days: readNumber(form, "keep_days"),
  }));
});
