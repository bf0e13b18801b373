// Types a text into a desktop as the keys of a US keyboard, in small portions so that a slow guest
// keeps up. What has no key there is sent as its symbol and left to the guest.

import keysyms from "../vendor/novnc/core/input/keysymdef.js";

const SHIFT = 0xffe1;
const SHIFTED = /[A-Z~!@#$%^&*()_+{}|:"<>?]/;
const NAMED = { "\n": 0xff0d, "\t": 0xff09 };
const PORTION = 16;
const PAUSE_MS = 40;

export function pressKey(screen, keysym) {
  screen.sendKey(keysym, null, true);
  screen.sendKey(keysym, null, false);
}

function press(screen, character) {
  const keysym = NAMED[character] ?? keysyms.lookup(character.codePointAt(0));
  if (!keysym) return;
  const needsShift = SHIFTED.test(character);
  if (needsShift) screen.sendKey(SHIFT, "ShiftLeft", true);
  pressKey(screen, keysym);
  if (needsShift) screen.sendKey(SHIFT, "ShiftLeft", false);
}

export async function typeText(screen, text) {
  const characters = [...text.replace(/\r\n?/g, "\n")];
  for (let at = 0; at < characters.length && screen.isConnected; at += PORTION) {
    for (const character of characters.slice(at, at + PORTION)) press(screen, character);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
