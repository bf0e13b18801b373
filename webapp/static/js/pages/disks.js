// The page Disks of one desktop or template: work is ordered in dialogs and followed below.

import "../frame.js";
import { call } from "../api.js";
import { fill } from "../bind.js";
import { onSubmit } from "../dialog.js";
import { connectLive, showAnswer } from "../live.js";
import { followTasks } from "../tasks.js";
import { toast } from "../toast.js";
import { say } from "../words.js";

const read = (id) => JSON.parse(document.getElementById(id).textContent);
const head = document.getElementById("domain");
const disks = document.getElementById("domain-disks");
const domain = read("domain-data");
// A base is one of the templates.
const noun = domain.kind === "desktop" ? "desktops" : "templates";
const { change, listeners } = followTasks(read("tasks-data"), (task) => task.target === domain.id);

const READ = {
  number: (input) => (input.value.trim() === "" ? undefined : Number(input.value.replace(",", "."))),
  bool: (input) => input.checked || undefined,
  text: (input) => input.value || undefined,
};

function argsOf(form) {
  const args = {};
  for (const input of form.querySelectorAll("[data-arg]")) {
    const value = READ[input.dataset.arg](input);
    if (value !== undefined) args[input.name] = value;
  }
  const how = form.elements.how?.value;
  if (how === "compress") args.compress = true;
  else if (how) args.preallocation = how;
  return args;
}

for (const dialog of document.querySelectorAll("dialog[data-kind]")) {
  onSubmit(dialog, async (form) => {
    const path = `/${noun}/${encodeURIComponent(domain.id)}/tasks`;
    await showAnswer(change, call("POST", path, { kind: dialog.dataset.kind, args: argsOf(form) }));
    toast("good", say("ordered"));
  });
}

// Sizes and paths change with the work.
const follow = (payload) => {
  if (payload.id !== domain.id) return;
  Object.assign(domain, payload);
  fill(head, domain);
  fill(disks, domain);
};

connectLive({
  ...listeners,
  "desktops.list": ({ items }) => items.forEach(follow),
  "desktop.changed": follow,
  "templates.list": ({ items }) => items.forEach(follow),
  "template.changed": follow,
});
