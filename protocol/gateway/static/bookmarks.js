/** The page of the posts that one has bookmarked, the last first. */

import { h } from "./dom.js";
import { signInHref } from "./identity.js";
import { Posts } from "./posts.js";

/** Show it in `main`. Throws `ApiError`. */
export async function showBookmarks(context, main) {
  if (!context.session.account) return location.replace(signInHref());
  const posts = new Posts(context);
  await posts.open("/v1/bookmarks");
  main.replaceChildren(h("h1", null, "Bookmarks"), posts.empty ? h("p", { class: "empty" }, "None yet. The ribbon at a post keeps it here for you.") : posts.element);
  document.title = `Bookmarks · ${context.site.title}`;
}
