/** A post as it stands in a list: who wrote it, how it begins, what people made of it. */

import { postHref } from "./addresses.js";
import { bookmarkButton } from "./bookmark.js";
import { h, textOf } from "./dom.js";
import { nameOf } from "./people.js";
import { count, time } from "./words.js";

const EXCERPT_CHARS = 220;

export class Summary {
  #bookmark;
  element = h("li", { class: "summary" });

  constructor(context, post) {
    // What has just come live says nothing of it: nobody has bookmarked it yet.
    this.#bookmark = bookmarkButton(context, { bookmarked: false, ...post });
    this.#show(post);
  }

  /** Show a state of the post that is newer than the one shown. */
  take(post) {
    if (post.version > this.post.version) this.#show(post);
  }

  #show(post) {
    this.post = post;
    const excerpt = beginning(textOf(post.html));
    this.element.replaceChildren(
      h(
        "article",
        null,
        byline(post),
        h("h2", null, h("a", { href: postHref(post) }, post.title)),
        excerpt && h("p", { class: "excerpt" }, excerpt),
        h("div", { class: "below" }, figures(post), this.#bookmark),
      ),
    );
  }
}

/** The latest published first; of two at the same time, that with the larger id. */
export function newestFirst(a, b) {
  return Date.parse(b.published_at) - Date.parse(a.published_at) || b.id.length - a.id.length || (b.id > a.id ? 1 : b.id < a.id ? -1 : 0);
}

function byline({ author, published_at, created_at, edited_at }) {
  return h("p", { class: "byline" }, author && nameOf(author), time(published_at ?? created_at), edited_at && published_at && h("span", null, "edited"));
}

function figures(post) {
  const { comments, applause } = post.counters;
  return h(
    "p",
    { class: "figures" },
    h("a", { href: `${postHref(post)}#comments` }, comments ? count(comments, "comment") : "Be the first to comment"),
    applause > 0 && h("span", null, count(applause, "clap")),
  );
}

function beginning(text) {
  return text.length > EXCERPT_CHARS ? `${text.slice(0, EXCERPT_CHARS).replace(/\s+\S*$/, "")}…` : text;
}
