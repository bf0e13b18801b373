// The page of one pool: its storage as the hosts see it, its hypervisors, its editor.

import "../frame.js";
import { announce } from "../announce.js";
import { fill } from "../bind.js";
import { whileBusy } from "../busy.js";
import { ask, onSubmit } from "../dialog.js";
import { connectLive, showAnswer } from "../live.js";
import { deletePool, editPool, hostListeners, installDialog, withHosts } from "../pool-form.js";
import { toast } from "../toast.js";
import { say, words } from "../words.js";

const page = document.getElementById("pool-page");
const dialog = document.getElementById("pool");
let pool = JSON.parse(document.getElementById("pool-data").textContent);
const hosts = new Map(pool.hosts.map((host) => [host.id, host]));

function change(payload) {
  if (payload.id !== pool.id) return;
  if (payload.observed.state !== pool.observed.state) {
    announce(say("state_now", { name: payload.name, state: words("pool_state", payload.observed.state) }));
  }
  pool = withHosts(payload, hosts);
  fill(page, pool);
}

function gone() {
  location.assign("/admin/pools");
}

connectLive({
  "pools.list": ({ items }) => {
    const own = items.find((item) => item.id === pool.id);
    if (own) change(own);
    else gone();
  },
  "pool.changed": change,
  "pool.removed": ({ id }) => id === pool.id && gone(),
  ...hostListeners(hosts, () => change(pool)),
});

page.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-delete]");
  if (!button || !(await ask("confirm-remove", pool.name))) return;
  await whileBusy(button, async () => {
    await deletePool(pool);
    gone();
  });
});

installDialog(dialog, () => pool);

onSubmit(dialog, async (form) => {
  await showAnswer(change, editPool(form, pool));
  toast("good", say("saved"));
});
