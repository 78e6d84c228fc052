/** The page's beginning: what every page has, and which page the address asks for. */

import { around } from "./around.js";
import { makeContext } from "./context.js";
import { h } from "./dom.js";
import { showMasthead } from "./masthead.js";
import { Notices } from "./notices.js";

const PAGES = [
  [/^\/$/, async (context, main) => (await import("./home.js")).showHome(context, main)],
  [/^\/p\/([^/]+)$/, async (context, main, slug) => (await import("./post.js")).showPost(context, main, decodeURIComponent(slug))],
  [/^\/@([^/]+)(?:\/(followers|following))?$/, async (context, main, handle, list = "posts") => (await import("./author.js")).showAuthor(context, main, decodeURIComponent(handle), list)],
  [/^\/search$/, async (context, main) => (await import("./search.js")).showSearch(context, main)],
  [/^\/notifications$/, async (context, main) => (await import("./notifications.js")).showNotifications(context, main)],
  [/^\/bookmarks$/, async (context, main) => (await import("./bookmarks.js")).showBookmarks(context, main)],
  [/^\/sign-in$/, async (context, main) => (await import("./account.js")).showSignIn(context, main)],
  [/^\/account$/, async (context, main) => (await import("./account.js")).showAccount(context, main)],
  [/^\/write$/, async (context, main) => (await import("./write.js")).showEditor(context, main)],
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

start();
