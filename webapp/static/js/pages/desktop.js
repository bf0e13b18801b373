// The page of one desktop: its card of facts, failure and history follow the payloads; charts draw by
// themselves; buttons ask the REST interface and nothing else.

import "../frame.js";
import { announce } from "../announce.js";
import { askDesktop, call } from "../api.js";
import { fill } from "../bind.js";
import { whileBusy } from "../busy.js";
import { installCharts } from "../charts.js";
import { ask, onSubmit, readField } from "../dialog.js";
import { installDrives } from "../drives.js";
import { connectLive, showAnswer } from "../live.js";
import { installPlacement } from "../placement.js";
import { watchThumbnails } from "../thumbnails.js";
import { toast, toastProblem } from "../toast.js";
import { say, words } from "../words.js";
import { followWork } from "../work.js";

const page = document.getElementById("desktop-page");
const rename = document.getElementById("rename");
let desktop = JSON.parse(document.getElementById("desktop-data").textContent);
const drives = document.getElementById("drives");
const showDrives = drives && installDrives(drives, changeDrives);
const path = `/desktops/${encodeURIComponent(desktop.id)}`;

const work = followWork((id) => id === desktop.id && show(desktop));

function show(payload) {
  desktop = { ...payload, history: payload.history ?? desktop.history };
  document.title = `${desktop.name} · IsardVDI`;
  fill(page, { ...desktop, task: work.on(desktop.id) });
  showDrives?.(desktop);
}

function change(payload) {
  if (payload.id !== desktop.id) return;
  const before = desktop;
  show(payload);
  if (before.condition !== desktop.condition) {
    announce(say("state_now", { name: desktop.name, state: words("condition", desktop.condition) }));
    thumbnails.tellSoon();
  }
  readHistorySoon();
}

// What came of a wish is written just after the row that shows it.
let historyTimer = null;
function readHistorySoon() {
  clearTimeout(historyTimer);
  historyTimer = setTimeout(async () => {
    try {
      const { items } = await call("GET", `${path}/events`);
      show({ ...desktop, history: items }); // the desktop as it is now, not as it was before the answer
    } catch {
      // The next change asks again.
    }
  }, 400);
}

function gone() {
  location.assign("/desktops");
}

const socket = connectLive({
  "desktops.list": ({ items }) => {
    const own = items.find((item) => item.id === desktop.id);
    if (own) change(own);
    else gone();
  },
  "desktop.changed": change,
  "desktop.removed": ({ id }) => id === desktop.id && gone(),
  ...work.listeners,
  "thumbnail.changed": ({ id, url, at }) => {
    if (id === desktop.id) show({ ...desktop, thumbnail_url: url, thumbnail_at: at });
  },
});
const isRunning = () => ["started", "paused"].includes(desktop.observed.state);
const thumbnails = watchThumbnails(socket, document.getElementById("look"), isRunning);
socket.on("connect", thumbnails.tellSoon);

installPlacement(() => desktop, change);

page.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  const { action } = button.dataset;
  if (action === "edit") {
    const form = rename.querySelector("form");
    form.elements.name.value = desktop.name;
    form.elements.description.value = desktop.description;
    rename.showModal();
    return;
  }
  if (["delete", "power_off"].includes(action) && !(await ask(`confirm-${action}`, desktop.name))) return;
  await whileBusy(button, () => showAnswer(change, askDesktop(desktop, action)));
});

onSubmit(rename, async (form) => {
  const fields = { name: readField(form, "name", true), description: readField(form, "description") };
  await showAnswer(change, call("PATCH", path, fields));
  toast("good", say("saved"));
});

async function changeDrives(media) {
  try {
    await showAnswer(change, call("PATCH", path, { spec: { media } }));
  } catch (problem) {
    toastProblem(problem);
    showDrives(desktop);
  }
}

showDrives?.(desktop);
installCharts();
