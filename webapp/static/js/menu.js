// Popover menus: placed beside their button, walked with the arrow keys, closed after a choice.
// The browser itself opens and closes them (popovertarget, Escape, a click elsewhere).

const GAP_PX = 6;

function place(menu, button) {
  const at = button.getBoundingClientRect();
  const own = menu.getBoundingClientRect();
  const below = at.bottom + GAP_PX + own.height <= innerHeight;
  const top = below ? at.bottom + GAP_PX : Math.max(GAP_PX, at.top - GAP_PX - own.height);
  const left = Math.min(Math.max(GAP_PX, at.right - own.width), innerWidth - own.width - GAP_PX);
  menu.style.setProperty("top", `${top}px`);
  menu.style.setProperty("left", `${left}px`);
}

function buttonOf(menu) {
  return document.querySelector(`[popovertarget="${CSS.escape(menu.id)}"]`);
}

function itemsOf(menu) {
  return [...menu.querySelectorAll('[role="menuitem"]:not([hidden])')];
}

function onToggle(event) {
  const menu = event.target;
  if (!(menu instanceof HTMLElement) || !menu.classList.contains("menu")) return;
  const button = buttonOf(menu);
  const isOpen = event.newState === "open";
  button?.setAttribute("aria-expanded", String(isOpen));
  if (!isOpen || !button) return;
  place(menu, button);
  itemsOf(menu)[0]?.focus();
}

function onKey(event) {
  const menu = event.target.closest?.(".menu");
  if (!menu) return;
  const items = itemsOf(menu);
  const now = items.indexOf(document.activeElement);
  const moves = { ArrowDown: now + 1, ArrowUp: now - 1, Home: 0, End: items.length - 1 };
  if (event.key in moves) {
    event.preventDefault();
    items.at(moves[event.key] % items.length)?.focus();
  } else if (event.key === "Tab") {
    menu.hidePopover();
  }
}

export function installMenus() {
  document.addEventListener("toggle", onToggle, true);
  document.addEventListener("keydown", onKey);
  document.addEventListener("click", (event) => {
    const menu = event.target.closest('[role="menuitem"]')?.closest(".menu");
    if (menu?.matches(":popover-open")) menu.hidePopover();
  });
  for (const type of ["scroll", "resize"]) {
    addEventListener(type, () => document.querySelector(".menu:popover-open")?.hidePopover(), {
      passive: true,
    });
  }
}
