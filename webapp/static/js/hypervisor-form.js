// The fields of the dialog that adds or edits a hypervisor, as the REST interface takes them.

import { call } from "./api.js";
import { FieldProblem, readField } from "./dialog.js";
import { say } from "./words.js";

const LIMITS = ["domains", "memory_mib", "vcpus", "memory_ratio", "cpu_ratio", "weight"];

function fieldsOf(form, viewer) {
  return {
    hostname: readField(form, "hostname", true),
    port: Number(readField(form, "port", true)),
    user: readField(form, "user", true),
    description: readField(form, "description"),
    capabilities: {
      hypervisor: form.elements.hypervisor.checked,
      disk_operations: form.elements.disk_operations.checked,
    },
    pools: readField(form, "pools", true).split(/[\s,]+/).filter(Boolean),
    limits: Object.fromEntries(LIMITS.map((name) => [name, readLimit(form, `limits.${name}`)])),
    viewer: { ...viewer, hostname: readField(form, "viewer.hostname") || null },
  };
}

// A number, or null where there is no limit.
function readLimit(form, name) {
  const input = form.elements[name];
  if (input.validity.badInput) throw new FieldProblem(name, say("number"));
  return input.value === "" ? null : Number(input.value);
}

export function addHypervisor(form) {
  return call("POST", "/hypervisors", { id: readField(form, "id", true), ...fieldsOf(form, {}) });
}

export function editHypervisor(form, hypervisor) {
  return changeHypervisor(hypervisor, fieldsOf(form, hypervisor.viewer));
}

export function changeHypervisor({ id }, change) {
  return call("PATCH", `/hypervisors/${encodeURIComponent(id)}`, change);
}

// By force: its desktops are powered off, or given up where it is dead.
export function deleteHypervisor(hypervisor, force = false) {
  return changeHypervisor(hypervisor, { desired: { state: "deleted", force } });
}

export function measureStorage({ id }) {
  return call("POST", `/hypervisors/${encodeURIComponent(id)}/measure`);
}

export function readRemoval({ id }) {
  return call("GET", `/hypervisors/${encodeURIComponent(id)}/removal`);
}
