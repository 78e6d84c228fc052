/** The home feed: what those write whom one follows, by page, and live from there on. */

import { announce, h } from "./dom.js";
import { Meanwhile } from "./meanwhile.js";
import { Posts } from "./posts.js";
import { count } from "./words.js";

// So near to the top nobody reads what a new post would push away.
const TOP_PX = 80;

/** `element` shows it; `onChange(empty)` hears when it was empty, or is so no more. */
export class Feed {
  #context;
  #posts;
  #waiting = new Map();
  /** Version at which a post went: what comes of it later may be older. */
  #gone = new Map();
  #meanwhile = new Meanwhile((post) => this.#take(post));
  #pill = h("button", { type: "button", class: "pill", hidden: true, onclick: () => this.#reveal() });

  constructor(context, { onChange }) {
    this.#context = context;
    this.#posts = new Posts(context, { onChange: () => onChange(this.#posts.empty), around: (read) => this.#meanwhile.around(read) });
    this.element = h("div", null, h("div", { class: "pill-place top", "aria-live": "polite" }, this.#pill), this.#posts.element);
  }

  /** Show the first page and stay live from there on. Throws `ApiError`. */
  async start() {
    const { cursor } = await this.#load();
    this.#context.live.subscribe(`feed:${this.#context.session.account.id}`, {
      cursor,
      onPublication: (publication) => publication.type === "post" && this.#take(publication.post),
      onReload: () => this.refresh(),
    });
    this.#context.live.open();
  }

  /** Whether all there is to read is shown. */
  get complete() {
    return this.#posts.complete;
  }

  /** Show the first page anew, with what no publication brings: the older posts of somebody who is followed now. */
  async refresh() {
    await this.#load().catch((error) => this.#context.notice(error.message));
  }

  async #load() {
    this.#waiting.clear();
    this.#showWaiting();
    return this.#posts.open("/v1/timeline");
  }

  /** A state of a post; it, or a newer one, may have come before. */
  #take(post) {
    this.#meanwhile.note(post);
    if (post.version < this.#gone.get(post.id)) return;
    if (post.state !== "published") {
      this.#gone.set(post.id, post.version);
      this.#waiting.delete(post.id);
      this.#posts.remove(post.id);
    } else if (this.#posts.has(post.id)) {
      this.#posts.update(post);
    } else if (!this.#posts.beyond(post)) {
      this.#receive(post);
    }
    this.#showWaiting();
  }

  #receive(post) {
    if (this.#waiting.size === 0 && window.scrollY < TOP_PX) {
      this.#posts.insert(post).classList.add("fresh");
      announce(`New post by ${post.author?.name ?? "someone"}: ${post.title}`);
    } else if (post.version >= (this.#waiting.get(post.id)?.version ?? 0)) {
      this.#waiting.set(post.id, post);
    }
  }

  #reveal() {
    const arrived = [...this.#waiting.values()].map((post) => this.#posts.insert(post));
    this.#waiting.clear();
    this.#showWaiting();
    for (const element of arrived) element.classList.add("fresh");
    window.scrollTo({ top: 0 });
    this.#posts.element.querySelector("h2 a")?.focus({ preventScroll: true });
  }

  #showWaiting() {
    const n = this.#waiting.size;
    this.#pill.hidden = n === 0;
    if (n) this.#pill.textContent = count(n, "new post");
  }
}
