// The keyboard of a phone or tablet for a desktop: it opens only over a text field, so there is one
// that nobody sees. What is entered there goes to the desktop as keys and is taken out again.

import { pressKey, typeText } from "./typing.js";

const KEPT = "  "; // something to delete, or the keyboard would not tell of a Backspace
const KEYS = {
  deleteContentBackward: 0xff08,
  deleteWordBackward: 0xff08,
  deleteContentForward: 0xffff,
};

export function installTouchKeyboard(field, button, screen) {
  const empty = () => {
    field.value = KEPT;
    field.setSelectionRange(1, 1);
  };
  field.addEventListener("focus", empty);
  field.addEventListener("input", (event) => {
    if (event.isComposing) return;
    const keysym = KEYS[event.inputType];
    if (keysym) pressKey(screen, keysym);
    else typeText(screen, event.inputType === "insertLineBreak" ? "\n" : (event.data ?? ""));
    empty();
  });
  field.addEventListener("compositionend", (event) => {
    typeText(screen, event.data);
    empty();
  });
  button.addEventListener("click", () => field.focus());
}
