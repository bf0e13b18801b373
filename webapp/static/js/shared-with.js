// The fields that say with whom a network or pool is shared (templates/parts/shared_with.html).

import { readField } from "./dialog.js";

const LISTS = ["roles", "categories", "groups", "users"];

// The lists are shown only where some are chosen.
export function showSharing(form) {
  form.querySelector("[data-for-shared]").hidden = form.elements.shared.value !== "some";
}

export function fillSharing(form, { shared, allowed }) {
  form.elements.shared.value = shared;
  for (const name of LISTS) form.elements[name].value = (allowed[name] || []).join(", ");
  showSharing(form);
}

export function readSharing(form) {
  const shared = form.elements.shared.value;
  const allowed = { roles: false, categories: false, groups: false, users: false };
  if (shared === "everybody") allowed.roles = [];
  if (shared === "some") {
    for (const name of LISTS) {
      const ids = readField(form, name).split(/[\s,]+/).filter(Boolean);
      if (ids.length) allowed[name] = ids;
    }
  }
  return allowed;
}
