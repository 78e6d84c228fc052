/** The conversation about a page elsewhere, in a frame on it. embed.js, on that page, says which page it is. */

import { makeContext } from "./context.js";
import { h } from "./dom.js";
import { Host } from "./host.js";
import { Talk } from "./talk.js";

const TITLE_CHARS_MAX = 300;

async function start() {
  const origin = new URLSearchParams(location.search).get("origin");
  const about = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const host = new Host(origin, about.page);
  const context = { ...makeContext(host), order: about.order };
  const main = document.getElementById("main");
  host.float(document.getElementById("notice"));
  try {
    const talk = new Talk(context, await openPage(context.api, about));
    main.replaceChildren(talk.response, talk.conversation, who(context));
    host.addEventListener("visit", ({ detail }) => talk.visit(detail));
    await talk.start();
    host.begin(context);
  } catch (error) {
    showFailure(main, error);
  }
}

/** The post about the page, made by whoever comes first. The server looks at the address, which must be of an allowed site. */
function openPage(api, { page, url = page, id, title = "" }) {
  const name = [...title.trim()].slice(0, TITLE_CHARS_MAX).join("");
  return api.put("/v1/pages", { url, id, title: name || undefined });
}

/** A line about who is signed in here, and about whose server this is. */
function who({ session, site }) {
  const line = h("p", { class: "colophon" });
  const show = () => {
    const { account } = session;
    const leave = account && h("button", { type: "button", class: "link", onclick: () => session.signOut() }, "Sign out");
    line.replaceChildren(...[account && `You are ${account.name}. `, leave, h("a", { class: "source", href: "/" }, site.title)].filter(Boolean));
  };
  session.addEventListener("change", show);
  show();
  return line;
}

function showFailure(main, error) {
  main.replaceChildren(
    h("p", { class: "problem", role: "alert" }, error.message),
    error.temporary && h("button", { type: "button", onclick: () => location.reload() }, "Try again"),
  );
  if (!("status" in error)) throw error;
}

start();
