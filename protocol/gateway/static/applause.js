/** Applause: press or hold, up to fifty times; sent as one total when the hands rest. */

import { h, icon } from "./dom.js";
import { figure } from "./words.js";

export const APPLAUSE_MAX = 50;
const HOLD_AFTER_MS = 350;
const HOLD_EVERY_MS = 60;
const REST_MS = 700;

/**
 * `onApplaud(total)` resolves when the server has the person's own total, to whether the last `update` counted it already.
 *
 * Three numbers make what is shown: `all` as the server last told it, `mine` as the hands have it, and `sent`, which is
 * the part of `mine` that the server has and `all` therefore contains.
 */
export class Applause {
  #all = 0;
  #latest = 0;
  #mine = 0;
  #sent = 0;
  #sending = false;
  #hold = null;
  #held = false;
  #rest = null;
  #button;
  #amount = h("span", { class: "amount" });
  #own = h("span", { class: "own", "aria-hidden": "true" });
  #undo = h("button", { type: "button", class: "quiet undo", onclick: () => this.#takeBack() }, "Take back");
  #onApplaud;

  constructor({ onApplaud }) {
    this.#onApplaud = onApplaud;
    this.#button = h(
      "button",
      {
        type: "button",
        class: "applaud",
        title: "Applaud; hold for more",
        onclick: () => this.#clicked(),
        onpointerdown: (event) => event.button === 0 && this.#press(),
        onpointerup: () => this.#release(),
        onpointerleave: () => this.#leave(),
        onpointercancel: () => this.#leave(),
        oncontextmenu: (event) => this.#held && event.preventDefault(),
      },
      h("span", { class: "ring" }, icon("applause")),
      this.#own,
    );
    this.element = h("div", { class: "applause" }, this.#button, this.#amount, this.#undo);
    // What has not been sent when the page goes away would be lost.
    window.addEventListener("pagehide", () => this.#flush());
    this.#show();
  }

  /** `all` of everyone; `mine` of the reader where known. What is not sent yet stays shown on top. */
  update(all, mine = null) {
    this.#latest = all;
    // Whether what is on its way is contained in it is known when its answer is there.
    if (!this.#sending) this.#all = all;
    if (mine !== null) {
      const unsent = this.#mine - this.#sent;
      this.#sent = mine;
      this.#mine = Math.min(APPLAUSE_MAX, Math.max(0, mine + unsent));
    }
    this.#show();
  }

  #press() {
    this.#held = false;
    this.#hold = setTimeout(() => {
      this.#held = true;
      this.#hold = setInterval(() => this.#clap(), HOLD_EVERY_MS);
    }, HOLD_AFTER_MS);
  }

  #release() {
    clearInterval(this.#hold);
    this.#hold = null;
  }

  /** No click follows. */
  #leave() {
    this.#release();
    this.#held = false;
  }

  #clicked() {
    // The click that ends a hold is no clap of its own.
    if (!this.#held) this.#clap();
    this.#held = false;
  }

  #clap() {
    if (this.#mine >= APPLAUSE_MAX) return this.#release();
    this.#set(this.#mine + 1);
    this.#button.classList.remove("clapped");
    void this.#button.offsetWidth; // Restarts the animation.
    this.#button.classList.add("clapped");
  }

  #takeBack() {
    this.#set(0);
    this.#button.focus();
  }

  #set(mine) {
    this.#mine = mine;
    this.#show();
    this.#flushSoon();
  }

  #flushSoon() {
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => this.#flush(), REST_MS);
  }

  async #flush() {
    clearTimeout(this.#rest);
    if (this.#sending || this.#mine === this.#sent) return;
    const total = this.#mine;
    this.#sending = true;
    try {
      const counted = await this.#onApplaud(total);
      this.#all = counted ? this.#latest : this.#latest + total - this.#sent;
      this.#sent = total;
    } catch {
      this.#all = this.#latest;
      this.#mine = this.#sent;
    }
    this.#sending = false;
    this.#show();
    // The hands went on meanwhile.
    if (this.#mine !== this.#sent) this.#flushSoon();
  }

  #show() {
    const mine = this.#mine;
    const all = figure(this.#all + mine - this.#sent);
    this.#amount.textContent = all;
    this.#own.textContent = mine ? `+${mine}` : "";
    this.#undo.hidden = mine === 0;
    this.#button.classList.toggle("given", mine > 0);
    this.#button.style.setProperty("--given", mine / APPLAUSE_MAX);
    this.#button.setAttribute("aria-label", `Applaud: ${all} in all, ${mine} of your ${APPLAUSE_MAX} given`);
  }
}
