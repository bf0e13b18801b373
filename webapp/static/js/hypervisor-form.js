// The fields of the dialog that adds or edits a hypervisor, as the REST interface takes them.

import { call } from "./api.js";
import { say } from "./words.js";

function need(form, name) {
  const value = form.elements[name].value.trim();
  if (value) return value;
  throw Object.assign(new Error(say("required")), { reason: "Required", field: name });
}

function fieldsOf(form, viewer) {
  return {
    hostname: need(form, "hostname"),
    port: Number(need(form, "port")),
    user: need(form, "user"),
    description: form.elements.description.value,
    capabilities: {
      hypervisor: form.elements.hypervisor.checked,
      disk_operations: form.elements.disk_operations.checked,
    },
    viewer: { ...viewer, hostname: form.elements["viewer.hostname"].value.trim() || null },
  };
}

export function addHypervisor(form) {
  return call("POST", "/hypervisors", { id: need(form, "id"), ...fieldsOf(form, {}) });
}

export function editHypervisor(form, hypervisor) {
  return changeHypervisor(hypervisor, fieldsOf(form, hypervisor.viewer));
}

export function changeHypervisor({ id }, change) {
  return call("PATCH", `/hypervisors/${encodeURIComponent(id)}`, change);
}

export function deleteHypervisor({ id }) {
  return call("DELETE", `/hypervisors/${encodeURIComponent(id)}`);
}
