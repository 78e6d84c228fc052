/** The button to follow somebody, shown as done at once and taken back where the server refuses. */

import { h } from "./dom.js";
import { signInHref } from "./identity.js";
import { tiesChanged } from "./ties.js";

/** `onChange(relationship)` hears what the server has made of it. */
export class FollowButton {
  #context;
  #person;
  #relationship;
  #sending = false;
  #onChange;
  #button = h("button", { type: "button", class: "follow", onclick: () => this.#toggle() });

  constructor(context, person, { onChange = () => {} } = {}) {
    this.#context = context;
    this.#person = person;
    this.#onChange = onChange;
    this.element = context.session.member ? this.#button : h("a", { class: "follow", href: signInHref() }, ...words("Follow", person));
  }

  /** Show how the reader stands to the person. */
  show(relationship) {
    const { following } = relationship;
    this.#relationship = relationship;
    this.#button.setAttribute("aria-pressed", String(following));
    this.#button.replaceChildren(...words(following ? "Following" : "Follow", this.#person));
  }

  async #toggle() {
    // Two on their way could arrive in either order.
    if (this.#sending) return;
    const { api, notice } = this.#context;
    const before = this.#relationship;
    const path = `/v1/users/${encodeURIComponent(this.#person.handle)}/follow`;
    this.#sending = true;
    this.show({ ...before, following: !before.following });
    try {
      const relationship = await (before.following ? api.delete(path) : api.put(path));
      notice(null);
      this.show(relationship);
      tiesChanged();
      this.#onChange(relationship);
    } catch (error) {
      this.show(before);
      notice(error.message);
    } finally {
      this.#sending = false;
    }
  }
}

function words(text, { name }) {
  return [text, h("span", { class: "hidden-visually" }, ` ${name}`)];
}
