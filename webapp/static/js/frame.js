// What every page has: theme, menus, dialogs, times in the reader's own zone.

import { localiseTimes } from "./bind.js";
import { installDialogs } from "./dialog.js";
import { installMenus } from "./menu.js";
import { installTheme } from "./theme.js";

installTheme();
installMenus();
installDialogs();
localiseTimes();

// On a narrow screen the places are a bar that scrolls: the one we are at is brought into sight.
const bar = document.querySelector(".places");
const here = bar?.querySelector('[aria-current="page"]');
if (here) bar.scrollLeft = here.offsetLeft - (bar.clientWidth - here.offsetWidth) / 2;
