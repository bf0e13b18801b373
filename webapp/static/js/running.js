// Which desktops are on which hypervisor, from the administrators' live desktops.

const ON = ["started", "paused", "unknown"];

export function desktopsByHost(onChange) {
  const desktops = new Map();
  const state = {
    known: false,
    on: (host) =>
      [...desktops.values()]
        .filter((item) => item.observed.hypervisor === host && ON.includes(item.observed.state))
        .sort((a, b) => a.name.localeCompare(b.name)),
    listeners: {
      "desktops.list": ({ items }) => {
        desktops.clear();
        for (const item of items) desktops.set(item.id, item);
        state.known = true;
        onChange();
      },
      "desktop.changed": (item) => {
        desktops.set(item.id, item);
        onChange();
      },
      "desktop.removed": ({ id }) => {
        desktops.delete(id);
        onChange();
      },
    },
  };
  return state;
}
