/** The list of posts. */

import { h, textOf } from "./dom.js";
import { postHref } from "./post.js";
import { count, time } from "./words.js";

const PAGE = 20;
const EXCERPT_CHARS = 220;

/** Show the newest posts in `main`, those of the tag in the address if there is one. Throws `ApiError`. */
export async function showPosts(context, main) {
  const tag = new URLSearchParams(location.search).get("tag");
  const list = h("ol", { class: "posts" });
  const older = h("button", { type: "button", class: "more", hidden: true }, "Older posts");
  const more = async (before) => {
    const posts = await context.api.get(listPath({ tag, before }));
    list.append(...posts.map(summary));
    older.hidden = posts.length < PAGE;
    older.onclick = () => more(posts.at(-1).id);
  };
  document.title = tag ? `#${tag} · ${context.site.title}` : context.site.title;
  await more(null);
  main.replaceChildren(
    h("h1", { class: tag ? "" : "hidden-visually" }, tag ? `Posts on ${tag}` : "Posts"),
    list.childElementCount ? list : nothing(context, tag),
    older,
  );
}

function listPath({ tag, before }) {
  const query = new URLSearchParams({ limit: PAGE });
  if (tag) query.set("tag", tag);
  if (before) query.set("before", before);
  return `/v1/posts?${query}`;
}

function nothing({ session }, tag) {
  if (tag) return h("p", { class: "empty" }, "Nothing here yet. ", h("a", { href: "/" }, "All posts"));
  const way = session.member ? h("a", { href: "/write" }, "Write the first post") : h("a", { href: "/sign-in?new&next=/write" }, "Sign up");
  return h("p", { class: "empty" }, "Nothing is written here yet. ", way, session.member ? "." : " and write the first post.");
}

function summary(post) {
  const text = textOf(post.html);
  const excerpt = text.length > EXCERPT_CHARS ? `${text.slice(0, EXCERPT_CHARS).replace(/\s+\S*$/, "")}…` : text;
  const { comments, applause } = post.counters;
  return h(
    "li",
    { class: "summary" },
    h(
      "article",
      null,
      h("p", { class: "byline" }, post.author && h("span", { class: "author" }, post.author.name), time(post.published_at ?? post.created_at)),
      h("h2", null, h("a", { href: postHref(post) }, post.title)),
      excerpt && h("p", { class: "excerpt" }, excerpt),
      h(
        "p",
        { class: "figures" },
        h("a", { href: `${postHref(post)}#comments` }, comments ? count(comments, "comment") : "Be the first to comment"),
        applause > 0 && h("span", null, `${count(applause, "clap")}`),
      ),
    ),
  );
}
