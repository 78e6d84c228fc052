/** What people make of a post, kept live: applause, reactions, who is there, and the comments. */

import { Applause } from "./applause.js";
import { Comments } from "./comments.js";
import { h } from "./dom.js";
import { ensureAccount } from "./identity.js";
import { Reactions } from "./reactions.js";
import { count } from "./words.js";

/** `response` and `conversation` are its two elements; `onPost(post)` hears when the post itself has changed. */
export class Talk {
  #context;
  #post;
  #onPost;
  #comments;
  #version;
  #views = h("span");
  #watchers = h("span", { class: "watchers" });
  #reactions;
  #applause;

  constructor(context, post, { onPost = () => {} } = {}) {
    this.#context = context;
    this.#post = post;
    this.#onPost = onPost;
    this.#version = post.version;
    this.#comments = new Comments(context, post);
    this.#reactions = new Reactions({
      kinds: context.site.reaction_kinds,
      label: "Reactions to the post",
      onToggle: (kind, on) => this.#react(kind, on),
    });
    this.#applause = new Applause({ onApplaud: (total) => this.#applaud(total) });
    this.response = h(
      "footer",
      { class: "response" },
      this.#applause.element,
      this.#reactions.element,
      h("p", { class: "figures" }, this.#watchers, this.#views),
    );
    this.conversation = this.#comments.element;
    this.#showOwn(post);
    this.#showCounters(post.counters);
    context.session.addEventListener("change", () => this.#identityChanged());
  }

  /** Read the comments and stay live from there on. */
  async start() {
    const cursor = (await this.#comments.load()) ?? this.#post.cursor;
    this.#context.live.subscribe(`post:${this.#post.id}`, {
      cursor,
      onPublication: (publication) => this.#take(publication),
      onReload: () => this.#reload(),
    });
    this.#context.live.open();
    if (this.#post.state === "published") this.#context.api.post(`/v1/posts/${this.#post.id}/views`).catch(() => null);
  }

  /** Bring the comment `id` into view, wherever it stands. */
  visit(id) {
    return this.#comments.visit(id);
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
        return this.#onPost(this.#post);
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
    this.#onPost(post);
    this.#showCounters(post.counters);
    this.#showOwn(post);
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

  #showOwn({ counters, mine = [], applause_mine = 0 }) {
    this.#reactions.update(counters.reactions, mine);
    this.#applause.update(counters.applause, applause_mine);
  }

  #showCounters({ views, watchers }) {
    this.#views.textContent = count(views, "view");
    this.#watchers.textContent = watchers > 1 ? `${watchers} reading now` : "";
  }
}
