// The fields of the dialogs that add, edit or enrol a hypervisor, as the REST interface takes them.

import { call } from "./api.js";
import { FieldProblem, readField } from "./dialog.js";
import { say } from "./words.js";

const LIMITS = ["domains", "memory_mib", "vcpus", "memory_ratio", "cpu_ratio", "weight"];

function readPools(form) {
  const taken = [...form.querySelectorAll('[name="pools"]:checked')].map((input) => input.value);
  if (taken.length === 0) throw new FieldProblem("pools", say("pick_pool"));
  return taken;
}

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
    pools: readPools(form),
    limits: Object.fromEntries(LIMITS.map((name) => [name, readLimit(form, `limits.${name}`)])),
    viewer: {
      ...viewer,
      hostname: readField(form, "viewer.hostname") || null,
      port: Number(readField(form, "viewer.port", true)),
    },
  };
}

// A number, or null where there is no limit.
function readLimit(form, name) {
  const input = form.elements[name];
  if (input.validity.badInput) throw new FieldProblem(name, say("number"));
  return input.value === "" ? null : Number(input.value);
}

// Read as it is: a password may have any character at either end. The form keeps nothing of it.
function takeSecrets(form) {
  const secrets = { fingerprint: readField(form, "fingerprint") || null };
  const { password } = form.elements;
  if (password.value) secrets.password = password.value;
  return secrets;
}

export async function addHypervisor(form) {
  const fields = { id: readField(form, "id", true), ...fieldsOf(form, {}), ...takeSecrets(form) };
  const made = await call("POST", "/hypervisors", fields);
  form.elements.password.value = "";
  return made;
}

export async function enrolHypervisor(form, { id }) {
  const path = `/hypervisors/${encodeURIComponent(id)}/enrol`;
  const after = await call("POST", path, takeSecrets(form));
  form.elements.password.value = "";
  return after;
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

// { all, unwatched }: how many stopping would ask.
export function countStopping({ id }) {
  return call("GET", `/hypervisors/${encodeURIComponent(id)}/stop`);
}

// `which` is all or unwatched; answers { stopped, kept }.
export function stopDesktops({ id }, which) {
  return call("POST", `/hypervisors/${encodeURIComponent(id)}/stop`, { which });
}

export function readRemoval({ id }) {
  return call("GET", `/hypervisors/${encodeURIComponent(id)}/removal`);
}
