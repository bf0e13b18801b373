// The browser's own dialogs: opened by [data-open], closed by [data-close], asked with ask().
// A form's refusal is shown at the field it names, or on top where it names none of ours.

import { say } from "./words.js";

export function installDialogs() {
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) document.getElementById(opener.dataset.open).showModal();
    event.target.closest("[data-close]")?.closest("dialog").close("");
  });
}

// Resolves to true where the person said yes.
export function ask(id, name) {
  const dialog = document.getElementById(id);
  const slot = dialog.querySelector('[data-slot="name"]');
  if (slot && name !== undefined) slot.textContent = name;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

// A field that is wrong before anything is sent; shown like a refusal of the server.
export class FieldProblem extends Error {
  constructor(field, text) {
    super(text);
    Object.assign(this, { reason: "InvalidField", field });
  }
}

// The text of a field, as the server would accept it.
export function readField(form, name, isNeeded = false) {
  const text = form.elements[name].value.trim();
  if (isNeeded && !text) throw new FieldProblem(name, say("required"));
  if (/[<>]/.test(text)) throw new FieldProblem(name, say("no_markup"));
  return text;
}

function clearProblems(form) {
  for (const error of form.querySelectorAll(".field-error")) error.textContent = "";
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  const top = form.querySelector("[data-problem]");
  if (top) top.hidden = true;
}

function showFieldProblem(field, text) {
  field.querySelector(".field-error").textContent = text;
  const input = field.querySelector("input, textarea, select");
  if (input && input.type !== "radio" && input.type !== "checkbox") {
    input.setAttribute("aria-invalid", "true");
  }
  input?.focus();
}

function showProblem(form, problem) {
  const field = problem.field && form.querySelector(`[data-field="${CSS.escape(problem.field)}"]`);
  if (field) {
    showFieldProblem(field, problem.message);
    return;
  }
  const top = form.querySelector("[data-problem]");
  top.querySelector("p").textContent = problem.message;
  top.hidden = false;
}

// Runs `send(form)` on submit: one at a time. `holder`: a dialog, which closes only when it went
// well, or a form that lies in the page.
export function onSubmit(holder, send) {
  const isDialog = holder.matches("dialog");
  const form = isDialog ? holder.querySelector("form") : holder;
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector('button[type="submit"]');
    if (button.getAttribute("aria-busy") === "true") return;
    clearProblems(form);
    button.setAttribute("aria-busy", "true");
    try {
      await send(form);
      if (isDialog) holder.close("yes");
    } catch (problem) {
      if (problem.reason === undefined) throw problem;
      showProblem(form, problem);
    } finally {
      button.removeAttribute("aria-busy");
    }
  });
  if (isDialog) holder.addEventListener("close", () => clearProblems(form));
}
