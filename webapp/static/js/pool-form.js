// The fields of the dialog that adds or edits a pool: its paths are rows that come and go.

import { call } from "./api.js";
import { FieldProblem, readField } from "./dialog.js";
import { allowedOf, changedSharing, fillSharing, followSharing } from "./sharing.js";
import { say } from "./words.js";

const blank = document.getElementById("path-row");

function addRow(use, entry = { path: "", disk_operations: [], weight: 100 }) {
  const row = blank.content.firstElementChild.cloneNode(true);
  row.querySelector('[data-name="path"]').value = entry.path;
  row.querySelector('[data-name="owners"]').value = entry.disk_operations.join(", ");
  row.querySelector('[data-name="weight"]').value = entry.weight;
  use.querySelector(".path-rows").append(row);
  number(use);
  return row;
}

// Each field is named as the server names it, so that a refusal is shown where it belongs.
function number(use) {
  [...use.querySelectorAll(".path-row")].forEach((row, at) => {
    for (const field of row.querySelectorAll(".field")) {
      const name = `paths.${use.dataset.use}.${at}.${field.dataset.part}`;
      const input = field.querySelector("input");
      field.dataset.field = name;
      input.id = `pool-${name}`;
      field.querySelector("label").htmlFor = input.id;
      field.querySelector(".field-error").id = `${input.id}-error`;
      input.setAttribute("aria-describedby", `${input.id}-error`);
    }
  });
}

// Fills the dialog from what the pool is now, or a new one would be, each time it is opened.
export function installDialog(dialog, poolNow) {
  const form = dialog.querySelector("form");
  const uses = [...dialog.querySelectorAll(".path-use")];
  dialog.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open") return;
    const pool = poolNow();
    fillSharing(form, pool.allowed);
    for (const use of uses) {
      use.querySelector(".path-rows").replaceChildren();
      for (const entry of pool.paths[use.dataset.use] ?? []) addRow(use, entry);
    }
  });
  followSharing(form);
  dialog.addEventListener("click", (event) => {
    const use = event.target.closest(".path-use");
    if (event.target.closest("[data-add-path]")) addRow(use).querySelector("input").focus();
    const drop = event.target.closest("[data-drop-path]");
    if (drop) {
      drop.closest(".path-row").remove();
      number(use);
      use.querySelector("[data-add-path]").focus();
    }
  });
}

function readPaths(form) {
  const paths = {};
  for (const use of form.querySelectorAll(".path-use")) {
    paths[use.dataset.use] = [...use.querySelectorAll(".path-row")].map((row, at) => {
      const value = (name) => row.querySelector(`[data-name="${name}"]`).value.trim();
      const name = `paths.${use.dataset.use}.${at}`;
      if (!value("path")) throw new FieldProblem(`${name}.path`, say("required"));
      const weight = value("weight");
      if (!/^\d+$/.test(weight)) throw new FieldProblem(`${name}.weight`, say("number"));
      const disk_operations = value("owners").split(/[\s,]+/).filter(Boolean);
      return { path: value("path"), disk_operations, weight: Number(weight) };
    });
  }
  return paths;
}

function fieldsOf(form) {
  return {
    name: readField(form, "name", true),
    description: readField(form, "description"),
    balancer: form.elements.balancer.value,
    cpu_mode: form.elements.cpu_mode.value || null,
    paths: readPaths(form),
  };
}

export function addPool(form) {
  const id = readField(form, "id", true);
  return call("POST", "/pools", { id, ...fieldsOf(form), allowed: allowedOf(form) });
}

export function editPool(form, { id }) {
  const fields = { ...fieldsOf(form), ...changedSharing(form) };
  return call("PATCH", `/pools/${encodeURIComponent(id)}`, fields);
}

export function deletePool({ id }) {
  return call("DELETE", `/pools/${encodeURIComponent(id)}`);
}

// The payload with its hypervisors, as webapp/views/pools.py has it first.
export function withHosts(pool, hosts) {
  const own = [...hosts.values()].filter((host) => host.pools.includes(pool.id));
  own.sort((a, b) => a.id.localeCompare(b.id));
  return { ...pool, hosts: own, online: own.filter((host) => host.observed.state === "online").length };
}

export function hostListeners(hosts, onChange) {
  return {
    "hypervisors.list": ({ items }) => {
      hosts.clear();
      for (const item of items) hosts.set(item.id, item);
      onChange();
    },
    "hypervisor.changed": (item) => {
      hosts.set(item.id, item);
      onChange();
    },
    "hypervisor.removed": ({ id }) => {
      hosts.delete(id);
      onChange();
    },
  };
}
