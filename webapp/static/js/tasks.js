// Lists of tasks that follow the payloads: those under way and those that have ended. Used by the
// pages Tasks and Disks; `shows` says which tasks belong on the page.

import { announce } from "./announce.js";
import { call } from "./api.js";
import { fill, makeFromTemplate } from "./bind.js";
import { whileBusy } from "./busy.js";
import { showAnswer } from "./live.js";
import { say, words } from "./words.js";

const isNewer = (left, right) =>
  left.created_at === right.created_at ? left.id < right.id : (left.created_at ?? "") > (right.created_at ?? "");

export function followTasks(initial, shows = () => true, onChange = () => {}) {
  const lists = { open: document.getElementById("open-tasks"), ended: document.getElementById("ended-tasks") };
  const groups = { open: document.getElementById("open-group"), ended: document.getElementById("ended-group") };
  const empty = document.getElementById("empty");
  const payloads = new Map(initial.map((item) => [item.id, item]));
  const items = new Map();
  for (const list of Object.values(lists)) for (const item of list.children) items.set(item.dataset.id, item);

  function refresh() {
    for (const [name, list] of Object.entries(lists)) groups[name].hidden = list.children.length === 0;
    if (empty) empty.hidden = payloads.size > 0;
    onChange([...payloads.values()]);
  }

  function place(item, payload) {
    const list = lists[payload.is_open ? "open" : "ended"];
    const next = [...list.children].find((other) => other !== item && isNewer(payload, payloads.get(other.dataset.id)));
    if (item.parentElement !== list || item.nextElementSibling !== (next ?? null)) list.insertBefore(item, next ?? null);
  }

  function change(payload) {
    if (!shows(payload)) return;
    const before = payloads.get(payload.id);
    payloads.set(payload.id, payload);
    const item = items.get(payload.id) ?? makeFromTemplate("task-item", payload);
    if (items.has(payload.id)) fill(item, payload);
    else items.set(payload.id, item);
    if (!item.isConnected || before?.is_open !== payload.is_open) place(item, payload);
    if (before && before.observed.state !== payload.observed.state) {
      const [kind, state] = [words("task", payload.kind), words("task_state", payload.observed.state)];
      announce(say("state_now", { name: `${kind}: ${payload.name}`, state }));
    }
    refresh();
  }

  function remove(id) {
    payloads.delete(id);
    items.get(id)?.remove();
    items.delete(id);
    refresh();
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-cancel]");
    if (!button) return;
    const { id } = button.closest(".task").dataset;
    await whileBusy(button, () => showAnswer(change, call("DELETE", `/tasks/${encodeURIComponent(id)}`)));
  });

  const listeners = {
    "tasks.list": ({ items: all }) => {
      const kept = new Set(all.filter(shows).map((item) => item.id));
      for (const id of [...payloads.keys()]) if (!kept.has(id)) remove(id);
      all.forEach(change);
    },
    "task.changed": change,
    "task.removed": ({ id }) => remove(id),
  };
  return { change, listeners };
}
