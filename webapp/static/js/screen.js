// One connection to a desktop's screen (noVNC): opened with a fresh ticket each time, opened again
// when it breaks, until it is told to stop. Says what happens; decides nothing about the desktop.
//
// The ticket is in the URL of the websocket alone and lives half a minute; the console's password
// comes in the body of the same answer and is handed to noVNC, never put into an address.

import RFB from "../vendor/novnc/core/rfb.js";
import { call } from "./api.js";

const WAITS_MS = [200, 500, 1000, 2000, 4000, 5000];
const HELLO_MS = 15000;

export class Screen {
  #place;
  #path;
  #tell;
  #rfb = null;
  #wanted = false;
  #failures = 0;
  #timer = null;
  #hello = null;
  #turn = 0;
  isFit = true;

  // `tell(state, detail)`: "connecting", "connected", "broken" (with the problem, or null).
  constructor(place, desktopId, tell) {
    this.#place = place;
    this.#path = `/desktops/${encodeURIComponent(desktopId)}/viewer`;
    this.#tell = tell;
  }

  get isConnected() {
    return this.#rfb !== null && this.#hello === null;
  }

  open() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#failures = 0;
    this.#connect();
  }

  close() {
    this.#wanted = false;
    this.#drop();
  }

  retryNow() {
    if (!this.#wanted || this.isConnected) return;
    this.#failures = 0;
    this.#drop();
    this.#connect();
  }

  fit(isFit) {
    this.isFit = isFit;
    if (this.#rfb) this.#rfb.scaleViewport = isFit;
  }

  focus() {
    this.#rfb?.focus();
  }

  sendCtrlAltDel() {
    this.#rfb?.sendCtrlAltDel();
  }

  sendKey(keysym, code, isDown) {
    this.#rfb?.sendKey(keysym, code, isDown);
  }

  #drop() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#hello);
    this.#hello = null;
    const rfb = this.#rfb;
    this.#rfb = null;
    rfb?.disconnect();
    this.#place.replaceChildren();
  }

  async #connect() {
    const turn = (this.#turn += 1);
    this.#tell("connecting", null);
    let answer;
    try {
      answer = await call("POST", this.#path, { kind: "browser" });
    } catch (problem) {
      if (problem.reason === undefined) throw problem;
      if (turn === this.#turn) this.#again(problem);
      return;
    }
    if (turn !== this.#turn || !this.#wanted) return;
    const rfb = new RFB(this.#place, answer.url, {
      credentials: { password: answer.password },
      shared: true,
    });
    this.#rfb = rfb;
    rfb.scaleViewport = this.isFit;
    rfb.background = "transparent";
    rfb.showDotCursor = true;
    this.#hello = setTimeout(() => rfb.disconnect(), HELLO_MS);
    rfb.addEventListener("connect", () => {
      if (this.#rfb !== rfb) return;
      clearTimeout(this.#hello);
      this.#hello = null;
      this.#failures = 0;
      this.#tell("connected", null);
    });
    rfb.addEventListener("disconnect", () => {
      if (this.#rfb !== rfb) return;
      this.#drop();
      this.#again(null);
    });
  }

  #again(problem) {
    const wait = WAITS_MS[Math.min(this.#failures, WAITS_MS.length - 1)];
    this.#failures += 1;
    this.#tell("broken", { problem, failures: this.#failures });
    this.#timer = setTimeout(() => this.#wanted && this.#connect(), wait);
  }
}
