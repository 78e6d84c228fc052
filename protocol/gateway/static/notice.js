/** What happened, each group in a sentence that leads to it. */

import { personHref, postHref } from "./addresses.js";
import { h } from "./dom.js";
import { avatar } from "./people.js";
import { count, people, time } from "./words.js";

const NOTHING = "Nothing yet. What people make of what you write is told here.";
const COMMENTS = {
  comment: ["commented on ", "comment on ", "comments on "],
  reply: ["replied to your comment on ", "reply to your comment on ", "replies to your comment on "],
};

/** The groups as a list. What was unread when it was shown first stays marked until `forget`. */
export class NoticeList {
  #context;
  #fresh = new Set();
  element = h("ol", { class: "notices" });

  constructor(context) {
    this.#context = context;
  }

  show(groups) {
    const { notices, session } = this.#context;
    for (const group of groups) if (!group.read) this.#fresh.add(group.id);
    const focused = document.activeElement?.closest("[data-group]")?.dataset.group;
    const items = groups.map((group) => item(group, notices, { unread: this.#fresh.has(group.id), me: session.account }));
    this.element.replaceChildren(...items, notices.known && !items.length ? h("li", { class: "empty" }, NOTHING) : "");
    if (focused) this.element.querySelector(`[data-group="${focused}"] a`)?.focus({ preventScroll: true });
  }

  forget() {
    this.#fresh.clear();
  }
}

/** `accounts` and `posts` name what the group is about. */
function item(group, { accounts, posts }, { unread, me }) {
  const known = group.sample.map((id) => accounts[id]).filter(Boolean);
  const parts = [
    avatar(known[0]),
    h("span", { class: "said" }, ...sentence(group, known, posts), h("span", { class: "hint" }, time(group.updated_at))),
    unread && h("span", { class: "dot" }, h("span", { class: "hidden-visually" }, "unread")),
  ].filter(Boolean);
  const href = whereTo(group, known, posts, me);
  return h("li", { class: unread ? "unread" : "", "data-kind": group.kind, "data-group": group.id }, href ? h("a", { href }, parts) : h("div", null, parts));
}

function sentence(group, known, posts) {
  const names = known.map(({ name }) => name);
  const who = (text) => h("b", null, text);
  const about = h("i", null, posts[group.post]?.title ?? "a post that is gone");
  switch (group.kind) {
    case "comment":
    case "reply":
      return [...wrote(group, names, who), about];
    case "mention":
      return [who(people(names, group.count)), group.comment ? " mentioned you in a comment on " : " mentioned you in ", about];
    case "reaction":
      return [who(people(names, group.count)), group.comment ? " reacted to your comment on " : " reacted to ", about];
    case "applause":
      return [who(people(names, group.count)), " applauded ", about];
    case "follow":
      return [who(people(names, group.count)), group.count === 1 ? " follows you" : " follow you"];
  }
}

/** What is counted are comments, not who wrote them. */
function wrote({ kind, count: n }, names, who) {
  const [did, one, many] = COMMENTS[kind];
  if (n <= names.length || n === 1) return [who(people(names, n)), ` ${did}`];
  const some = names.length > 2 ? `${names[0]}, ${names[1]} and others` : people(names, names.length || 2);
  return [who(some), ` wrote ${count(n, one, many)}`];
}

function whereTo({ kind, post, comment, count: n }, known, posts, me) {
  if (kind === "follow") return n === 1 && known[0] ? personHref(known[0]) : `${personHref(me)}/followers`;
  if (!posts[post]) return null;
  const place = comment ? `#c-${comment}` : kind === "comment" ? "#comments" : "";
  return postHref(posts[post]) + place;
}
