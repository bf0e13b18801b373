// The dialogs of a desktop's page that say where it runs (administrators) and what it is connected to.

import { call } from "./api.js";
import { onSubmit } from "./dialog.js";
import { showAnswer } from "./live.js";
import { toast } from "./toast.js";
import { say } from "./words.js";

const pathOf = ({ id }) => `/desktops/${encodeURIComponent(id)}`;

function installPlace(dialog, now, change) {
  const form = dialog.querySelector("form");
  dialog.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open") return;
    for (const name of ["pool", "forced_hypervisor", "favourite_hypervisor"]) {
      form.elements[name].value = now().placement[name] ?? "";
    }
  });
  onSubmit(dialog, async () => {
    const placement = {
      pool: form.elements.pool.value,
      forced_hypervisor: form.elements.forced_hypervisor.value || null,
      favourite_hypervisor: form.elements.favourite_hypervisor.value || null,
    };
    await showAnswer(change, call("PATCH", pathOf(now()), { placement }));
    toast("good", say("next_start"));
  });
}

function installNetworks(dialog, now, change) {
  const boxes = [...dialog.querySelectorAll('input[name="network"]')];
  dialog.addEventListener("beforetoggle", (event) => {
    if (event.newState !== "open") return;
    const chosen = now().spec.interfaces.map((card) => card.id);
    for (const box of boxes) box.checked = chosen.includes(box.value);
  });
  onSubmit(dialog, async () => {
    const ticked = boxes.filter((box) => box.checked).map((box) => box.value);
    // Cards that stay keep their order, and so their names inside the guest.
    const kept = now().spec.interfaces.map((card) => card.id).filter((id) => ticked.includes(id));
    const networks = [...kept, ...ticked.filter((id) => !kept.includes(id))];
    await showAnswer(change, call("PATCH", pathOf(now()), { networks }));
    toast("good", say("next_start"));
  });
}

export function installPlacement(now, change) {
  const place = document.getElementById("place");
  const connect = document.getElementById("connect");
  if (place) installPlace(place, now, change);
  if (connect) installNetworks(connect, now, change);
}
