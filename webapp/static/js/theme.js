// Light, dark or as the system: an attribute on the root for this page, a cookie for the next one
// (the server prints the attribute, so no page flashes in the wrong theme).

const YEAR_S = 365 * 24 * 3600;
const NEXT = { auto: "light", light: "dark", dark: "auto" };

export function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `theme=${theme}; Path=/; Max-Age=${YEAR_S}; SameSite=Lax${secure}`;
  const button = document.getElementById("theme-next");
  if (button) {
    button.dataset.themeNow = theme;
    for (const icon of button.querySelectorAll("[data-theme-icon]")) {
      icon.hidden = icon.dataset.themeIcon !== theme;
    }
  }
  for (const choice of document.querySelectorAll('#themes input[name="theme"]')) {
    choice.checked = choice.value === theme;
  }
}

export function installTheme() {
  const button = document.getElementById("theme-next");
  button?.addEventListener("click", () => setTheme(NEXT[button.dataset.themeNow]));
  document.getElementById("themes")?.addEventListener("change", (event) => {
    setTheme(event.target.value);
  });
}
