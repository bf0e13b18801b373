// Search and chips over the cards that are there; counts follow the live state.

const GROUPS = {
  on: ["starting", "started", "stopping", "pausing", "paused", "resuming"],
  off: ["stopped", "creating", "deleting"],
  attention: ["waiting", "failed", "unknown"],
};

const plain = (text) => text.normalize("NFD").replace(/\p{Diacritic}/gu, "").toLowerCase();

export function installFilter(payloads, cards) {
  const form = document.getElementById("filter");
  const noneFound = document.getElementById("none-found");
  const empty = document.getElementById("empty");

  function matches(payload) {
    const group = form.elements.show.value;
    if (group !== "all" && !GROUPS[group].includes(payload.condition)) return false;
    const sought = plain(form.elements.find.value.trim());
    const text = plain([payload.name, payload.description, payload.os, payload.user].join(" "));
    return sought.split(/\s+/).every((word) => text.includes(word));
  }

  // Once for all changes that came together.
  let isDue = false;
  function refreshSoon() {
    if (isDue) return;
    isDue = true;
    queueMicrotask(refresh);
  }

  function refresh() {
    isDue = false;
    const all = [...payloads.values()];
    let shown = 0;
    for (const payload of all) {
      const fits = matches(payload);
      const card = cards.get(payload.id);
      if (card) card.hidden = !fits;
      shown += fits ? 1 : 0;
    }
    for (const output of form.querySelectorAll("[data-count]")) {
      const group = GROUPS[output.dataset.count];
      const count = group ? all.filter((item) => group.includes(item.condition)).length : all.length;
      output.textContent = String(count);
    }
    empty.hidden = all.length > 0;
    form.hidden = all.length === 0;
    noneFound.hidden = all.length === 0 || shown > 0;
  }

  form.addEventListener("input", refresh);
  form.addEventListener("submit", (event) => event.preventDefault());
  return { refresh: refreshSoon };
}
