/** The page's beginning: what every page has, and which page the address asks for. */

import { around } from "./around.js";
import { makeContext } from "./context.js";
import { h, icon } from "./dom.js";
import { signInHref } from "./identity.js";

const THEMES = { auto: "as the system has it", light: "light", dark: "dark" };
const THEME_KEY = "plaudit.theme";

const PAGES = [
  [/^\/$/, async (context, main) => (await import("./home.js")).showHome(context, main)],
  [/^\/p\/([^/]+)$/, async (context, main, slug) => (await import("./post.js")).showPost(context, main, decodeURIComponent(slug))],
  [/^\/@([^/]+)(?:\/(followers|following))?$/, async (context, main, handle, list = "posts") => (await import("./author.js")).showAuthor(context, main, decodeURIComponent(handle), list)],
  [/^\/sign-in$/, async (context, main) => (await import("./account.js")).showSignIn(context, main)],
  [/^\/account$/, async (context, main) => (await import("./account.js")).showAccount(context, main)],
  [/^\/write$/, async (context, main) => (await import("./write.js")).showEditor(context, main)],
];

async function start() {
  const context = makeContext(around);
  const main = document.getElementById("main");
  showNavigation(context);
  context.session.addEventListener("change", () => showNavigation(context));
  try {
    await open(context, main);
  } catch (error) {
    showFailure(main, error);
  }
}

function open(context, main) {
  for (const [pattern, show] of PAGES) {
    const match = pattern.exec(location.pathname);
    if (match) return show(context, main, ...match.slice(1));
  }
  main.replaceChildren(h("h1", null, "Not here"), h("p", null, "There is no such page. ", h("a", { href: "/" }, "See all posts"), "."));
  return null;
}

function showFailure(main, error) {
  const gone = error.status === 404;
  main.replaceChildren(
    h("h1", null, gone ? "Not here" : "This did not work"),
    h("p", { role: "alert" }, error.message),
    gone ? h("p", null, h("a", { href: "/" }, "See all posts")) : h("button", { type: "button", onclick: () => location.reload() }, "Try again"),
  );
  if (!("status" in error)) throw error;
}

function showNavigation({ session }) {
  const account = session.account;
  document.getElementById("nav").replaceChildren(
    session.member ? h("a", { href: "/write" }, "Write") : "",
    account ? h("a", { href: "/account", class: "me" }, account.name) : "",
    session.member || location.pathname === "/sign-in" ? "" : h("a", { href: signInHref() }, "Sign in"),
    themeButton(),
  );
}

function themeButton() {
  const button = h("button", { type: "button", class: "theme" });
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

start();
