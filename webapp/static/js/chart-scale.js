// What a chart needs to know of numbers and times before it draws: round marks, and how they read.
// Pure, so that it can be tried without a page.

const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

function sayBytes(value) {
  let [scaled, at] = [value, 0];
  while (scaled >= 1024 && at < UNITS.length - 1) [scaled, at] = [scaled / 1024, at + 1];
  return `${round(scaled)} ${UNITS[at]}`;
}

const round = (value) => String(value >= 100 ? Math.round(value) : Math.round(value * 10) / 10);

const SAY = {
  percent: (value) => `${round(value)} %`,
  mib: (value) => sayBytes(value * 1024 * 1024),
  bytes_s: (value) => `${sayBytes(value)}/s`,
  count: (value) => round(value),
};

export const sayValue = (unit, value) => (value === null || value === undefined ? "–" : SAY[unit](value));

const STEPS = { percent: [1, 2, 2.5, 5, 10], count: [1, 2, 5, 10], mib: [1, 2, 4, 8], bytes_s: [1, 2, 4, 8] };

// The marks of the upright axis, from 0 to above the highest value; at least `least` high.
export function marksUpTo(unit, highest, least) {
  const top = Math.max(highest, least, 0);
  const base = unit === "mib" || unit === "bytes_s" ? 1024 : 10;
  const target = top / 3;
  let power = base === 10 ? 10 ** Math.floor(Math.log10(target || 1)) : 1;
  if (base === 1024) while (power * 1024 <= target) power *= 1024;
  const choices = base === 10 ? STEPS[unit] : Array.from({ length: 11 }, (_, at) => 2 ** at);
  let step = power * (choices.find((choice) => power * choice >= target) ?? base);
  if (unit === "count") step = Math.max(1, Math.ceil(step));
  const count = Math.max(1, Math.ceil(top / step - 1e-9));
  return Array.from({ length: count + 1 }, (_, at) => at * step);
}

const MINUTE = 60;
const TIME_STEPS = [2, 5, 10, 30, 60, 180, 360, 720, 1440, 2880, 7200, 14400].map((one) => one * MINUTE);

// Round moments of the reader's own clock inside a stretch, few enough for the width.
export function timesBetween(from, to, most) {
  const step = TIME_STEPS.find((one) => (to - from) / one <= most) ?? TIME_STEPS.at(-1);
  const offset = new Date(to * 1000).getTimezoneOffset() * MINUTE;
  const first = Math.ceil((from - offset) / step) * step + offset;
  const times = [];
  for (let at = first; at <= to; at += step) times.push(at);
  return times;
}

export function sayMoment(at, stretch, isLong = false) {
  const style =
    stretch > 2 * 86400 && !isLong
      ? { day: "numeric", month: "short" }
      : isLong
        ? { dateStyle: "short", timeStyle: stretch > 3600 ? "short" : "medium" }
        : { hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat(document.documentElement.lang, style).format(new Date(at * 1000));
}

// Points with a pause between them longer than it should be are not joined.
export function runsOf(points, column, step) {
  const runs = [];
  let last = null;
  for (const point of points) {
    const value = point[column];
    if (value === null || value === undefined) {
      last = null;
      continue;
    }
    if (last === null || point[0] - last > step * 3) runs.push([]);
    runs.at(-1).push([point[0], value]);
    last = point[0];
  }
  return runs;
}
