/** What is read by pages: the next one comes as its place comes near, or when it is asked for. */

import { h } from "./dom.js";

const NEAR = "800px";

/** `put(answer)` shows a page; `around(read)` reads and shows each. `element` stands below what it shows. */
export class Paging {
  #api;
  #put;
  #around;
  #next = null;
  #reading = 0;
  #more = h("button", { type: "button", class: "more", hidden: true, onclick: () => this.#readNext() }, "Show more");
  #problem = h("p", { class: "problem", role: "alert", hidden: true });
  #nearing = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && this.#readNext(), { rootMargin: NEAR });
  element = h("div", { class: "further" }, this.#problem, this.#more);

  constructor(api, put, around = (read) => read()) {
    this.#api = api;
    this.#put = put;
    this.#around = around;
  }

  /** Whether there is nothing beyond what is shown. */
  get complete() {
    return this.#next === null;
  }

  /** Show the first page, anew. Throws `ApiError`. */
  async open(path) {
    this.#next = path;
    this.#reading += 1;
    await this.#around(() => this.#read());
  }

  async #readNext() {
    if (this.#more.disabled) return;
    this.#more.disabled = true;
    try {
      await this.#around(() => this.#read());
    } catch (error) {
      // Not by itself again: who reads decides.
      this.#nearing.disconnect();
      this.#problem.textContent = error.message;
      this.#problem.hidden = false;
    } finally {
      this.#more.disabled = false;
    }
  }

  async #read() {
    const reading = this.#reading;
    const { answer, next } = await this.#api.page(this.#next);
    if (reading !== this.#reading) return;
    this.#next = next;
    this.#problem.hidden = true;
    this.#more.hidden = next === null;
    this.#put(answer);
    // It tells of a change only: a page may be so short that the place is still near.
    this.#nearing.disconnect();
    this.#nearing.observe(this.#more);
  }
}
