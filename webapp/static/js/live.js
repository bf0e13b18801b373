// The live connection. One socket a page; a banner says when it is gone. The server tells a page
// that (re)connects everything anew (desktops.list), so nothing missed stays missed.

import { io } from "../vendor/socket.io.esm.min.js";
import { call } from "./api.js";

const BANNER_AFTER_MS = 1500;

// Which message told of a row last: messages are counted.
const toldAt = new Map();
let count = 0;

function note(message) {
  count += 1;
  for (const { id } of message?.items ?? [message ?? {}]) toldAt.set(id, count);
}

// Shows what a request answers, unless the live connection has told of that row since it was sent:
// that is as new at least, and a late answer would put an old state, or a removed row, back.
export async function showAnswer(show, request) {
  const sentAt = count;
  const answer = await request;
  if ((toldAt.get(answer.id) ?? 0) <= sentAt) show(answer);
  return answer;
}

// A refused connection may only mean that the cookie was renewed meanwhile.
async function isLoggedOut() {
  try {
    await call("GET", "/me");
    return false;
  } catch (problem) {
    return problem.status === 401;
  }
}

export function connectLive(listeners) {
  const socket = io({ transports: ["websocket", "polling"], reconnectionDelayMax: 4000 });
  const banner = document.getElementById("lost");
  let timer = null;

  const hush = () => {
    clearTimeout(timer);
    timer = null;
    if (banner) banner.hidden = true;
    document.documentElement.dataset.live = "on";
  };
  const warn = () => {
    document.documentElement.dataset.live = "off";
    timer ??= setTimeout(() => banner && (banner.hidden = false), BANNER_AFTER_MS);
  };

  socket.on("connect", hush);
  socket.on("disconnect", (reason) => {
    warn();
    // The server ended it (logged out, disabled): ask once more; the page's next call says why.
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), 2000);
  });
  socket.on("connect_error", async (error) => {
    warn();
    if (error.message === "NotLoggedIn" && (await isLoggedOut())) location.reload(); // to the login
    if (!socket.active) setTimeout(() => socket.connect(), 4000);
  });
  for (const [event, listener] of Object.entries(listeners)) {
    socket.on(event, (message) => {
      note(message);
      listener(message);
    });
  }
  addEventListener("pagehide", () => socket.disconnect());
  addEventListener("pageshow", (event) => event.persisted && socket.connect());
  return socket;
}
