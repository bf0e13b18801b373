// Live charts: each figure names its series, one request brings the points of all of them, and SVG is
// drawn as wide as its place so that text keeps its size. Colours come from the style sheet, so both
// themes work; the same numbers stand in a table below, for who does not see a picture.

import { call } from "./api.js";
import { marksUpTo, runsOf, sayMoment, sayValue, timesBetween } from "./chart-scale.js";
import { say, words } from "./words.js";

const SVG = "http://www.w3.org/2000/svg";
const EVERY_MS = { "10m": 5000, "24h": 60000, "30d": 300000 };
const SPACE = { top: 10, right: 12, bottom: 22, left: 62 };
const ROWS_MAX = 60;

function make(name, attributes = {}, text = "") {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text) element.textContent = text;
  return element;
}

function element(name, text = "", attributes = {}) {
  const made = document.createElement(name);
  made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

class Chart {
  constructor(figure) {
    this.figure = figure;
    this.series = figure.dataset.series.split(" ");
    this.unit = figure.dataset.unit;
    this.least = Number(figure.dataset.highest ?? 0) || (this.unit === "count" ? 1 : 0);
    this.field = figure.querySelector(".chart-field");
    this.title = figure.querySelector("h3").textContent;
    this.stats = null;
    this.cursor = null;
    new ResizeObserver(() => this.draw()).observe(this.field);
    this.field.addEventListener("pointermove", (event) => this.point(event));
    this.field.addEventListener("pointerleave", () => this.showAt(null));
    figure.querySelector("details").addEventListener("toggle", () => this.fillTable());
  }

  show(stats, to) {
    const columns = this.series.map((name) => stats.metrics.indexOf(name) + 1);
    const points = stats.points.filter((point) => columns.some((column) => point[column] !== null));
    this.stats = { ...stats, points, columns, from: to - stats.length_s, to };
    this.draw();
    this.fillTable();
  }

  get last() {
    return this.stats.points.at(-1) ?? null;
  }

  x = (at) => SPACE.left + ((at - this.stats.from) / (this.stats.to - this.stats.from)) * this.width;
  y = (value) => SPACE.top + this.height * (1 - value / this.top);

  draw() {
    if (!this.stats) return;
    const { points, columns, from, to, step_s: step } = this.stats;
    this.field.querySelector("svg")?.remove();
    this.figure.querySelector("[data-none]").hidden = points.length > 0;
    this.figure.dataset.points = points.length;
    this.sayNow(this.last);
    const box = this.field.getBoundingClientRect();
    if (!points.length || box.width < 80) return;
    this.width = box.width - SPACE.left - SPACE.right;
    this.height = box.height - SPACE.top - SPACE.bottom;
    const values = points.flatMap((point) => columns.map((column) => point[column] ?? 0));
    const marks = marksUpTo(this.unit, Math.max(...values), this.least);
    this.top = marks.at(-1) || 1;
    const id = `chart-${this.figure.dataset.chart}`;
    const svg = make("svg", {
      viewBox: `0 0 ${box.width} ${box.height}`,
      role: "img",
      "aria-labelledby": `${id}-title`,
      "aria-describedby": `${id}-desc`,
    });
    svg.append(make("title", { id: `${id}-title` }, this.title));
    svg.append(make("desc", { id: `${id}-desc` }, this.describe()));
    this.drawAxes(svg, marks, timesBetween(from, to, Math.max(2, Math.floor(this.width / 90))));
    columns.forEach((column, line) => {
      for (const run of runsOf(points, column, step)) this.drawRun(svg, run, line);
    });
    this.cursor = make("line", { class: "chart-cursor", y1: SPACE.top, y2: SPACE.top + this.height, hidden: "" });
    svg.append(this.cursor);
    this.field.append(svg);
  }

  drawAxes(svg, marks, times) {
    for (const mark of marks) {
      const y = this.y(mark);
      const x2 = SPACE.left + this.width;
      svg.append(make("line", { class: "chart-grid-line", x1: SPACE.left, x2, y1: y, y2: y }));
      const label = { class: "chart-label", x: SPACE.left - 8, y: y + 4, "text-anchor": "end" };
      svg.append(make("text", label, sayValue(this.unit, mark)));
    }
    for (const at of times) {
      const label = { class: "chart-label", x: this.x(at), y: SPACE.top + this.height + 16, "text-anchor": "middle" };
      if (this.x(at) > SPACE.left + this.width - 14) label["text-anchor"] = "end";
      svg.append(make("text", label, sayMoment(at, this.stats.length_s)));
    }
  }

  drawRun(svg, run, line) {
    const path = run.map(([at, value]) => `${this.x(at).toFixed(1)} ${this.y(value).toFixed(1)}`);
    const single = run.length === 1 ? "h.01" : "";
    if (line === 0 && run.length > 1) {
      const floor = this.y(0);
      const ends = `L${this.x(run.at(-1)[0])} ${floor}L${this.x(run[0][0])} ${floor}z`;
      svg.append(make("path", { class: "chart-area", d: `M${path.join("L")}${ends}` }));
    }
    svg.append(make("path", { class: "chart-line", "data-line": line, d: `M${path.join("L")}${single}` }));
  }

  describe() {
    const { points, columns, from, to, length_s: length } = this.stats;
    const times = { from: sayMoment(from, length, true), to: sayMoment(to, length, true) };
    const each = columns.map((column, line) => {
      const values = points.map((point) => point[column]).filter((value) => value !== null);
      const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
      return say("chart_series", {
        name: words("series", this.series[line]),
        now: sayValue(this.unit, this.last[column]),
        mean: sayValue(this.unit, values.length ? mean : null),
        highest: sayValue(this.unit, values.length ? Math.max(...values) : null),
      });
    });
    return [say("chart_times", times), ...each].join(" ");
  }

  point(event) {
    if (!this.cursor) return;
    const box = this.field.getBoundingClientRect();
    const { points, from, to } = this.stats;
    const at = from + ((event.clientX - box.left - SPACE.left) / this.width) * (to - from);
    const near = points.reduce((best, one) => (Math.abs(one[0] - at) < Math.abs(best[0] - at) ? one : best));
    this.showAt(near);
  }

  showAt(point) {
    if (!this.stats || !this.cursor) return;
    this.cursor.toggleAttribute("hidden", point === null);
    if (point) for (const name of ["x1", "x2"]) this.cursor.setAttribute(name, this.x(point[0]));
    this.sayNow(point ?? this.last, point !== null);
  }

  // The values of a moment, each with the stroke of its line: legend and reading in one.
  sayNow(point, withTime = false) {
    const parts = this.series.map((name, line) => {
      const key = element("span", "", { class: "chart-key" });
      const stroke = make("svg", { viewBox: "0 0 18 8", "aria-hidden": "true" });
      stroke.append(make("path", { class: "chart-line", "data-line": line, d: "M1 4H17" }));
      const value = point ? sayValue(this.unit, point[this.stats.columns[line]]) : "–";
      key.append(stroke, `${words("series", name)} `, element("strong", value));
      return key;
    });
    if (withTime) parts.unshift(element("span", sayMoment(point[0], this.stats.length_s, true)));
    this.figure.querySelector("[data-now]").replaceChildren(...parts);
  }

  // Only while it is open: most people never look at it.
  fillTable() {
    if (!this.stats || !this.figure.querySelector("details").open) return;
    const { points, columns, length_s: length } = this.stats;
    const names = [say("chart_time"), ...this.series.map((name) => words("series", name))];
    const head = element("tr");
    head.append(...names.map((name) => element("th", name, { scope: "col" })));
    this.figure.querySelector("thead").replaceChildren(head);
    const every = Math.max(1, Math.ceil(points.length / ROWS_MAX));
    const rows = points.filter((_, at) => (points.length - 1 - at) % every === 0).reverse();
    const drawn = rows.map((point) => {
      const row = element("tr");
      row.append(element("th", sayMoment(point[0], length, true), { scope: "row" }));
      row.append(...columns.map((column) => element("td", sayValue(this.unit, point[column]))));
      return row;
    });
    this.figure.querySelector("tbody").replaceChildren(...drawn);
  }
}

// Starts what is in the page. Nothing is asked while the page is not looked at.
export function installCharts(root = document) {
  for (const panel of root.querySelectorAll("[data-stats]")) {
    const charts = [...panel.querySelectorAll("[data-chart]")].map((figure) => new Chart(figure));
    const choice = () => panel.querySelector('input[name="stats-window"]:checked').value;
    let timer = null;
    const refresh = async () => {
      clearTimeout(timer);
      const window = choice();
      if (!document.hidden) {
        try {
          const stats = await call("GET", `${panel.dataset.stats}?window=${window}`);
          if (choice() === window) charts.forEach((chart) => chart.show(stats, Date.now() / 1000));
        } catch {
          // The banner says that the server is away; what is drawn stays.
        }
      }
      clearTimeout(timer);
      timer = setTimeout(refresh, EVERY_MS[window]);
    };
    panel.addEventListener("change", (event) => event.target.name === "stats-window" && refresh());
    document.addEventListener("visibilitychange", () => !document.hidden && refresh());
    refresh();
  }
}
