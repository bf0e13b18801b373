// Calls of the REST interface. A refusal comes back as an ApiProblem with the server's own sentence.

import { say } from "./words.js";

const ROOT = "/api/v1";
const DEADLINE_MS = 20000;

export class ApiProblem extends Error {
  constructor(status, reason, detail, field = null) {
    super(detail);
    Object.assign(this, { status, reason, field });
  }
}

export const proof = () => document.querySelector('meta[name="csrf-token"]');

// Another tab may have logged in anew: the page's proof is then an old one, and the server has a
// fresh one for the asking.
async function renewProof() {
  const response = await fetch(location.pathname, { credentials: "same-origin" });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  const fresh = page.querySelector('meta[name="csrf-token"]')?.content;
  if (!fresh || fresh === proof().content) return false;
  proof().content = fresh;
  return true;
}

export async function call(method, path, body) {
  try {
    return await callOnce(method, path, body);
  } catch (problem) {
    if (problem.reason !== "CsrfFailed" || !(await renewProof())) throw problem;
    return callOnce(method, path, body);
  }
}

async function callOnce(method, path, body) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRF-Token"] = proof()?.content ?? "";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(ROOT + path, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin",
      signal: AbortSignal.timeout(DEADLINE_MS),
    });
  } catch {
    throw new ApiProblem(0, "Offline", say("offline"));
  }
  if (response.ok) return response.status === 204 ? null : response.json();
  throw await problemOf(response);
}

async function problemOf(response) {
  if (response.status === 401) return new ApiProblem(401, "NotLoggedIn", say("logged_out"));
  const kind = response.headers.get("Content-Type") ?? "";
  if (!kind.includes("json")) return new ApiProblem(response.status, "Error", say("offline"));
  const { reason, detail, field } = await response.json();
  return new ApiProblem(response.status, reason, detail, field ?? null);
}

const WISHES = {
  start: { state: "started" },
  resume: { state: "started" },
  shutdown: { state: "stopped" },
  call_off: { state: "stopped" },
  power_off: { state: "stopped", force: true },
  pause: { state: "paused" },
};

// What a button means. "retry" repeats the present wish.
export function askDesktop(desktop, action) {
  const path = `/desktops/${encodeURIComponent(desktop.id)}`;
  if (action === "delete") return call("DELETE", path);
  const again = { state: desktop.desired.state, ...(desktop.desired.force && { force: true }) };
  return call("PATCH", path, { desired: WISHES[action] ?? again });
}
