// The fields of the dialog that adds or edits a hypervisor, as the REST interface takes them.

import { call } from "./api.js";
import { readField } from "./dialog.js";

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
    viewer: { ...viewer, hostname: readField(form, "viewer.hostname") || null },
  };
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
