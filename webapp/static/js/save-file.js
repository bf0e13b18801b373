// A medium's file, saved by the browser: brought from the storage first, then the download begins by
// itself. How far it is comes with the live tasks, also to a page that was loaded again meanwhile; only
// the page that was asked begins the download.

import { call } from "./api.js";
import { showAnswer } from "./live.js";
import { toast, toastProblem } from "./toast.js";
import { say } from "./words.js";

const pathOf = (id) => `/media/${encodeURIComponent(id)}/file`;

// An answer with an attachment leaves the page as it is.
function download(url) {
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  document.body.append(link);
  link.click();
  link.remove();
}

// `show(mediumId, progress or null)` draws how far it is.
export function followFiles(show) {
  const asked = new Map(); // task -> url
  const shown = new Map(); // task -> medium

  function hear(task) {
    if (task.kind !== "deliver") return;
    if (task.is_open) {
      shown.set(task.id, task.target);
      show(task.target, task.observed.progress ?? { percent: null });
      return;
    }
    if (shown.delete(task.id)) show(task.target, null);
    const url = asked.get(task.id);
    if (!asked.delete(task.id)) return;
    if (task.observed.state === "done") download(url);
    else toast("bad", task.observed.message ?? "", say("refused"));
  }

  async function save(payload) {
    try {
      const { ready, url, task } = await call("POST", pathOf(payload.id));
      if (ready) {
        download(url);
        return;
      }
      asked.set(task.id, url);
      toast("good", say("bringing", { name: payload.name }));
      // It may have ended before we knew that it is ours.
      await showAnswer(hear, call("GET", `/tasks/${encodeURIComponent(task.id)}`));
    } catch (problem) {
      toastProblem(problem);
    }
  }

  const listeners = {
    "tasks.list": ({ items }) => items.forEach(hear),
    "task.changed": hear,
  };
  return { save, listeners };
}
