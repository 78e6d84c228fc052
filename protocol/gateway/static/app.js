/** The page's beginning: what every page has, and which page the address asks for. */

import { around } from "./around.js";
import { makeContext } from "./context.js";
import { h } from "./dom.js";
import { showMasthead } from "./masthead.js";
import { Notices } from "./notices.js";

const PAGES = [
  { at: /^\/p\/([^/]+)$/, show: async (context, main, slug) => (await import("./post.js")).showPost(context, main, decodeURIComponent(slug)) },
  { at: /^\/sign-in$/, show: async (context, main) => (await import("./account.js")).showSignIn(context, main) },
  { at: /^\/account$/, show: async (context, main) => (await import("./account.js")).showAccount(context, main) },
  { at: /^\/write$/, show: async (context, main) => (await import("./write.js")).showEditor(context, main) },
];

/** What these show depends on who reads: when somebody signs in or out, also elsewhere, they are shown anew. */
const OWN_PAGES = [
  { at: /^\/$/, show: async (context, main) => (await import("./home.js")).showHome(context, main) },
  {
    at: /^\/@([^/]+)(?:\/(followers|following))?$/,
    show: async (context, main, handle, list = "posts") => (await import("./author.js")).showAuthor(context, main, decodeURIComponent(handle), list),
  },
  { at: /^\/search$/, show: async (context, main) => (await import("./search.js")).showSearch(context, main) },
  { at: /^\/notifications$/, show: async (context, main) => (await import("./notifications.js")).showNotifications(context, main) },
  { at: /^\/bookmarks$/, show: async (context, main) => (await import("./bookmarks.js")).showBookmarks(context, main) },
];

async function start() {
  const context = makeContext(around);
  context.notices = new Notices(context);
  const main = document.getElementById("main");
  showMasthead(context);
  try {
    await open(context, main);
  } catch (error) {
    showFailure(main, error);
  }
}

function open(context, main) {
  for (const page of [...PAGES, ...OWN_PAGES]) {
    const match = page.at.exec(location.pathname);
    if (!match) continue;
    if (OWN_PAGES.includes(page)) reloadForOthers(context.session);
    return page.show(context, main, ...match.slice(1));
  }
  main.replaceChildren(h("h1", null, "Not here"), h("p", null, "There is no such page. ", h("a", { href: "/" }, "See all posts"), "."));
  return null;
}

function reloadForOthers(session) {
  const reader = session.account?.id;
  session.addEventListener("change", () => session.account?.id === reader || location.reload());
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

start();
