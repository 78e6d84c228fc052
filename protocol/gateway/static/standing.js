/** Muting and blocking somebody: the menu for it, and the line that says that it is so. */

import { h, icon } from "./dom.js";
import { popover } from "./popover.js";
import { tiesChanged } from "./ties.js";
import { moment } from "./words.js";

const DAY_MS = 86_400_000;
const MUTES = [
  ["Mute for a day", DAY_MS],
  ["Mute for a week", 7 * DAY_MS],
  ["Mute for good", null],
];

/** `menu` and `line` are its two elements; `onChange(relationship)` hears what the server has made of a choice. */
export class Standing {
  #context;
  #person;
  #onChange;
  #items = h("div", { class: "menu", role: "group" });
  line = h("p", { class: "standing", role: "status", hidden: true });

  constructor(context, person, { onChange }) {
    this.#context = context;
    this.#person = person;
    this.#onChange = onChange;
    const button = h("button", { type: "button", class: "round", "aria-label": `More about ${person.name}` }, icon("more"));
    popover(button, this.#items);
    this.menu = h("div", null, button, this.#items);
  }

  /** Show how the reader stands to the person. */
  show(relationship) {
    const { blocking, muting } = relationship;
    const items = [
      ...(muting ? [["Unmute", () => this.#take("delete", "mute")]] : MUTES.map(([text, ms]) => [text, () => this.#mute(ms)])),
      blocking ? ["Unblock", () => this.#take("delete", "block")] : [`Block ${this.#person.name}`, () => this.#take("put", "block")],
    ];
    this.#items.replaceChildren(...items.map(([text, act]) => h("button", { type: "button", onclick: act }, text)));
    const said = this.#words(relationship);
    this.line.textContent = said;
    this.line.hidden = !said;
  }

  #words({ followed_by, blocking, blocked_by, muting, muting_until }) {
    const { name } = this.#person;
    if (blocking) return `You block ${name}: neither of you sees the other's posts.`;
    if (blocked_by) return `${name} blocks you.`;
    if (muting) return muting_until ? `You see nothing of ${name} until ${moment(muting_until)}.` : `You see nothing of ${name}, who is not told.`;
    return followed_by ? "Follows you." : "";
  }

  #mute(ms) {
    return this.#take("put", "mute", ms === null ? {} : { until: new Date(Date.now() + ms).toISOString() });
  }

  async #take(method, what, body = undefined) {
    this.#items.hidePopover();
    const { api, notice } = this.#context;
    try {
      const relationship = await api[method](`/v1/users/${encodeURIComponent(this.#person.handle)}/${what}`, body);
      notice(null);
      tiesChanged();
      this.#onChange(relationship);
    } catch (error) {
      notice(error.message);
    }
  }
}
