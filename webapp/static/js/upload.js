// Sends a file in pieces, each from where the server says it has got. What breaks is tried again from
// there, ever later; after that the upload rests until the person goes on with it.

import { ApiProblem, call, proof } from "./api.js";
import { say } from "./words.js";

const PIECE_BYTES = 8 * 1024 * 1024;
const PAUSES_MS = [1000, 3000, 8000, 15000];
const WINDOW_MS = 6000;

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// One piece, with news of the bytes that leave: only XMLHttpRequest has them.
function sendPiece(path, offset, piece, onSent) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", `/api/v1${path}`);
    request.setRequestHeader("X-CSRF-Token", proof()?.content ?? "");
    request.setRequestHeader("Content-Type", "application/octet-stream");
    request.setRequestHeader("Upload-Offset", String(offset));
    request.responseType = "json";
    request.upload.addEventListener("progress", (event) => onSent(event.loaded));
    request.addEventListener("error", () => reject(new ApiProblem(0, "Offline", say("offline"))));
    request.addEventListener("load", () => {
      const { status, response } = request;
      if (status === 200) resolve(response.offset);
      else reject(new ApiProblem(status, response?.reason ?? "Error", response?.detail ?? say("offline")));
    });
    request.send(piece);
  });
}

function makePace(size, onProgress) {
  const noted = [];
  return (bytes) => {
    const now = performance.now();
    noted.push([now, bytes]);
    while (noted.length > 2 && noted[0][0] < now - WINDOW_MS) noted.shift();
    const [since, first] = noted[0];
    const speed = now > since ? ((bytes - first) * 1000) / (now - since) : 0;
    const left = speed > 0 ? { eta_s: Math.round((size - bytes) / speed) } : {};
    const percent = Math.floor((bytes * 1000) / size) / 10;
    onProgress({ percent: String(percent), bytes, speed_bytes_s: Math.max(0, Math.round(speed)), ...left });
  };
}

// Resolves when the server has all of it. `isWanted()` false ends it quietly.
export async function upload(mediumId, file, onProgress, isWanted) {
  const path = `/media/${encodeURIComponent(mediumId)}/upload`;
  const note = makePace(file.size, onProgress);
  let { offset, size } = await call("GET", path);
  if (size !== file.size) throw new ApiProblem(0, "OtherFile", say("other_file"));
  let failures = 0;
  // Only an answer to a piece says that it is done: where all is there already, one that is empty.
  let isDone = false;
  while (!isDone && isWanted()) {
    note(offset);
    try {
      const piece = file.slice(offset, offset + PIECE_BYTES);
      offset = await sendPiece(path, offset, piece, (sent) => note(offset + sent));
      isDone = offset >= size;
      failures = 0;
    } catch (problem) {
      const lasting = ![0, 409, 502, 503, 504].includes(problem.status);
      if (lasting || failures >= PAUSES_MS.length) throw problem;
      await sleep(PAUSES_MS[failures]);
      failures += 1;
      offset = await call("GET", path).then((answer) => answer.offset, () => offset);
    }
  }
  note(offset);
}
