// The part of "New desktop" for media: the chosen system fills the fields, and what is read from them
// is the request's `origin`, `os` and `spec`.

import { FieldProblem } from "./dialog.js";
import { say } from "./words.js";

const GUESSES = [
  [/win(dows)?[ _-]?11/i, "windows-11"],
  [/win(dows)?[ _-]?10/i, "windows-10"],
  [/debian/i, "debian"],
  [/ubuntu/i, "ubuntu"],
  [/fedora/i, "fedora"],
  [/alpine/i, "alpine"],
  [/linux|mint|suse|arch|rocky|alma/i, "linux"],
];

export function installCreateFromMedia(form) {
  const source = document.getElementById("profiles-data");
  const profiles = new Map(JSON.parse(source?.textContent ?? "[]").map((item) => [item.id, item]));
  const { elements } = form;

  const chosen = () => elements.medium?.selectedOptions[0];

  function showProfile() {
    const profile = profiles.get(elements.os?.value);
    if (!profile) return;
    const isDisk = chosen()?.dataset.kind === "disk";
    elements.vcpus.value = profile.spec.vcpus;
    elements.memory.value = profile.spec.memory_mib / 1024;
    elements.size.value = isDisk ? "" : profile.size_gib;
    elements.size.placeholder = isDisk ? say("as_image") : "";
    const isWindows = profile.family === "windows";
    for (const field of form.querySelectorAll("[data-windows]")) field.hidden = !isWindows || isDisk;
    elements.bus.value = profile.spec.disks[0]?.bus === "virtio" ? "virtio" : "sata";
    const drivers = [...elements.drivers.options].find(
      (option) => profile.drivers && option.text.toLowerCase().includes(profile.drivers),
    );
    elements.drivers.value = drivers && drivers.value !== elements.medium.value ? drivers.value : "";
  }

  function guess() {
    const name = chosen()?.dataset.name ?? "";
    const [, os] = GUESSES.find(([pattern]) => pattern.test(name)) ?? [null, "other"];
    if (elements.os && profiles.has(os)) elements.os.value = os;
    showProfile();
  }

  form.addEventListener("change", (event) => {
    if (event.target.name === "medium") guess();
    if (event.target.name === "os") showProfile();
  });
  guess();

  function readNumber(name, field) {
    const value = Number(elements[name].value);
    if (!(value > 0)) throw new FieldProblem(field, say("required"));
    return value;
  }

  return {
    suggestion: () => chosen()?.dataset.name ?? "",
    read() {
      if (!chosen()) throw new FieldProblem("origin.media", say("pick_medium"));
      const profile = profiles.get(elements.os.value);
      const isDisk = chosen().dataset.kind === "disk";
      const media = elements.medium.value;
      const spec = {
        vcpus: readNumber("vcpus", "spec.vcpus"),
        memory_mib: Math.round(readNumber("memory", "spec.memory_mib") * 1024),
      };
      if (profile.family === "windows") spec.disk_bus = elements.bus.value;
      if (!isDisk && profile.family === "windows" && elements.drivers.value) {
        spec.media = [{ id: media }, { id: elements.drivers.value }];
      }
      const size = isDisk && !elements.size.value ? {} : { size_gib: readNumber("size", "origin.size_gib") };
      return { origin: { media, ...size }, os: profile.id, spec };
    },
  };
}
