// The fields of parts/sharing.html: who may use a thing, as the REST interface takes it.

const BOXES = ["groups", "categories", "roles"];
const filled = new WeakMap(); // form -> what fillSharing left in it: {rest, before}

const boxesOf = (form, key) => [...form.querySelectorAll(`[data-share="${key}"] input`)];

function showLists(form) {
  form.querySelector("[data-share-lists]").hidden = form.elements.who.value !== "some";
}

// `allowed` as a payload has it. Also to begin with, where the server has filled the fields.
export function fillSharing(form, allowed = {}) {
  const lists = Object.values(allowed ?? {}).filter(Array.isArray);
  const isForAll = lists.some((ids) => ids.length === 0);
  form.elements.who.value = isForAll ? "everybody" : lists.length ? "some" : "nobody";
  const rest = {}; // ids that a script wrote and no box stands for
  for (const key of BOXES) {
    const ids = allowed?.[key] || [];
    const boxes = boxesOf(form, key);
    for (const box of boxes) box.checked = ids.includes(box.value);
    rest[key] = ids.filter((id) => !boxes.some((box) => box.value === id));
  }
  form.elements.users.value = (allowed?.users || []).join(", ");
  const left = { rest };
  filled.set(form, left);
  left.before = choiceOf(form);
  showLists(form);
}

export function allowedOf(form) {
  const who = form.elements.who.value;
  if (who === "nobody") return {};
  if (who === "everybody") return { roles: [] };
  const chosen = { users: form.elements.users.value.split(/[\s,;]+/).filter(Boolean) };
  for (const key of BOXES) {
    const ids = boxesOf(form, key).filter((box) => box.checked).map((box) => box.value);
    chosen[key] = [...ids, ...(filled.get(form)?.rest[key] ?? [])];
  }
  // An empty list would mean everybody.
  return Object.fromEntries(Object.entries(chosen).filter(([, ids]) => ids.length));
}

function choiceOf(form) {
  return JSON.stringify([form.elements.who.value, form.elements.users.value, allowedOf(form)]);
}

// Nothing where nothing was changed here: what a script has shared otherwise meanwhile is kept.
export function changedSharing(form) {
  return choiceOf(form) === filled.get(form).before ? {} : { allowed: allowedOf(form) };
}

export function followSharing(form) {
  form.addEventListener("change", (event) => event.target.name === "who" && showLists(form));
  form.addEventListener("reset", () => queueMicrotask(() => showLists(form)));
}
