/** The page of one post: the text, what people make of it, and the conversation below. */

import { bookmarkButton } from "./bookmark.js";
import { h, serverHtml } from "./dom.js";
import { linkMentions } from "./mentions.js";
import { nameOf } from "./people.js";
import { Talk } from "./talk.js";
import { moment, time } from "./words.js";

/** Fetch the post that the address names, show it in `main`, and keep it live. Throws `ApiError`. */
export async function showPost(context, main, slug) {
  const post = await fetchPost(context.api, slug);
  const article = new Article(context, post);
  const talk = new Talk(context, post, { onPost: (changed) => article.show(changed) });
  article.element.append(talk.response);
  main.replaceChildren(h("div", { class: "post-page" }, article.element, talk.conversation));
  document.title = `${post.title} · ${context.site.title}`;
  await talk.start();
  const visit = () => location.hash.startsWith("#c-") && talk.visit(location.hash.slice(3));
  window.addEventListener("hashchange", visit);
  if (location.hash.startsWith("#c-")) await visit();
  else if (location.hash === "#comments") document.getElementById("comments-title").scrollIntoView();
}

/** By slug; a post without one is addressed by its id. */
async function fetchPost(api, slug) {
  try {
    return await api.get(`/v1/posts/by-slug/${encodeURIComponent(slug)}`);
  } catch (error) {
    if (error.status !== 404 || !/^[1-9][0-9]{0,18}$/.test(slug)) throw error;
    return api.get(`/v1/posts/${slug}`);
  }
}

class Article {
  #context;
  #title = h("h1");
  #byline = h("p", { class: "byline" });
  #body = h("div", { class: "prose" });
  #bookmark = null;
  #tags = h("ul", { class: "tags", "aria-label": "Tags" });

  constructor(context, post) {
    this.#context = context;
    this.element = h("article", { class: "post" }, h("header", null, this.#title, this.#byline), this.#body, this.#tags);
    this.show(post);
  }

  show(post) {
    const { title, html, tags, state } = post;
    this.#title.textContent = title;
    // A stream tells everybody the same, and not what is one's own.
    if ("bookmarked" in post) this.#bookmark = bookmarkButton(this.#context, post);
    this.#byline.replaceChildren(...this.#bylineParts(post));
    if (state === "deleted") this.#body.replaceChildren(h("p", { class: "gone" }, "This post was deleted."));
    else linkMentions(serverHtml(this.#body, html));
    this.#tags.replaceChildren(...tags.map((tag) => h("li", null, h("a", { href: `/?tag=${encodeURIComponent(tag)}` }, tag))));
    this.#tags.hidden = tags.length === 0;
  }

  #bylineParts({ author, published_at, publish_at, edited_at, state, id }) {
    const session = this.#context.session;
    const parts = [
      author && nameOf(author),
      published_at && time(published_at),
      state === "draft" && h("span", { class: "badge" }, "Draft"),
      state === "scheduled" && h("span", { class: "badge" }, publish_at ? `Appears ${moment(publish_at)}` : "Scheduled"),
      edited_at && published_at && h("span", null, "edited"),
      (session.owns(author) || session.moderates) && h("a", { href: `/write?post=${id}` }, "Edit"),
      this.#bookmark,
    ];
    return parts.filter(Boolean);
  }
}
