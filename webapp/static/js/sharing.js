// The fields of parts/sharing.html: who may use a thing, as the REST interface takes it.

const BOXES = ["groups", "categories", "roles"];
const unlisted = new WeakMap(); // form -> ids that a script wrote and no box stands for

const boxesOf = (form, key) => [...form.querySelectorAll(`[data-share="${key}"] input`)];

function showLists(form) {
  form.querySelector("[data-share-lists]").hidden = form.elements.who.value !== "some";
}

// `allowed` as a payload has it. Also to begin with, where the server has filled the fields.
export function fillSharing(form, allowed = {}) {
  const lists = Object.values(allowed ?? {}).filter(Array.isArray);
  const isForAll = lists.some((ids) => ids.length === 0);
  form.elements.who.value = isForAll ? "all" : lists.length ? "some" : "me";
  const rest = {};
  for (const key of BOXES) {
    const ids = allowed?.[key] || [];
    const boxes = boxesOf(form, key);
    for (const box of boxes) box.checked = ids.includes(box.value);
    rest[key] = ids.filter((id) => !boxes.some((box) => box.value === id));
  }
  unlisted.set(form, rest);
  form.elements.users.value = (allowed?.users || []).join(", ");
  showLists(form);
}

export function allowedOf(form) {
  const who = form.elements.who.value;
  if (who === "me") return {};
  if (who === "all") return { roles: [] };
  const chosen = { users: form.elements.users.value.split(/[\s,;]+/).filter(Boolean) };
  for (const key of BOXES) {
    const ids = boxesOf(form, key).filter((box) => box.checked).map((box) => box.value);
    chosen[key] = [...ids, ...(unlisted.get(form)?.[key] ?? [])];
  }
  // An empty list would mean everybody.
  return Object.fromEntries(Object.entries(chosen).filter(([, ids]) => ids.length));
}

export function followSharing(form) {
  form.addEventListener("change", (event) => event.target.name === "who" && showLists(form));
  form.addEventListener("reset", () => queueMicrotask(() => showLists(form)));
}
