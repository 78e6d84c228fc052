/** A list of posts that grows by pages. */

import { h } from "./dom.js";
import { Paging } from "./paging.js";
import { newestFirst, Summary } from "./summary.js";

const PAGE = 20;

/**
 * `element` holds the list and what leads on; `onChange()` hears when it was empty, or is so no more. `around(read)` reads
 * and shows each page.
 */
export class Posts {
  #context;
  #summaries = new Map();
  #list = h("ol", { class: "posts" });
  #paging;
  #onChange;
  #answer = null;
  #anew = false;

  constructor(context, { onChange = () => {}, around } = {}) {
    this.#context = context;
    this.#onChange = onChange;
    this.#paging = new Paging(context.api, (answer) => this.#put(answer), around);
    this.element = h("div", null, this.#list, this.#paging.element);
  }

  get empty() {
    return this.#summaries.size === 0;
  }

  /** Whether all are shown. */
  get complete() {
    return this.#paging.complete;
  }

  has(id) {
    return this.#summaries.has(id);
  }

  /** Show the first page of what `path` gives, with `query`. Answers it whole. Throws `ApiError`. */
  async open(path, query = {}) {
    this.#anew = true;
    await this.#paging.open(`${path}?${new URLSearchParams({ limit: PAGE, ...query })}`);
    return this.#answer;
  }

  /** Show a newer state of a post that is there. */
  update(post) {
    this.#summaries.get(post.id)?.take(post);
  }

  remove(id) {
    this.#summaries.get(id)?.element.remove();
    this.#summaries.delete(id);
    this.#onChange();
  }

  /** Put a post that no page has brought where it belongs, by the time of its publication. Answers its element. */
  insert(post) {
    const summary = new Summary(this.#context, post);
    const below = this.#sorted().find((other) => newestFirst(post, other.post) < 0);
    this.#summaries.set(post.id, summary);
    this.#list.insertBefore(summary.element, below?.element ?? null);
    this.#onChange();
    return summary.element;
  }

  /** Whether a post stands below all that are shown, where the next pages will bring it. */
  beyond(post) {
    const last = this.#sorted().at(-1);
    return !this.#paging.complete && last !== undefined && newestFirst(last.post, post) < 0;
  }

  #clear() {
    this.#anew = false;
    this.#summaries.clear();
    this.#list.replaceChildren();
  }

  #sorted() {
    return [...this.#summaries.values()].sort((one, other) => newestFirst(one.post, other.post));
  }

  #put(answer) {
    if (this.#anew) this.#clear();
    this.#answer = answer;
    for (const post of answer.posts ?? answer) {
      if (this.has(post.id)) continue;
      const summary = new Summary(this.#context, post);
      this.#summaries.set(post.id, summary);
      this.#list.append(summary.element);
    }
    this.#onChange();
  }
}
