/** One comment on the page. */

import { h, icon, serverHtml } from "./dom.js";
import { linkMentions } from "./mentions.js";
import { avatar, nameOf } from "./people.js";
import { Reactions } from "./reactions.js";
import { count, safeHref, time } from "./words.js";

// Levels that style.css indents, on a wide and on a narrow screen; deeper ones say whom they answer instead.
const INDENTED_WIDE = 8;
const INDENTED_NARROW = 4;

/**
 * Where a comment stands: the comment itself, what hangs on it, and its element.
 *
 * `children` are the ids of the replies on the page, oldest first. `host` is what the comment may ask of the whole
 * conversation: `session`, `site`, `around`, `postAuthor`, `open`, `hides(author)`, and the
 * actions `read reply edit remove react approve more fold`. Of who is `apart` a page has no words.
 */
export class CommentItem {
  children = [];
  folded = false;
  #partial = false;
  #shownAnyway = false;
  #host;
  #head = h("header");
  #body = h("div", { class: "prose" });
  #tools = h("div", { class: "tools" });
  #more = h("button", { type: "button", class: "more", hidden: true });
  #fold = h("button", { type: "button", class: "tool fold", hidden: true, "aria-expanded": "true" }, "Hide replies");
  #reactions = null;

  constructor(host, { comment, depth, hidden = 0, reactions = {}, mine = [], apart = false }, parent) {
    this.#host = host;
    this.comment = comment;
    this.apart = apart;
    this.depth = depth;
    this.hidden = hidden;
    this.reactions = reactions;
    this.mine = mine;
    this.parent = parent;
    /** Where a reply or an edit is written. */
    this.form = h("div", { class: "form" });
    this.article = h("article", null, this.#head, this.#body, this.#tools, this.form, this.#more);
    this.element = h("li", { class: parent ? "comment" : "comment top", id: `c-${comment.id}`, tabindex: "-1" }, this.article);
    this.element.style.setProperty("--depth", depth);
    if (depth > INDENTED_WIDE) this.element.dataset.deep = "everywhere";
    else if (depth > INDENTED_NARROW) this.element.dataset.deep = "narrow";
    this.#more.addEventListener("click", () => host.more(this));
    this.#fold.addEventListener("click", () => host.fold(this));
    this.show();
  }

  get id() {
    return this.comment.id;
  }

  get name() {
    return this.comment.author?.name ?? "someone";
  }

  /** Take a state of the comment that is not older than the one shown. */
  take(comment) {
    if (comment.offset < this.comment.offset) return;
    this.comment = comment;
    this.show();
  }

  /** Take a state and whether its author is apart: of such a page has no words, so those that are here stay. */
  takeAs(comment, apart = false) {
    this.apart = apart;
    const { offset, body } = this.comment;
    this.take(offset > comment.offset || (apart && offset === comment.offset && body) ? this.comment : comment);
  }

  takeReactions(reactions, mine = this.mine) {
    this.reactions = reactions;
    this.mine = mine;
    this.#reactions?.update(reactions, mine);
  }

  /** How many replies the server holds beyond those on the page; null where it has more than is known. */
  setHidden(hidden) {
    this.#partial = hidden === null;
    this.hidden = hidden ?? 0;
    this.#showMore();
  }

  /** A reply was put below. */
  hasReplies() {
    this.#fold.hidden = false;
  }

  /** `below` is how many comments on the page are hidden by it. */
  setFolded(folded, below = 0) {
    this.folded = folded;
    this.#fold.setAttribute("aria-expanded", String(!folded));
    this.#fold.textContent = folded ? `Show ${count(below, "reply", "replies")}` : "Hide replies";
  }

  /** A comment that has just come, marked for some seconds. */
  markFresh() {
    this.element.classList.add("fresh");
  }

  show() {
    const { state, html } = this.comment;
    const deleted = state === "deleted";
    this.element.dataset.state = state;
    this.article.setAttribute("aria-label", this.#label());
    this.#head.replaceChildren(...(deleted ? [] : this.#byline()));
    if (deleted) this.#body.replaceChildren(h("p", { class: "gone" }, "This comment was deleted."));
    else if (this.#covered) this.#body.replaceChildren(this.#cover());
    else linkMentions(serverHtml(this.#body, html));
    this.#showTools();
    this.#showMore();
  }

  get #wordless() {
    return this.apart && this.comment.body === "";
  }

  get #covered() {
    return (this.apart || this.#host.hides(this.comment.author)) && (!this.#shownAnyway || this.#wordless);
  }

  /** In place of the words of somebody whom the reader does not want to read, or who does not want to be read. */
  #cover() {
    const showAnyway = () => {
      this.#shownAnyway = true;
      if (this.#wordless) this.#host.read(this);
      else this.show();
    };
    const who = this.#host.hides(this.comment.author) ? "By somebody you mute or block. " : "By somebody you mute or block, or who blocks you. ";
    return h("p", { class: "gone" }, who, h("button", { type: "button", class: "link", onclick: showAnyway }, "Show it"));
  }

  #label() {
    const level = this.depth ? `, reply to ${this.parent?.name ?? "an earlier comment"}, level ${this.depth + 1}` : "";
    return this.comment.state === "deleted" ? `Deleted comment${level}` : `Comment by ${this.name}${level}`;
  }

  #byline() {
    const { author, created_at, edited_at, state, kind } = this.comment;
    const elsewhere = kind === "pingback" && author?.url;
    const linkTo = (id, kind, ...text) => h("a", { class: kind, href: this.#host.around.href(id), "data-comment": id }, ...text);
    const own = author && author.id === this.#host.postAuthor;
    return [
      avatar(author),
      elsewhere ? h("b", { class: "author" }, h("a", { href: safeHref(author.url), rel: "nofollow ugc" }, this.name)) : nameOf(author),
      own && h("span", { class: "badge" }, "Author"),
      kind === "pingback" && h("span", { class: "badge" }, "Pingback"),
      state === "held" && h("span", { class: "badge" }, "Waiting for approval"),
      this.parent && linkTo(this.parent.id, "to", icon("reply"), h("span", null, this.parent.name)),
      linkTo(this.id, "when", time(created_at)),
      edited_at && h("span", { class: "edited" }, "edited"),
    ].filter(Boolean);
  }

  #showTools() {
    const { session } = this.#host;
    const { state, author, kind } = this.comment;
    if (kind === "pingback") return;
    if (state === "deleted") return this.#tools.replaceChildren(this.#fold);
    const mine = session.owns(author);
    const removable = mine || session.moderates || (session.account && session.account.id === this.#host.postAuthor);
    this.#tools.replaceChildren(
      ...[
        state === "visible" && this.#reactionsRow(),
        state === "held" && this.#tool("Approve", () => this.#host.approve(this)),
        this.#host.open && state === "visible" && this.#tool("Reply", () => this.#host.reply(this)),
        mine && this.#editable() && this.#tool("Edit", () => this.#host.edit(this)),
        removable && this.#tool("Delete", () => this.#host.remove(this)),
        this.#fold,
      ].filter(Boolean),
    );
  }

  #editable() {
    return Date.now() - new Date(this.comment.created_at) < this.#host.site.edit_window_s * 1000;
  }

  #reactionsRow() {
    this.#reactions ??= new Reactions({
      kinds: this.#host.site.reaction_kinds,
      label: `Reactions to the comment by ${this.name}`,
      onToggle: (kind, on) => this.#host.react(this, kind, on),
    });
    this.#reactions.update(this.reactions, this.mine);
    return this.#reactions.element;
  }

  #tool(text, onclick) {
    const button = h("button", { type: "button", class: "tool", onclick }, text);
    button.append(h("span", { class: "hidden-visually" }, text === "Reply" ? ` to ${this.name}` : ` the comment by ${this.name}`));
    return button;
  }

  #showMore() {
    this.#more.hidden = this.hidden === 0 && !this.#partial;
    this.#more.textContent = this.#partial ? "Show the whole thread" : `Show ${count(this.hidden, "more reply", "more replies")}`;
  }
}
