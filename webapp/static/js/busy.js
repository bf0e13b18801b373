// A button that is at work: it takes no second click, and says what was refused.

import { toastProblem } from "./toast.js";

export async function whileBusy(button, work) {
  button.setAttribute("aria-busy", "true");
  try {
    await work();
  } catch (problem) {
    toastProblem(problem);
  } finally {
    button.removeAttribute("aria-busy");
  }
}
