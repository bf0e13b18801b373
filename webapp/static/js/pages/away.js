// The database is away: asks now and then whether it is back, then shows the page that was wanted.

const PAUSE_MS = 2000;
const DEADLINE_MS = 10000; // the answer takes its time while the engine is away as well

async function isBack() {
  try {
    const response = await fetch("/healthz", { signal: AbortSignal.timeout(DEADLINE_MS) });
    const health = await response.json();
    return !(health.missing ?? ["database"]).includes("database");
  } catch {
    return false; // not even the server answers
  }
}

async function look() {
  if (await isBack()) location.reload();
  else setTimeout(look, PAUSE_MS);
}

setTimeout(look, PAUSE_MS);
