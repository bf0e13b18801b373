// Fills the elements that say where their content comes from. The same rules as
// webapp/views/bindings.py, which filled them first on the server: see there for the grammar.

import { sayCount, words } from "./words.js";

const HOLE = /\{([^}]+)\}/g;

export function isEmpty(value) {
  return (
    value === null || value === undefined || value === false || value === "" ||
    (Array.isArray(value) && value.length === 0)
  );
}

export function readPath(payload, path) {
  for (const choice of path.split("|")) {
    let value = payload;
    for (const key of choice.trim().split(".")) {
      value = value === null || typeof value !== "object" ? null : (value[key] ?? null);
    }
    if (!isEmpty(value)) return value;
  }
  return null;
}

export function holds(payload, condition) {
  if (condition.startsWith("!")) return !holds(payload, condition.slice(1));
  const [path, list] = condition.split(" = ");
  if (list !== undefined) return list.split(" ").includes(asText(readPath(payload, path)));
  const [holder, word] = condition.split(" has ");
  if (word !== undefined) {
    const value = readPath(payload, holder);
    return Array.isArray(value) && value.includes(word);
  }
  return !isEmpty(readPath(payload, condition));
}

const asText = (value) => (value === null || value === undefined ? "" : String(value));

function sayBytes(value) {
  if (typeof value !== "number") return "";
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let [scaled, at] = [value, 0];
  while (scaled >= 1024 && at < units.length - 1) [scaled, at] = [scaled / 1024, at + 1];
  return `${Math.round(scaled * 10) / 10} ${units[at]}`;
}

const FORMATS = {
  text: asText,
  memory: (value) => {
    if (typeof value !== "number") return "";
    return value < 1024 ? `${value} MiB` : `${Math.round((value / 1024) * 10) / 10} GiB`;
  },
  bytes: sayBytes,
  rate: (value) => (typeof value === "number" ? `${sayBytes(value)}/s` : ""),
  duration: (value) => {
    if (typeof value !== "number") return "";
    const minutes = Math.round(value / 60);
    if (value < 60) return `${Math.round(value)} s`;
    return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  },
  ms: (value) => (typeof value === "number" ? `${Math.round(value)} ms` : ""),
  sentences: (value) => (Array.isArray(value) ? value.join(" ") : ""),
  words: (value) => (Array.isArray(value) ? value.join(", ") : ""),
};

function fillRule(payload, name, rule) {
  if (!rule.includes("{")) {
    const value = readPath(payload, rule);
    return isEmpty(value) ? null : asText(value);
  }
  let whole = true;
  const inAddress = name === "href" || name === "src";
  const text = rule.replace(HOLE, (_, path) => {
    const value = asText(readPath(payload, path));
    whole &&= value !== "";
    return inAddress ? encodeURIComponent(value) : value;
  });
  return whole ? text : null;
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function setAttribute(element, name, value) {
  if (value === null) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

export function sayTime(text) {
  const moment = new Date(text);
  if (!text || Number.isNaN(moment.getTime())) return "";
  const today = moment.toDateString() === new Date().toDateString();
  const style = today ? { timeStyle: "medium" } : { dateStyle: "medium", timeStyle: "short" };
  return new Intl.DateTimeFormat(document.documentElement.lang, style).format(moment);
}

function fillElement(element, payload) {
  const { text, format, word, counted, show, set, time } = element.dataset;
  if (text !== undefined) setText(element, FORMATS[format ?? "text"](readPath(payload, text)));
  if (word !== undefined) {
    const [table, ...path] = word.split(" ");
    setText(element, words(table, asText(readPath(payload, path.join(" ")))));
  }
  if (counted !== undefined) {
    const [what, ...path] = counted.split(" ");
    const count = readPath(payload, path.join(" "));
    setText(element, typeof count === "number" ? sayCount(what, count) : "");
  }
  if (show !== undefined) element.hidden = !holds(payload, show);
  if (set !== undefined) {
    for (const rule of set.split("; ")) {
      const [name, ...rest] = rule.split(" ");
      setAttribute(element, name, fillRule(payload, name, rest.join(" ")));
    }
  }
  if (time !== undefined) {
    const value = asText(readPath(payload, time));
    element.setAttribute("datetime", value);
    setText(element, sayTime(value));
  }
}

// A list inside: one copy of its <template> for each item, those that are there are filled anew.
function fillList(list, payload) {
  const blank = list.querySelector(":scope > template");
  const items = readPath(payload, list.dataset.each) ?? [];
  const copies = [...list.children].filter((child) => child !== blank);
  items.forEach((item, index) => {
    const copy = copies[index] ?? list.appendChild(blank.content.firstElementChild.cloneNode(true));
    fill(copy, item);
  });
  copies.slice(items.length).forEach((copy) => copy.remove());
}

export function fill(root, payload) {
  fillElement(root, payload);
  if (root.dataset.each !== undefined) {
    fillList(root, payload);
    return;
  }
  for (const child of root.children) if (child.dataset) fill(child, payload);
}

export function makeFromTemplate(id, payload) {
  const made = document.getElementById(id).content.firstElementChild.cloneNode(true);
  fill(made, payload);
  return made;
}

export function localiseTimes(root = document) {
  for (const element of root.querySelectorAll("time[data-time]")) {
    setText(element, sayTime(element.getAttribute("datetime")));
  }
}
