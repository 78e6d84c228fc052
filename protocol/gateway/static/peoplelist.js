/** A list of people that grows by pages, each with the button to follow. */

import { h } from "./dom.js";
import { FollowButton } from "./follow.js";
import { Paging } from "./paging.js";
import { avatar, nameOf } from "./people.js";

const PAGE = 50;

/** With `removable` they are one's own followers, whom one may make follow no more. */
export class PeopleList {
  #context;
  #removable;
  #list = h("ul", { class: "people" });
  #paging;

  constructor(context, { removable = false } = {}) {
    this.#context = context;
    this.#removable = removable;
    this.#paging = new Paging(context.api, (people) => this.#put(people));
    this.element = h("div", null, this.#list, this.#paging.element);
  }

  get empty() {
    return this.#list.childElementCount === 0;
  }

  /** Show the first page of what `path` gives. Throws `ApiError`. */
  open(path) {
    return this.#paging.open(`${path}?limit=${PAGE}`);
  }

  #put(people) {
    const buttons = people.map((person) => this.#row(person));
    if (this.#context.session.member) this.#relate(people, buttons);
  }

  #row(person) {
    const { session } = this.#context;
    const button = new FollowButton(this.#context, person);
    // Until it is known how one stands to them; where this cannot be known, the list stands without it.
    button.element.hidden = session.member;
    const row = h(
      "li",
      { class: "person" },
      avatar(person),
      h("div", { class: "names" }, nameOf(person), h("span", { class: "hint" }, `@${person.handle}`)),
      this.#removable && h("button", { type: "button", class: "quiet", onclick: () => this.#remove(person, row) }, "Remove"),
      button.element,
    );
    this.#list.append(row);
    return button;
  }

  async #relate(people, buttons) {
    const query = new URLSearchParams(people.map(({ id }) => ["id", id]));
    const known = people.length ? await this.#context.api.get(`/v1/relationships?${query}`).catch(() => []) : [];
    for (const relationship of known) {
      const button = buttons[people.findIndex(({ id }) => id === relationship.id)];
      button.show(relationship);
      button.element.hidden = this.#context.session.account.id === relationship.id || relationship.blocking || relationship.blocked_by;
    }
  }

  async #remove({ handle }, row) {
    const { api, notice } = this.#context;
    try {
      await api.delete(`/v1/me/followers/${encodeURIComponent(handle)}`);
      notice(null);
      row.remove();
    } catch (error) {
      notice(error.message);
    }
  }
}
