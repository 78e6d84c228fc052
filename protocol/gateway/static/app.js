/** The page's beginning: what every page has, and which page the address asks for. */

import { Api } from "./api.js";
import { h, icon } from "./dom.js";
import { signInHref } from "./identity.js";
import { Live } from "./live.js";
import { Session } from "./session.js";
import { keepTimes } from "./words.js";

const THEMES = { auto: "as the system has it", light: "light", dark: "dark" };
const THEME_KEY = "plaudit.theme";
// A short break heals unseen; only a longer one is told.
const NOTICE_AFTER_MS = 1_500;

const PAGES = [
  [/^\/$/, async (context, main) => (await import("./posts.js")).showPosts(context, main)],
  [/^\/p\/([^/]+)$/, async (context, main, slug) => (await import("./post.js")).showPost(context, main, decodeURIComponent(slug))],
  [/^\/sign-in$/, async (context, main) => (await import("./account.js")).showSignIn(context, main)],
  [/^\/account$/, async (context, main) => (await import("./account.js")).showAccount(context, main)],
  [/^\/write$/, async (context, main) => (await import("./write.js")).showEditor(context, main)],
];

async function start() {
  const context = makeContext();
  const main = document.getElementById("main");
  showNavigation(context);
  context.session.addEventListener("change", () => {
    showNavigation(context);
    if (context.live.state !== "closed") context.live.reopen();
  });
  watchConnection(context);
  keepTimes();
  try {
    await open(context, main);
  } catch (error) {
    showFailure(main, error);
  }
}

function makeContext() {
  const site = JSON.parse(document.querySelector('meta[name="site"]').content);
  const session = new Session();
  const socketUrl = new URL("/connection/websocket", location.href);
  socketUrl.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return { site, session, api: new Api(session), live: new Live(socketUrl, session), notice: showNotice };
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

function showNotice(text) {
  const notice = document.getElementById("notice");
  notice.textContent = text ?? "";
  notice.hidden = !text;
}

/** Say so while the page is not live, and no longer. */
function watchConnection({ live }) {
  let timer = null;
  live.addEventListener("state", () => {
    clearTimeout(timer);
    if (live.state === "waiting" || live.state === "connecting") {
      const text = navigator.onLine ? "Reconnecting… New comments will appear when the connection is back." : "You are offline. What you write is kept.";
      timer = setTimeout(() => showNotice(text), NOTICE_AFTER_MS);
    } else {
      showNotice(null);
    }
  });
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
