// The database is away: asks now and then whether it is back, then shows the page that was wanted.

const EVERY_MS = 3000;

async function look() {
  try {
    const response = await fetch("/healthz", { signal: AbortSignal.timeout(EVERY_MS) });
    const health = await response.json();
    if (!(health.missing ?? []).includes("database")) location.reload();
  } catch {
    // still away: the next look tells
  }
}

setInterval(look, EVERY_MS);
