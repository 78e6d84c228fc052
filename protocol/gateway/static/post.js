/** The page of one post: the text, what people make of it, and the conversation below. */

import { Applause } from "./applause.js";
import { Comments } from "./comments.js";
import { h, serverHtml } from "./dom.js";
import { ensureAccount } from "./identity.js";
import { Reactions } from "./reactions.js";
import { count, moment, time } from "./words.js";

/** Fetch the post that the address names, show it in `main`, and keep it live. Throws `ApiError`. */
export async function showPost(context, main, slug) {
  const post = await fetchPost(context.api, slug);
  const page = new PostPage(context, post);
  main.replaceChildren(page.element);
  document.title = `${post.title} · ${context.site.title}`;
  await page.start();
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

/** Where a post is read. */
export function postHref(post) {
  return `/p/${encodeURIComponent(post.slug ?? post.id)}`;
}

class PostPage {
  #context;
  #post;
  #comments;
  #version;
  #title = h("h1");
  #byline = h("p", { class: "byline" });
  #body = h("div", { class: "prose" });
  #tags = h("ul", { class: "tags", "aria-label": "Tags" });
  #views = h("span");
  #watchers = h("span", { class: "watchers" });
  #reactions;
  #applause;

  constructor(context, post) {
    this.#context = context;
    this.#post = post;
    this.#version = post.version;
    this.#comments = new Comments(context, post);
    this.#reactions = new Reactions({
      kinds: context.site.reaction_kinds,
      label: "Reactions to the post",
      onToggle: (kind, on) => this.#react(kind, on),
    });
    this.#applause = new Applause({ onApplaud: (total) => this.#applaud(total) });
    this.element = h(
      "div",
      { class: "post-page" },
      h(
        "article",
        { class: "post" },
        h("header", null, this.#title, this.#byline),
        this.#body,
        this.#tags,
        h(
          "footer",
          { class: "response" },
          this.#applause.element,
          this.#reactions.element,
          h("p", { class: "figures" }, this.#watchers, this.#views),
        ),
      ),
      this.#comments.element,
    );
    this.#show();
    this.#reactions.update(post.counters.reactions, post.mine);
    this.#applause.update(post.counters.applause, post.applause_mine ?? 0);
    this.#showCounters(post.counters);
    context.session.addEventListener("change", () => this.#identityChanged());
  }

  async start() {
    const cursor = (await this.#comments.load()) ?? this.#post.cursor;
    this.#context.live.subscribe(`post:${this.#post.id}`, {
      cursor,
      onPublication: (publication) => this.#take(publication),
      onReload: () => this.#reload(),
    });
    this.#context.live.open();
    if (this.#post.state === "published") this.#context.api.post(`/v1/posts/${this.#post.id}/views`).catch(() => null);
    if (location.hash.startsWith("#c-")) await this.#comments.visit(location.hash.slice(3));
    else if (location.hash === "#comments") document.getElementById("comments-title").scrollIntoView();
  }

  #take(publication) {
    switch (publication.type) {
      case "comment":
        return this.#comments.take(publication.comment);
      case "typing":
        return this.#comments.showTyping(publication.people);
      case "counters":
        return this.#takeCounters(publication);
      case "post":
        this.#post = publication.post;
        return this.#show();
    }
  }

  #takeCounters({ version, counters, comments = {} }) {
    this.#comments.takeReactions(comments);
    if (version < this.#version) return;
    this.#version = version;
    this.#reactions.update(counters.reactions);
    this.#applause.update(counters.applause);
    this.#showCounters(counters);
    this.#comments.showTotal(counters.comments);
  }

  /** The stream cannot give what was missed: read all of it again. */
  async #reload() {
    const post = await this.#context.api.get(`/v1/posts/${this.#post.id}`).catch(() => null);
    if (post) this.#identify(post);
    await this.#comments.load();
  }

  /** Someone has signed in or out while the page is open: what is theirs is another's now. */
  async #identityChanged() {
    const post = await this.#context.api.get(`/v1/posts/${this.#post.id}`).catch(() => null);
    if (post) this.#identify(post);
  }

  #identify(post) {
    this.#post = post;
    this.#version = Math.max(this.#version, post.version);
    this.#show();
    this.#showCounters(post.counters);
    this.#reactions.update(post.counters.reactions, post.mine ?? []);
    this.#applause.update(post.counters.applause, post.applause_mine ?? 0);
  }

  async #react(kind, on) {
    if (!(await ensureAccount(this.#context))) throw new Error("nobody");
    const path = `/v1/posts/${this.#post.id}/reactions/${encodeURIComponent(kind)}`;
    await this.#tried(on ? this.#context.api.put(path) : this.#context.api.delete(path));
  }

  async #applaud(total) {
    if (!(await ensureAccount(this.#context))) throw new Error("nobody");
    const ack = await this.#tried(this.#context.api.put(`/v1/posts/${this.#post.id}/applause`, { total }));
    return ack.version <= this.#version;
  }

  /** A press that failed is taken back on the page; the reason stands in the notice. */
  async #tried(request) {
    try {
      const ack = await request;
      this.#context.notice(null);
      return ack;
    } catch (error) {
      this.#context.notice(error.message);
      throw error;
    }
  }

  #show() {
    const { title, author, html, tags, state } = this.#post;
    this.#title.textContent = title;
    this.#byline.replaceChildren(...this.#bylineParts(author));
    if (state === "deleted") this.#body.replaceChildren(h("p", { class: "gone" }, "This post was deleted."));
    else serverHtml(this.#body, html);
    this.#tags.replaceChildren(...tags.map((tag) => h("li", null, h("a", { href: `/?tag=${encodeURIComponent(tag)}` }, tag))));
    this.#tags.hidden = tags.length === 0;
  }

  #bylineParts(author) {
    const { published_at, publish_at, edited_at, state, id } = this.#post;
    const session = this.#context.session;
    const parts = [
      author && h("span", { class: "author" }, author.name),
      published_at && time(published_at),
      state === "draft" && h("span", { class: "badge" }, "Draft"),
      state === "scheduled" && h("span", { class: "badge" }, publish_at ? `Appears ${moment(publish_at)}` : "Scheduled"),
      edited_at && published_at && h("span", null, "edited"),
      (session.owns(author) || session.moderates) && h("a", { href: `/write?post=${id}` }, "Edit"),
    ];
    return parts.filter(Boolean);
  }

  #showCounters({ views, watchers }) {
    this.#views.textContent = count(views, "view");
    this.#watchers.textContent = watchers > 1 ? `${watchers} reading now` : "";
  }
}
