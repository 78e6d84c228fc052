/** The button that goes through the themes; theme.js has the chosen one shown before the first paint. */

import { h, icon } from "./dom.js";

const THEMES = { auto: "as the system has it", light: "light", dark: "dark" };
const THEME_KEY = "plaudit.theme";

export function themeButton() {
  const button = h("button", { type: "button", class: "round theme" });
  const show = () => {
    const theme = document.documentElement.dataset.theme ?? "auto";
    button.replaceChildren(icon(theme));
    button.setAttribute("aria-label", `Theme: ${THEMES[theme]}`);
    button.title = button.getAttribute("aria-label");
  };
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    setTheme(names[(names.indexOf(document.documentElement.dataset.theme ?? "auto") + 1) % names.length]);
    show();
  });
  show();
  return button;
}

function setTheme(theme) {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(THEME_KEY, theme);
  } catch {
    // Storage may be forbidden: the choice then lasts as long as the page.
  }
}
