/** Whom one blocks and mutes, each with the way to end it. */

import { h } from "./dom.js";
import { avatar, nameOf } from "./people.js";
import { moment } from "./words.js";

const LISTED_MAX = 100;
const LISTS = [
  { title: "Blocked", path: "/v1/me/blocks", what: "block", undo: "Unblock" },
  { title: "Muted", path: "/v1/me/mutes", what: "mute", undo: "Unmute" },
];

/** A section for each of the lists that names somebody. They are extras: the page stands without them. */
export function peopleApart(context) {
  return Promise.all(LISTS.map((list) => section(context, list)));
}

async function section(context, { title, path, what, undo }) {
  const people = await context.api.get(`${path}?limit=${LISTED_MAX}`).catch(() => []);
  const rows = people.map((person) => row(context, person, what, undo));
  return rows.length ? h("section", null, h("h2", null, title), h("ul", { class: "people" }, rows)) : null;
}

function row({ api, notice }, person, what, undo) {
  const end = async () => {
    try {
      await api.delete(`/v1/users/${encodeURIComponent(person.handle)}/${what}`);
      notice(null);
      element.remove();
    } catch (error) {
      notice(error.message);
    }
  };
  const element = h(
    "li",
    { class: "person" },
    avatar(person),
    h("div", { class: "names" }, nameOf(person), person.until && h("span", { class: "hint" }, `until ${moment(person.until)}`)),
    h("button", { type: "button", class: "quiet", onclick: end }, undo),
  );
  return element;
}
