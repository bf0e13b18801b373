// What every page has: theme, menus, dialogs, times in the reader's own zone.

import { localiseTimes } from "./bind.js";
import { installDialogs } from "./dialog.js";
import { installMenus } from "./menu.js";
import { installTheme } from "./theme.js";

installTheme();
installMenus();
installDialogs();
localiseTimes();
