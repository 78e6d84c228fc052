/** The page of all one was told, and of what one wants to be told. */

import { h } from "./dom.js";
import { signInHref } from "./identity.js";
import { NoticeList } from "./notice.js";
import { Paging } from "./paging.js";

const PAGE = 30;
const KINDS = {
  comment: "Comments on what I write",
  reply: "Replies to my comments",
  mention: "Mentions of me",
  follow: "New followers",
  reaction: "Reactions",
  applause: "Applause",
};

/** Show it in `main`, with what comes while one looks, which is read at once. Throws `ApiError`. */
export async function showNotifications(context, main) {
  const { api, notices, session, site } = context;
  if (!session.account) return location.replace(signInHref());
  const list = new NoticeList(context);
  const paging = new Paging(api, (page) => notices.take(page));
  notices.addEventListener("change", () => list.show(notices.latest));
  await paging.open(`/v1/notifications?limit=${PAGE}`);
  main.replaceChildren(h("h1", null, "Notifications"), await preferences(context), list.element, paging.element);
  document.title = `Notifications · ${site.title}`;
  const read = () => document.hidden || notices.markRead();
  for (const event of ["load", "arrival", "news"]) notices.addEventListener(event, read);
  document.addEventListener("visibilitychange", read);
  await read();
}

async function preferences({ api, notice }) {
  const wanted = await api.get("/v1/notifications/preferences");
  const choose = async ({ target }) => {
    try {
      await api.patch("/v1/notifications/preferences", { [target.name]: target.checked });
      notice(null);
    } catch (error) {
      target.checked = !target.checked;
      notice(error.message);
    }
  };
  const boxes = Object.entries(KINDS).map(([kind, text]) => h("label", { class: "choice" }, h("input", { type: "checkbox", name: kind, checked: wanted[kind] }), text));
  return h("details", { class: "preferences" }, h("summary", null, "What I want to be told"), h("fieldset", { onchange: choose }, h("legend", { class: "hidden-visually" }, "Tell me of"), boxes));
}
