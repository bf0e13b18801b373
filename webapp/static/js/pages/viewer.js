// The viewer: the desktop's screen while it has one, words about the desktop while it has none.
// It follows the desktop over the live connection: stop and start, and the screen comes back alone.

import "../frame.js";
import { askDesktop } from "../api.js";
import { fill } from "../bind.js";
import { whileBusy } from "../busy.js";
import { ask, onSubmit } from "../dialog.js";
import { connectLive, showAnswer } from "../live.js";
import { Screen } from "../screen.js";
import { toast } from "../toast.js";
import { installTouchKeyboard } from "../touch-keyboard.js";
import { typeText } from "../typing.js";
import { say, words } from "../words.js";

const BUSY = ["creating", "starting", "stopping", "pausing", "resuming", "waiting", "unknown", "deleting"];
const TROUBLE_AFTER = 3;

const byId = (id) => document.getElementById(id);
const viewer = byId("viewer");
let desktop = JSON.parse(byId("desktop-data").textContent);
let link = { state: "connecting", detail: null };
let isGone = false;
let isLive = true;

const screen = new Screen(byId("screen"), desktop.id, (state, detail) => {
  const wasConnected = link.state === "connected";
  link = { state, detail };
  if (detail?.problem?.status === 404) isGone = true;
  show();
  if (state === "connected" && !wasConnected && !document.querySelector("dialog[open]")) screen.focus();
});

const hasScreen = () => !isGone && desktop.actions.includes("view");

function follow(payload) {
  if (payload.id !== desktop.id) return;
  desktop = payload;
  fill(viewer, desktop);
  document.title = `${desktop.name} · IsardVDI`;
  if (hasScreen()) screen.open();
  else screen.close();
  show();
}

function gone() {
  isGone = true;
  desktop = { ...desktop, actions: [] };
  fill(viewer, desktop);
  screen.close();
  show();
}

function waitWords() {
  if (isGone) return [words("viewer", "gone"), "", ""];
  const { failure, reason, message } = desktop.observed;
  const why = failure?.reason ?? reason ?? "";
  const text = failure?.message ?? desktop.problem?.message ?? message ?? "";
  if (hasScreen()) {
    const trouble = link.detail?.failures >= TROUBLE_AFTER;
    const problem = link.detail?.problem;
    const title = trouble ? "refused" : link.state === "broken" ? "retrying" : "connecting";
    return [words("viewer", title), trouble ? (problem?.message ?? "") : "", ""];
  }
  const titles = { stopped: words("viewer", "stopped"), failed: words("reason", why) };
  const title = titles[desktop.condition] || words("condition", desktop.condition);
  return [title, text || words("reason", why), words("remedy", why)];
}

function setText(id, text) {
  const element = byId(id);
  if (element.textContent !== text) element.textContent = text;
}

function show() {
  const isOn = hasScreen() && link.state === "connected";
  viewer.dataset.screen = isOn ? "on" : "off";
  viewer.dataset.link = link.state;
  byId("wait").hidden = isOn;
  for (const id of ["send-cad", "paste", "touch-keyboard"]) byId(id).disabled = !isOn;
  setText("link", isLive ? "" : words("viewer", "live_lost"));
  if (isOn) return;
  const [title, text, remedy] = waitWords();
  setText("wait-title", title);
  setText("wait-text", text);
  setText("wait-remedy", remedy);
  const progress = byId("wait-progress");
  progress.hidden = isGone || !(BUSY.includes(desktop.condition) || hasScreen());
  const percent = desktop.observed.activity?.progress;
  if (percent === null || percent === undefined) progress.removeAttribute("value");
  else progress.value = percent;
  byId("reconnect").hidden = !(hasScreen() && link.detail?.failures >= TROUBLE_AFTER);
}

const socket = connectLive({
  "desktops.list": ({ items }) => {
    const own = items.find((item) => item.id === desktop.id);
    if (own) follow(own);
    else gone();
  },
  "desktop.changed": follow,
  "desktop.removed": ({ id }) => id === desktop.id && gone(),
  connect: () => {
    isLive = true;
    show();
  },
  disconnect: () => {
    isLive = false;
    show();
  },
});
addEventListener("pagehide", () => screen.close());
addEventListener("online", () => {
  socket.connect();
  screen.retryNow();
});

// Power

viewer.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-action]");
  if (!button) return;
  const { action } = button.dataset;
  if (action === "power_off" && !(await ask("confirm-power_off", desktop.name))) return;
  await whileBusy(button, () => showAnswer(follow, askDesktop(desktop, action)));
});

// Tools

byId("reconnect").addEventListener("click", () => screen.retryNow());
byId("send-cad").addEventListener("click", () => {
  screen.sendCtrlAltDel();
  screen.focus();
});
installTouchKeyboard(byId("touch-keys"), byId("touch-keyboard"), screen);
byId("scale").addEventListener("click", () => {
  screen.fit(!screen.isFit);
  byId("scale").setAttribute("aria-pressed", String(screen.isFit));
  screen.focus();
});
byId("full").addEventListener("click", async () => {
  if (!document.fullscreenEnabled) {
    toast("info", say("no_full"));
    return;
  }
  if (document.fullscreenElement) await document.exitFullscreen();
  else await document.documentElement.requestFullscreen();
  screen.focus();
});
document.addEventListener("fullscreenchange", () => {
  const isFull = document.fullscreenElement !== null;
  const use = byId("full").querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, isFull ? "#window" : "#full"));
  byId("full").setAttribute("aria-pressed", String(isFull));
});
byId("paste").addEventListener("click", () => byId("paste-dialog").showModal());
onSubmit(byId("paste-dialog"), async (form) => {
  await typeText(screen, form.elements.text.value);
  form.reset();
  setTimeout(() => screen.focus());
});

// The keyboard belongs to the desktop while its screen has the focus; these three keys give it back.
addEventListener(
  "keydown",
  (event) => {
    if (event.ctrlKey && event.altKey && event.shiftKey && byId("screen").contains(event.target)) {
      viewer.querySelector(".viewer-bar a").focus();
    }
  },
  true,
);

follow(desktop);
