/** Buttons of which a person may press one of each kind, and take it back. */

import { h, icon } from "./dom.js";
import { figure } from "./words.js";

/**
 * A row of reaction buttons. `onToggle(kind, on)` resolves when the server has it and rejects when it refuses;
 * until then the press is shown as done.
 */
export class Reactions {
  #buttons = new Map();
  #counts = {};
  #mine = new Set();
  #onToggle;

  constructor({ kinds, label, onToggle }) {
    this.#onToggle = onToggle;
    this.element = h("div", { class: "reactions", role: "group", "aria-label": label });
    for (const kind of kinds) this.element.append(this.#button(kind));
  }

  /** Show these counts and, where given, these kinds as one's own. */
  update(counts, mine = null) {
    this.#counts = { ...counts };
    if (mine) this.#mine = new Set(mine);
    this.#show();
  }

  #button(kind) {
    const amount = h("span", { class: "amount" });
    const button = h("button", { type: "button", class: "reaction", title: capital(kind), onclick: () => this.#toggle(kind) });
    button.append(icon(kind), amount);
    button.dataset.kind = kind;
    this.#buttons.set(kind, { button, amount });
    return button;
  }

  async #toggle(kind) {
    const on = !this.#mine.has(kind);
    this.#set(kind, on);
    try {
      await this.#onToggle(kind, on);
      this.#own(kind, on);
      this.#show();
    } catch {
      this.#set(kind, !on);
    }
  }

  #set(kind, on) {
    if (this.#mine.has(kind) === on) return;
    this.#own(kind, on);
    this.#counts[kind] = Math.max(0, (this.#counts[kind] ?? 0) + (on ? 1 : -1));
    this.#show();
  }

  #own(kind, on) {
    if (on) this.#mine.add(kind);
    else this.#mine.delete(kind);
  }

  #show() {
    for (const [kind, { button, amount }] of this.#buttons) {
      const n = this.#counts[kind] ?? 0;
      amount.textContent = n ? figure(n) : "";
      button.setAttribute("aria-pressed", String(this.#mine.has(kind)));
      button.setAttribute("aria-label", `${capital(kind)}, ${figure(n)}`);
    }
  }
}

function capital(word) {
  return word.charAt(0).toUpperCase() + word.slice(1);
}
