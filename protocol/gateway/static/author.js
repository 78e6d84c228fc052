/** The page of a member: who it is, how the reader stands to them, what they wrote, and the people around them. */

import { h } from "./dom.js";
import { FollowButton } from "./follow.js";
import { avatar, personHref } from "./people.js";
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
  const page = new Author(context, profile);
  if (session.member && !session.owns(profile)) await page.read();
  main.replaceChildren(h("div", { class: "author-page" }, page.element, tabs(profile, list), await shown(context, profile, list)));
  document.title = `${profile.name} (@${profile.handle}) · ${site.title}`;
}

function tabs(profile, current) {
  const href = personHref(profile);
  const links = LISTS.map((list) =>
    h("a", { href: list === "posts" ? href : `${href}/${list}`, "aria-current": list === current && "page", "data-list": list }, ...amount(list, profile[list])),
  );
  return h("nav", { class: "tabs", "aria-label": `Around ${profile.name}` }, links);
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

class Author {
  #context;
  #profile;
  #follow;
  #standing;
  #actions = h("div", { class: "actions" });

  constructor(context, profile) {
    this.#context = context;
    this.#profile = profile;
    const own = context.session.owns(profile);
    this.#follow = new FollowButton(context, profile, { onChange: (relationship) => this.#changed(relationship) });
    this.#standing = new Standing(context, profile, { onChange: () => location.reload() });
    this.#actions.append(...(own ? [h("a", { class: "follow plain", href: "/account" }, "Edit profile")] : [this.#follow.element]));
    this.element = h(
      "header",
      { class: "author-head" },
      avatar(profile),
      h("div", { class: "names" }, h("h1", null, profile.name), h("p", { class: "byline" }, ...about(profile))),
      this.#actions,
      this.#standing.line,
    );
  }

  /** Find out how the reader stands to the person. Throws `ApiError`. */
  async read() {
    const [relationship] = await this.#context.api.get(`/v1/relationships?id=${this.#profile.id}`);
    if (!relationship) return;
    this.#actions.append(this.#standing.menu);
    this.#show(relationship);
  }

  #show(relationship) {
    this.#follow.show(relationship);
    this.#follow.element.hidden = relationship.blocking || relationship.blocked_by;
    this.#standing.show(relationship);
  }

  #changed(relationship) {
    this.#profile.followers += relationship.following ? 1 : -1;
    document.querySelector('[data-list="followers"]').replaceChildren(...amount("followers", this.#profile.followers));
    this.#show(relationship);
  }
}

function about({ handle, url, created_at, role }) {
  return [
    h("span", null, `@${handle}`),
    ["moderator", "admin"].includes(role) && h("span", { class: "badge" }, role === "admin" ? "Admin" : "Moderator"),
    safeHref(url) && h("a", { href: safeHref(url), rel: "nofollow ugc me" }, url.replace(/^https?:\/\/|\/$/gi, "")),
    h("span", null, `Here since ${day(created_at)}`),
  ].filter(Boolean);
}
