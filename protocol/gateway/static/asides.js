/** What stands beside the conversation: comments that wait for approval, and mentions elsewhere. */

import { CommentItem } from "./comment.js";
import { h } from "./dom.js";
import { count } from "./words.js";

const PAGE = 100;

export class Asides {
  #context;
  #path;
  #host;
  held = h("section", { class: "held", "aria-label": "Waiting for approval", hidden: true });
  mentions = h("details", { class: "mentions", hidden: true });

  /** `path` is that of the comments; `host()` gives what a comment may ask for. */
  constructor(context, path, host) {
    this.#context = context;
    this.#path = path;
    this.#host = host;
  }

  /** Both are extras: where they cannot be had, the conversation stands without them. */
  async load(moderates) {
    const [mentions, held] = await Promise.all([this.#read("pingbacks"), moderates ? this.#read("held") : []]);
    this.mentions.replaceChildren(h("summary", null, count(mentions.length, "mention")), this.#list(mentions));
    this.mentions.hidden = mentions.length === 0;
    this.held.replaceChildren(h("h3", null, "Waiting for approval"), this.#list(held));
    this.held.hidden = held.length === 0;
  }

  /** One that waited has its place among the others now. */
  approved(item) {
    item.element.remove();
    this.held.hidden = this.held.querySelector("li") === null;
  }

  async #read(only) {
    const page = await this.#context.api.get(`${this.#path}?only=${only}&limit=${PAGE}`).catch(() => ({ comments: [] }));
    return page.comments;
  }

  #list(nodes) {
    const host = this.#host();
    return h("ol", { class: "comments" }, nodes.map((node) => new CommentItem(host, { ...node, depth: 0 }, null).element));
  }
}
