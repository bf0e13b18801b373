// The drives of one desktop: what is chosen is asked for at once; what is shown comes from the payload.

import { say } from "./words.js";

const DRIVES_MAX = 4;

export function installDrives(panel, send) {
  const list = panel.querySelector(".drives");
  const blank = panel.querySelector("template").content.firstElementChild;
  const add = panel.querySelector("[data-add-drive]");
  const media = JSON.parse(document.getElementById("drives-data").textContent);
  const names = new Map(media.map((item) => [item.id, item.name]));
  const usable = media.filter((item) => item.kind !== "disk" && item.is_ready);
  let drives = [];

  const idsNow = () => [...list.children].map((row) => ({ id: row.querySelector("select").value || null }));

  function makeOptions(select, current) {
    const options = [new Option(say("drive_empty"), "")];
    for (const item of usable) options.push(new Option(item.name, item.id));
    if (current && !usable.some((item) => item.id === current)) {
      options.push(new Option(names.get(current) ?? say("drive_unknown"), current));
    }
    select.replaceChildren(...options);
    select.value = current ?? "";
  }

  function draw(row, drive, at) {
    const number = { number: at + 1 };
    const label = row.querySelector("label");
    const select = row.querySelector("select");
    select.id = `drive-${at}`;
    label.htmlFor = select.id;
    label.textContent = say("drive", number);
    row.querySelector("[data-remove-drive] .unseen").textContent = say("drive_remove", number);
    if (document.activeElement !== select || select.value !== (drive.id ?? "")) makeOptions(select, drive.id);
  }

  function show(desktop) {
    drives = desktop.spec.media ?? (desktop.origin.media ? [{ id: desktop.origin.media }] : []);
    while (list.children.length > drives.length) list.lastElementChild.remove();
    while (list.children.length < drives.length) list.append(blank.cloneNode(true));
    drives.forEach((drive, at) => draw(list.children[at], drive, at));
    panel.querySelector("[data-no-drive]").hidden = drives.length > 0;
    const inside = desktop.observed.media;
    panel.querySelector("[data-later]").hidden = !inside || inside.length >= drives.length;
    add.disabled = drives.length >= DRIVES_MAX || desktop.condition === "deleting";
  }

  list.addEventListener("change", () => send(idsNow()));
  list.addEventListener("click", (event) => {
    const row = event.target.closest("[data-remove-drive]")?.closest(".drive");
    if (row) send(idsNow().filter((_, at) => list.children[at] !== row));
  });
  add.addEventListener("click", () => send([...idsNow(), { id: null }]));
  return show;
}
