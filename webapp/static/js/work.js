// Work on disks, under way or waiting, by what it works on: for cards and pages that show it in
// passing. `onChange(id)` is called whenever the work on one of them changes.

export function followWork(onChange) {
  const tasks = new Map();

  function on(id) {
    const open = [...tasks.values()].filter((task) => task.target === id);
    return open.find((task) => task.observed.state === "running") ?? open[0] ?? null;
  }

  function change(task) {
    if (task.is_open) tasks.set(task.id, task);
    else tasks.delete(task.id);
    onChange(task.target);
  }

  function remove(id) {
    const target = tasks.get(id)?.target;
    tasks.delete(id);
    if (target) onChange(target);
  }

  const listeners = {
    "tasks.list": ({ items }) => {
      for (const id of [...tasks.keys()]) remove(id);
      items.forEach(change);
    },
    "task.changed": change,
    "task.removed": ({ id }) => remove(id),
  };
  return { on, listeners };
}
