/** The front page: the posts of those one follows, the recent ones and the hot ones of everybody, all or on one tag. */

import { h } from "./dom.js";
import { Feed } from "./feed.js";
import { Posts } from "./posts.js";
import { Suggestions } from "./suggestions.js";
import { whenTiesChange } from "./ties.js";

const ORDERS = { following: "Following", recent: "Recent", hot: "Hot" };

/** Show in `main` the posts that the address asks for. Throws `ApiError`. */
export async function showHome(context, main) {
  const query = new URLSearchParams(location.search);
  const tag = query.get("tag");
  const offered = Object.keys(ORDERS).filter((order) => order !== "following" || (context.session.member && !tag));
  const order = offered.find((one) => one === query.get("order")) ?? offered[0];
  main.replaceChildren(
    h("h1", { class: tag ? "" : "hidden-visually" }, tag ? `Posts on ${tag}` : "Posts"),
    tabs(context, offered, order, tag),
    order === "following" ? await following(context) : await listed(context, order, tag),
  );
  document.title = tag ? `#${tag} · ${context.site.title}` : context.site.title;
}

function tabs({ session }, offered, current, tag) {
  const href = (order) => {
    const query = new URLSearchParams({ ...(order !== offered[0] && { order }), ...(tag && { tag }) });
    return query.size ? `/?${query}` : "/";
  };
  const links = offered.map((order) => h("a", { href: href(order), "aria-current": order === current && "page" }, ORDERS[order]));
  const kept = session.account && !tag && h("a", { href: "/bookmarks" }, "Bookmarks");
  return h("nav", { class: "tabs", "aria-label": "Which posts" }, links, kept);
}

async function following(context) {
  const empty = h("p", { class: "empty", hidden: true }, "Nothing here yet. Follow somebody, and what they write appears here at once.");
  const feed = new Feed(context, { onChange: (isEmpty) => (empty.hidden = !isEmpty) });
  const suggestions = new Suggestions(context, { onFollow: () => feed.refresh() });
  await feed.start();
  whenTiesChange(() => feed.refresh());
  if (feed.complete) suggestions.load();
  return h("div", null, empty, feed.element, suggestions.element);
}

async function listed(context, order, tag) {
  const posts = new Posts(context);
  await posts.open("/v1/posts", { order, ...(tag && { tag }) });
  return posts.empty ? nothing(context, tag) : posts.element;
}

function nothing({ session }, tag) {
  if (tag) return h("p", { class: "empty" }, "Nothing here yet. ", h("a", { href: "/" }, "All posts"));
  const way = session.member ? h("a", { href: "/write" }, "Write the first post") : h("a", { href: "/sign-in?new&next=/write" }, "Sign up");
  return h("p", { class: "empty" }, "Nothing is written here yet. ", way, session.member ? "." : " and write the first post.");
}
