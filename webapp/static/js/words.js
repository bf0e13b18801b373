// The words the server printed into the page (webapp/views/words.py).

const tables = JSON.parse(document.getElementById("words")?.textContent ?? "{}");

export function words(table, key) {
  return tables[table]?.[key] ?? "";
}

export function say(key, values = {}) {
  return words("says", key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}
