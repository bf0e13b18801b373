// The words the server printed into the page (webapp/views/words.py).

const tables = JSON.parse(document.getElementById("words")?.textContent ?? "{}");

export function words(table, key) {
  return tables[table]?.[key] ?? "";
}

// A number with what is counted, as it is said of one and of several.
export function sayCount(what, count) {
  return words(count === 1 ? "one" : "some", what).replace("{count}", count);
}

export function say(key, values = {}) {
  return words("says", key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
