// The page Tasks: what is under way and what has ended, kept live.

import "../frame.js";
import { connectLive } from "../live.js";
import { followTasks } from "../tasks.js";

const { listeners } = followTasks(JSON.parse(document.getElementById("tasks-data").textContent));
connectLive(listeners);
