// The fields of "Make a desktop of the image" that are known beforehand: from the image's own
// description, else from the chosen system's profile. What they hold is what is asked for.

import { say } from "./words.js";

export function followImport(form) {
  const { elements } = form;
  const hint = form.querySelector("[data-described]");
  let described = {};

  function showHardware() {
    const profile = elements.os.selectedOptions[0].dataset;
    elements.vcpus.value = described.vcpus ?? profile.vcpus ?? 2;
    elements.memory.value = (described.memory_mib ?? profile.memoryMib ?? 2048) / 1024;
    elements.firmware.value = described.firmware ?? profile.firmware ?? "bios";
    elements.bus.value = described.disk_bus ?? profile.diskBus ?? "virtio";
  }

  elements.os.addEventListener("change", showHardware);

  return {
    fill({ import_defaults: known, observed: { hardware } }) {
      described = known;
      elements.os.value = known.os ?? "";
      if (elements.os.selectedIndex < 0) elements.os.value = ""; // a profile that is not there any more
      showHardware();
      const says = hardware?.summary ? say("described", { hardware: hardware.summary }) : "";
      hint.textContent = [says, ...(hardware?.notes ?? [])].filter(Boolean).join(" ");
      hint.hidden = !hint.textContent;
    },
    read: () => ({
      os: elements.os.value,
      firmware: elements.firmware.value,
      vcpus: Number(elements.vcpus.value),
      memory_mib: Math.round(Number(elements.memory.value) * 1024),
      disk_bus: elements.bus.value,
    }),
  };
}
