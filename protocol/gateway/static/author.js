/** The page of a member: who it is, how the reader stands to them, what they wrote, and the people around them. */

import { personHref } from "./addresses.js";
import { h } from "./dom.js";
import { FollowButton } from "./follow.js";
import { avatar } from "./people.js";
import { PeopleList } from "./peoplelist.js";
import { Posts } from "./posts.js";
import { Standing } from "./standing.js";
import { day, figure, safeHref } from "./words.js";

const LISTS = ["posts", "followers", "following"];
const NOBODY = { followers: "Nobody follows {} yet.", following: "{} follows nobody yet." };

/** Show in `main` the member of `handle` with one of the lists. Throws `ApiError`. */
export async function showAuthor(context, main, handle, list) {
  const { api, session, site } = context;
  const profile = await api.get(`/v1/users/${encodeURIComponent(handle)}`);
  const head = new Head(context, profile, list);
  if (session.member && !session.owns(profile)) await head.relate();
  main.replaceChildren(head.element, head.tabs, await shown(context, profile, list));
  document.title = `${profile.name} (@${profile.handle}) · ${site.title}`;
}

class Head {
  #context;
  #profile;
  #list;
  #follow;
  #standing;
  #actions = h("div", { class: "actions" });

  /** `list` is the one that is shown. */
  constructor(context, profile, list) {
    this.#context = context;
    this.#profile = profile;
    this.#list = list;
    this.#follow = new FollowButton(context, profile, { onChange: (relationship) => this.#followed(relationship) });
    this.#standing = new Standing(context, profile, { onChange: () => location.reload() });
    this.#actions.append(context.session.owns(profile) ? h("a", { class: "follow plain", href: "/account" }, "Edit profile") : this.#follow.element);
    this.element = h(
      "header",
      { class: "author-head" },
      avatar(profile),
      h("div", { class: "names" }, h("h1", null, profile.name), h("p", { class: "byline" }, about(profile))),
      this.#actions,
      this.#standing.line,
    );
    this.tabs = h("nav", { class: "tabs", "aria-label": `Around ${profile.name}` });
    this.#showTabs();
  }

  /** Find out how the reader stands to the person. Throws `ApiError`. */
  async relate() {
    const [relationship] = await this.#context.api.get(`/v1/relationships?id=${this.#profile.id}`);
    this.#actions.append(this.#standing.menu);
    this.#show(relationship);
  }

  #followed(relationship) {
    this.#profile.followers += relationship.following ? 1 : -1;
    this.#showTabs();
    this.#show(relationship);
  }

  #show(relationship) {
    this.#follow.show(relationship);
    this.#follow.element.hidden = relationship.blocking || relationship.blocked_by;
    this.#standing.show(relationship);
  }

  #showTabs() {
    const href = personHref(this.#profile);
    const tab = (list) =>
      h("a", { href: list === "posts" ? href : `${href}/${list}`, "aria-current": list === this.#list && "page" }, amount(list, this.#profile[list]));
    this.tabs.replaceChildren(...LISTS.map(tab));
  }
}

function about({ handle, url, created_at, role }) {
  return [
    h("span", null, `@${handle}`),
    ["moderator", "admin"].includes(role) && h("span", { class: "badge" }, role === "admin" ? "Admin" : "Moderator"),
    safeHref(url) && h("a", { href: safeHref(url), rel: "nofollow ugc me" }, url.replace(/^https?:\/\/|\/$/gi, "")),
    h("span", null, `Here since ${day(created_at)}`),
  ];
}

function amount(list, n) {
  const words = { posts: n === 1 ? "post" : "posts", followers: n === 1 ? "follower" : "followers", following: "following" };
  return [h("b", null, figure(n)), ` ${words[list]}`];
}

async function shown(context, profile, list) {
  const path = `/v1/users/${encodeURIComponent(profile.handle)}`;
  if (list === "posts") {
    const posts = new Posts(context);
    await posts.open(`${path}/posts`);
    return posts.empty ? h("p", { class: "empty" }, "No posts to see here.") : posts.element;
  }
  const own = context.session.owns(profile);
  const people = new PeopleList(context, { removable: own && list === "followers" });
  await people.open(`${path}/${list}`);
  return people.empty ? h("p", { class: "empty" }, NOBODY[list].replace("{}", profile.name)) : people.element;
}
