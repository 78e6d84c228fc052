/** The ribbon at a post: kept for later, or not, shown as done at once and taken back where the server refuses. */

import { h, icon } from "./dom.js";

/** A button for a signed-in reader; null for others, and where it is not known whether the post is kept. */
export function bookmarkButton({ api, session, notice }, { id, title, bookmarked }) {
  if (!session.account || bookmarked === undefined) return null;
  const path = `/v1/posts/${id}/bookmark`;
  let on = bookmarked;
  let sending = false;
  const show = () => {
    button.setAttribute("aria-pressed", String(on));
    button.title = on ? "Take the bookmark away" : "Bookmark";
  };
  const toggle = async () => {
    if (sending) return;
    sending = true;
    on = !on;
    show();
    try {
      await (on ? api.put(path) : api.delete(path));
      notice(null);
    } catch (error) {
      on = !on;
      show();
      notice(error.message);
    } finally {
      sending = false;
    }
  };
  const button = h("button", { type: "button", class: "round bookmark", "aria-label": `Bookmark ${title}`, onclick: toggle }, icon("bookmark"));
  show();
  return button;
}
