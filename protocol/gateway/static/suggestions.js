/** Whom one might follow: people followed by those one follows, or, for who follows nobody, the authors of hot posts. */

import { h } from "./dom.js";
import { FollowButton } from "./follow.js";
import { avatar, nameOf } from "./people.js";
import { count } from "./words.js";

const SUGGESTED_MAX = 5;
const POSTS_READ = 50;

/** `element` is hidden while there is nobody to name; `onFollow()` hears when one is followed. */
export class Suggestions {
  #context;
  #onFollow;
  #list = h("ul", { class: "people" });
  element = h("section", { class: "suggestions", hidden: true }, h("h2", null, "People to follow"), this.#list);

  constructor(context, { onFollow }) {
    this.#context = context;
    this.#onFollow = onFollow;
  }

  /** An extra: where it cannot be had, the page stands without it. */
  async load() {
    const people = await this.#find().catch(() => []);
    this.#list.replaceChildren(...people.map((person) => this.#row(person)));
    this.element.hidden = people.length === 0;
  }

  async #find() {
    const suggested = await this.#context.api.get(`/v1/suggestions?limit=${SUGGESTED_MAX}`);
    if (suggested.length) return suggested;
    const hot = await this.#authors("hot");
    // What was written just now is not hot yet.
    return hot.length ? hot : this.#authors("recent");
  }

  /** Who wrote posts, and could be followed. */
  async #authors(order) {
    const { api, session } = this.#context;
    const posts = await api.get(`/v1/posts?order=${order}&limit=${POSTS_READ}`);
    const authors = new Map(posts.filter(({ author }) => author).map(({ author }) => [author.id, author]));
    authors.delete(session.account.id);
    if (!authors.size) return [];
    const known = await api.get(`/v1/relationships?${new URLSearchParams([...authors.keys()].map((id) => ["id", id]))}`);
    const open = known.filter(({ following, blocking, blocked_by, muting }) => !following && !blocking && !blocked_by && !muting);
    return open.map(({ id }) => authors.get(id)).slice(0, SUGGESTED_MAX);
  }

  #row(person) {
    const button = new FollowButton(this.#context, person, { onChange: ({ following }) => following && this.#onFollow() });
    button.show({ following: false });
    return h(
      "li",
      { class: "person" },
      avatar(person),
      h("div", { class: "names" }, nameOf(person), h("span", { class: "hint" }, person.paths ? `Followed by ${count(person.paths, "person", "people")} you follow` : `@${person.handle}`)),
      button.element,
    );
  }
}
