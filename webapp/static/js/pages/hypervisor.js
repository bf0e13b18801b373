// The page of one hypervisor: its checks as they are made, its wishes, its key.

import "../frame.js";
import { announce } from "../announce.js";
import { fill } from "../bind.js";
import { whileBusy } from "../busy.js";
import { installCharts } from "../charts.js";
import { ask, onSubmit } from "../dialog.js";
import {
  changeHypervisor,
  countStopping,
  deleteHypervisor,
  editHypervisor,
  enrolHypervisor,
  measureStorage,
  readRemoval,
  stopDesktops,
} from "../hypervisor-form.js";
import { connectLive, showAnswer } from "../live.js";
import { desktopsByHost } from "../running.js";
import { toast, toastProblem } from "../toast.js";
import { say, sayCount, words } from "../words.js";

const page = document.getElementById("hypervisor-page");
const dialog = document.getElementById("hypervisor");
const fingerprint = page.querySelector("[data-fingerprint]");
let hypervisor = JSON.parse(document.getElementById("hypervisor-data").textContent);
let keyShown = null;

const running = desktopsByHost(() => change(hypervisor));

function change(payload) {
  if (payload.id !== hypervisor.id) return;
  if (payload.observed.state !== hypervisor.observed.state) {
    announce(say("state_now", { name: payload.id, state: words("host_state", payload.observed.state) }));
  }
  const enrolment = payload.observed.enrolment;
  if (enrolment && enrolment.state !== hypervisor.observed.enrolment?.state) {
    announce(say("state_now", { name: payload.id, state: words("enrolment", enrolment.state) }));
  }
  const known = running.known ? running.on(payload.id) : hypervisor.running;
  const watched = payload.desired.state === "disabled" && payload.observed.state !== "offline";
  hypervisor = { ...payload, running: known, desktops: known.length, watched };
  fill(page, hypervisor);
  showFingerprint();
}

async function showFingerprint() {
  const key = hypervisor.observed.host_key_offered;
  if (!key || key === keyShown) return;
  keyShown = key;
  fingerprint.textContent = "";
  const response = await fetch(`/admin/hypervisors/${encodeURIComponent(hypervisor.id)}/key`);
  if (response.ok && !response.redirected && keyShown === key) fingerprint.textContent = await response.text();
}

function gone() {
  location.assign("/admin/hypervisors");
}

connectLive({
  "hypervisors.list": ({ items }) => {
    const own = items.find((item) => item.id === hypervisor.id);
    if (own) change(own);
    else gone();
  },
  "hypervisor.changed": change,
  "hypervisor.removed": ({ id }) => id === hypervisor.id && gone(),
  ...running.listeners,
});

async function send(button, work, done) {
  await whileBusy(button, async () => {
    await showAnswer(change, work());
    if (done) toast("good", done);
  });
}

// What it touches is looked up before it is asked.
async function removeIt(button) {
  const question = document.getElementById("confirm-remove");
  const { force } = question.querySelector("form").elements;
  try {
    fill(question.querySelector(".dialog-body"), await readRemoval(hypervisor));
  } catch (problem) {
    toastProblem(problem);
    return;
  }
  force.checked = false;
  if (await ask("confirm-remove")) await send(button, () => deleteHypervisor(hypervisor, force.checked));
}

// How many there are is asked anew: who watches what is known to the server alone.
async function stopThem(button, which) {
  await whileBusy(button, async () => {
    const count = (await countStopping(hypervisor))[which];
    if (count === 0) toast("info", say(`stop_none_${which}`));
    else if (await ask(`confirm-stop-${which}`, sayCount("desktop", count))) {
      const { stopped, kept } = await stopDesktops(hypervisor, which);
      toast("good", say("stop_asked", { stopped, kept }));
    }
  });
}

page.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  const { wish, again, acceptKey, measure, stop, delete: remove } = button.dataset;
  if (again !== undefined) {
    const { state } = hypervisor.desired;
    await send(button, () => changeHypervisor(hypervisor, { desired: { state } }), say("checks_ask"));
  } else if (wish !== undefined) {
    if (wish !== "enabled" && !(await ask(`confirm-${wish}`, hypervisor.id))) return;
    await send(button, () => changeHypervisor(hypervisor, { desired: { state: wish } }));
  } else if (acceptKey !== undefined) {
    const key = hypervisor.observed.host_key_offered;
    await send(button, () => changeHypervisor(hypervisor, { host_key: key }), say("key_accepted"));
  } else if (measure !== undefined) {
    await send(button, () => measureStorage(hypervisor));
  } else if (stop !== undefined) {
    await stopThem(button, stop);
  } else if (remove !== undefined) {
    await removeIt(button);
  }
});

onSubmit(dialog, async (form) => {
  await showAnswer(change, editHypervisor(form, hypervisor));
  toast("good", say("saved"));
});

onSubmit(document.getElementById("enrol"), async (form) => {
  await showAnswer(change, enrolHypervisor(form, hypervisor));
  toast("good", say("enrol_asked"));
});

showFingerprint();
installCharts();
