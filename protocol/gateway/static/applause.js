/** Applause: press or hold, up to fifty times; sent as one total when the hands rest. */

import { h, icon } from "./dom.js";
import { figure } from "./words.js";

export const APPLAUSE_MAX = 50;
const HOLD_AFTER_MS = 350;
const HOLD_EVERY_MS = 90;
const REST_MS = 700;

/** `onApplaud(total)` resolves when the server has the person's own total. */
export class Applause {
  #all = 0;
  #mine = 0;
  #sent = 0;
  #hold = null;
  #held = false;
  #rest = null;
  #button;
  #amount;
  #own;
  #undo;
  #onApplaud;

  constructor({ onApplaud }) {
    this.#onApplaud = onApplaud;
    this.#amount = h("span", { class: "amount" });
    this.#own = h("span", { class: "own", "aria-hidden": "true" });
    this.#button = h(
      "button",
      {
        type: "button",
        class: "applaud",
        title: "Applaud; hold for more",
        onclick: () => this.#clicked(),
        onpointerdown: (event) => event.button === 0 && this.#press(),
        onpointerup: () => this.#release(),
        onpointerleave: () => this.#release(),
        onpointercancel: () => this.#release(),
        oncontextmenu: (event) => this.#held && event.preventDefault(),
      },
      h("span", { class: "ring" }, icon("applause")),
      this.#own,
    );
    this.#undo = h("button", { type: "button", class: "quiet undo", onclick: () => this.#takeBack() }, "Take back");
    this.element = h("div", { class: "applause" }, this.#button, this.#amount, this.#undo);
    // What has not been sent when the page goes away would be lost.
    window.addEventListener("pagehide", () => this.#flush());
    this.#show();
  }

  /** `all` of everyone; `mine` of the reader where known. What is still unsent stays shown on top. */
  update(all, mine = null) {
    const unsent = this.#mine - this.#sent;
    if (mine !== null) {
      this.#sent = mine;
      this.#mine = Math.min(APPLAUSE_MAX, Math.max(0, mine + unsent));
    }
    this.#all = all + (this.#mine - this.#sent);
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
    this.#all += mine - this.#mine;
    this.#mine = mine;
    this.#show();
    clearTimeout(this.#rest);
    this.#rest = setTimeout(() => this.#flush(), REST_MS);
  }

  async #flush() {
    clearTimeout(this.#rest);
    const total = this.#mine;
    if (total === this.#sent) return;
    const before = this.#sent;
    this.#sent = total;
    try {
      await this.#onApplaud(total);
    } catch {
      this.#sent = before;
      this.#all += before - this.#mine;
      this.#mine = before;
      this.#show();
    }
  }

  #show() {
    const mine = this.#mine;
    this.#amount.textContent = figure(this.#all);
    this.#own.textContent = mine ? `+${mine}` : "";
    this.#undo.hidden = mine === 0;
    this.#button.classList.toggle("given", mine > 0);
    this.#button.style.setProperty("--given", mine / APPLAUSE_MAX);
    this.#button.setAttribute("aria-label", `Applaud: ${figure(this.#all)} in all, ${mine} of your ${APPLAUSE_MAX} given`);
  }
}
