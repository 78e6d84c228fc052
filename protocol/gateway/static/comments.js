/**
 * The conversation below a post: its pages, its live changes, and what has come but waits to be shown.
 *
 * The list is flat, in reading order, and indented by style: a thread of any depth costs one element a comment, and
 * each comment is found by its id.
 */

import { Asides } from "./asides.js";
import { CommentItem } from "./comment.js";
import { Composer } from "./composer.js";
import { announce, h } from "./dom.js";
import { Hidden } from "./hidden.js";
import { ensureAccount } from "./identity.js";
import { Meanwhile } from "./meanwhile.js";
import { count, people } from "./words.js";

const ID = /^[1-9][0-9]{0,18}$/;
const PAGE = 50;
const THREAD_PAGE = 200;
const LONG = 500;
const ORDERS = { newest: "Newest", oldest: "Oldest", best: "Best" };
const ORDER_KEY = "plaudit.order";
const ANCESTORS_MAX = 100;
const TYPING_EVERY_MS = 3_000;

export class Comments {
  #context;
  #post;
  #path;
  #items = new Map();
  #waiting = new Map();
  #order;
  #next = null;
  #sending = 0;
  #typedAt = 0;
  /** Which time it is that the list is begun. */
  #loading = 0;
  #meanwhile = new Meanwhile((comment) => this.take(comment));
  #hidden;

  #heading = h("h2", { id: "comments-title" });
  #list = h("ol", { class: "comments" });
  #tail = h("ol", { class: "comments tail" });
  #older = h("button", { type: "button", class: "more", hidden: true, onclick: () => this.#loadMore() });
  #empty = h("p", { class: "empty", hidden: true }, "No comments yet.");
  #problem = h("p", { class: "problem", role: "alert", hidden: true });
  #typing = h("p", { class: "typing", "aria-live": "polite" });
  #asides;
  #pill = h("button", { type: "button", class: "pill", hidden: true, onclick: () => this.#reveal() });
  #pillPlace = h("div", { class: "pill-place", "aria-live": "polite" }, this.#pill);

  constructor(context, post) {
    this.#context = context;
    this.#post = post;
    this.#order = keptOrder(context.order);
    this.#path = `/v1/posts/${post.id}/comments`;
    this.#hidden = new Hidden(context);
    this.#asides = new Asides(context, this.#path, () => this.#host);
    this.element = h(
      "section",
      { class: "conversation", "aria-labelledby": "comments-title" },
      h("div", { class: "conversation-head" }, this.#heading, this.#orders()),
      post.comments_open ? this.#composer().element : h("p", { class: "hint" }, "Comments on this post are closed."),
      this.#typing,
      this.#asides.held,
      this.#list,
      this.#empty,
      this.#problem,
      this.#older,
      this.#tail,
      this.#asides.mentions,
      this.#pillPlace,
    );
    context.around.float(this.#pillPlace);
    this.element.addEventListener("click", (event) => this.#followLink(event));
    if (post.comments_open) this.#empty.append(" Yours would be the first.");
    context.session.addEventListener("change", () => this.#readAsOther());
    this.showTotal(post.counters.comments);
  }

  /** Read the first page anew. Answers the cursor from where to go on live, or null if it could not be read. */
  async load() {
    this.#loading += 1;
    const loading = this.#loading;
    try {
      return await this.#meanwhile.around(() => this.#loadFirst(loading));
    } catch (error) {
      if (loading === this.#loading) this.#fail(error);
      return null;
    }
  }

  /** Bring the comment that an address names into view, wherever it stands. */
  async visit(id) {
    if (!ID.test(id)) return;
    if (!this.#items.has(id)) {
      const comment = await this.#context.api.get(`${this.#path}/${id}`).catch(() => null);
      if (!comment) return;
      await this.#placeWithAncestors(comment, "old");
    }
    this.#items.get(id)?.markFresh();
    this.#focus(id);
  }

  /** A publication about a comment: its present state. */
  take(comment) {
    if (comment.kind === "pingback") return;
    this.#meanwhile.note(comment);
    const item = this.#items.get(comment.id);
    if (item) item.take(comment);
    else if (comment.state !== "visible") this.#waiting.delete(comment.id);
    else if (this.#sending && this.#context.session.owns(comment.author)) this.#place(bare(comment), "new");
    else if (this.#movesNothing(comment)) this.#appear(comment);
    else this.#waiting.set(comment.id, comment);
    this.#showWaiting();
  }

  takeReactions(reactions) {
    for (const [id, counts] of Object.entries(reactions)) this.#items.get(id)?.takeReactions(counts);
  }

  showTotal(total) {
    this.#heading.textContent = total ? count(total, "comment") : "Comments";
  }

  showTyping(names) {
    const others = names.filter((name) => name !== this.#context.session.account?.name);
    this.#typing.textContent = others.length ? `${people(others)} ${others.length === 1 ? "is" : "are"} typing…` : "";
  }

  // -- what a comment may ask for

  get #host() {
    const { session, site, around } = this.#context;
    return {
      session,
      site,
      around,
      postAuthor: this.#post.author?.id,
      open: this.#post.comments_open,
      hides: (author) => this.#hidden.has(author),
      read: (item) => this.#read(item),
      reply: (item) => this.#reply(item),
      edit: (item) => this.#edit(item),
      remove: (item) => this.#remove(item),
      react: (item, kind, on) => this.#react(item, kind, on),
      approve: (item) => this.#approve(item),
      more: (item) => this.#loadThread(item),
      fold: (item) => this.#fold(item),
    };
  }

  get #moderates() {
    return this.#context.session.moderates || this.#context.session.owns(this.#post.author);
  }

  #composer() {
    return new Composer(this.#context, {
      label: "Write a comment",
      action: "Comment",
      draftKey: `${this.#post.id}.new`,
      send: (body, op) => this.#send({ body }, op),
      onTyping: (on) => this.#signalTyping(on),
    });
  }

  /** A comment by itself has the words that a page has left out. */
  async #read(item, apart = item.apart) {
    try {
      item.takeAs(await this.#context.api.get(`${this.#path}/${item.id}`), apart);
    } catch (error) {
      item.form.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message));
    }
  }

  #reply(item) {
    this.#openForm(item, {
      label: `Reply to ${item.name}`,
      action: "Reply",
      draftKey: `${this.#post.id}.${item.id}.reply`,
      send: async (body, op) => {
        await this.#send({ body, parent: item.id }, op);
        item.form.replaceChildren();
      },
    });
  }

  #edit(item) {
    this.#openForm(item, {
      label: "Edit your comment",
      action: "Save",
      draftKey: `${this.#post.id}.${item.id}.edit`,
      text: item.comment.body,
      send: async (body, op) => {
        item.take(await this.#context.api.patch(`${this.#path}/${item.id}`, { body }, { op }));
        this.#closeForm(item);
      },
    });
  }

  #openForm(item, options) {
    const composer = new Composer(this.#context, {
      ...options,
      onCancel: () => this.#closeForm(item),
      onTyping: (on) => this.#signalTyping(on),
    });
    item.form.replaceChildren(composer.element);
    composer.focus();
  }

  #closeForm(item) {
    item.form.replaceChildren();
    item.element.focus({ preventScroll: true });
  }

  #remove(item) {
    const sure = h("button", { type: "button", class: "danger", onclick: () => this.#removeNow(item) }, "Delete it");
    const keep = h("button", { type: "button", class: "quiet", onclick: () => this.#closeForm(item) }, "Keep it");
    item.form.replaceChildren(h("p", { class: "confirm", role: "group", "aria-label": "Delete this comment?" }, "Delete this comment?", sure, keep));
    sure.focus();
  }

  async #removeNow(item) {
    try {
      await this.#context.api.delete(`${this.#path}/${item.id}`);
      item.take({ ...item.comment, state: "deleted", author: null, body: "", html: "" });
      this.#closeForm(item);
      announce("Comment deleted");
    } catch (error) {
      item.form.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message));
    }
  }

  async #approve(item) {
    try {
      const comment = await this.#context.api.post(`${this.#path}/${item.id}/approve`, {});
      this.#asides.approved(item);
      (await this.#placeWithAncestors(comment)).markFresh();
      this.#focus(item.id);
    } catch (error) {
      item.form.replaceChildren(h("p", { class: "problem", role: "alert" }, error.message));
    }
  }

  async #react(item, kind, on) {
    if (!(await ensureAccount(this.#context))) throw new Error("nobody");
    const path = `${this.#path}/${item.id}/reactions/${encodeURIComponent(kind)}`;
    await (on ? this.#context.api.put(path) : this.#context.api.delete(path));
    item.mine = on ? [...item.mine, kind] : item.mine.filter((other) => other !== kind);
  }

  async #send(comment, op) {
    this.#sending += 1;
    try {
      const written = await this.#context.api.post(this.#path, comment, { op });
      if (!this.#items.has(written.id)) this.#place(bare(written), "new");
      this.#items.get(written.id).markFresh();
      this.#showWaiting();
      this.#focus(written.id);
      announce("Your comment is there");
    } finally {
      this.#sending -= 1;
    }
  }

  #signalTyping(on) {
    const now = Date.now();
    if (!this.#context.session.account || (on ? now - this.#typedAt < TYPING_EVERY_MS : this.#typedAt === 0)) return;
    this.#typedAt = on ? now : 0;
    // A signal that is lost is no matter: the next key sends another.
    this.#context.live.rpc("typing", { post: this.#post.id, on }).catch(() => (this.#typedAt = 0));
  }

  // -- pages

  async #loadFirst(loading) {
    const first = this.#context.api.get(`${this.#path}?order=${this.#order}&limit=${PAGE}`);
    const [page] = await Promise.all([first, this.#hidden.load()]);
    // Another page was asked for after this one.
    if (loading !== this.#loading) return null;
    this.#clear();
    this.#put(page);
    this.#asides.load(this.#moderates);
    return page.cursor;
  }

  async #loadNext() {
    const after = this.#next;
    const page = await this.#context.api.get(`${this.#path}?order=${this.#order}&limit=${PAGE}&after=${encodeURIComponent(after)}`);
    // The list was begun anew meanwhile, perhaps in another order.
    if (after !== this.#next) return;
    const last = this.#list.lastElementChild;
    this.#put(page);
    (last?.nextElementSibling ?? last)?.focus({ preventScroll: true });
  }

  async #loadMore() {
    this.#older.disabled = true;
    try {
      await this.#meanwhile.around(() => this.#loadNext());
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#older.disabled = false;
    }
  }

  async #loadBelow(item) {
    let after = "";
    do {
      const page = await this.#context.api.get(`${this.#path}?parent=${item.id}&limit=${THREAD_PAGE}${after}`);
      if (this.#items.get(item.id) !== item) return;
      for (const node of page.comments) this.#place(node);
      after = page.next ? `&after=${encodeURIComponent(page.next)}` : "";
    } while (after);
    item.setHidden(0);
    this.#showWaiting();
  }

  /** All that hangs on one comment. */
  async #loadThread(item) {
    try {
      await this.#meanwhile.around(() => this.#loadBelow(item));
    } catch (error) {
      this.#fail(error);
    }
  }

  #put(page) {
    for (const node of page.comments) if (node.comment.state !== "deleted" || node.replies > 0) this.#place(node);
    this.#next = page.next;
    this.#older.hidden = page.next === null;
    this.#older.textContent = "Show more comments";
    this.#problem.hidden = true;
    this.showTotal(page.total);
    this.#showWaiting();
  }

  #clear() {
    this.#items.clear();
    this.#waiting.clear();
    this.#list.replaceChildren();
    this.#tail.replaceChildren();
  }

  #fail(error) {
    this.#problem.textContent = error.message;
    this.#problem.hidden = false;
  }

  // -- places

  /**
   * Put a comment where it belongs; one that is there is brought up to date, or home from the tail. `origin` is "page" if a
   * page brought it, "new" if it has just been written, "old" if it was fetched out of turn because something hangs on it.
   */
  #place(node, origin = "page") {
    const { comment } = node;
    this.#waiting.delete(comment.id);
    const known = this.#items.get(comment.id);
    if (known) return this.#settle(known, node, origin);
    const parent = this.#items.get(comment.parent) ?? null;
    const item = new CommentItem(this.#host, { ...node, depth: parent ? parent.depth + 1 : node.depth }, parent);
    this.#items.set(item.id, item);
    if (this.#items.size > LONG) this.#list.classList.add("long");
    if (parent) this.#hang(item, parent);
    else this.#placeTop(item, origin);
    return item;
  }

  #settle(item, node, origin) {
    if (origin !== "page") {
      item.take(node.comment);
      return item;
    }
    item.takeAs(node.comment, node.apart);
    item.setHidden(node.hidden);
    item.takeReactions(node.reactions, node.mine);
    if (!item.parent && item.element.parentElement === this.#tail) this.#list.append(...this.#elementsOf(item));
    return item;
  }

  /** Among its siblings by number, which is their age. A page brings them in order, so the end is tried first. */
  #hang(item, parent) {
    const siblings = parent.children;
    let at = siblings.length;
    while (at > 0 && olderFirst(siblings[at - 1], item.id) > 0) at -= 1;
    const before = at === 0 ? parent : this.#lastBelow(this.#items.get(siblings[at - 1]));
    siblings.splice(at, 0, item.id);
    before.element.after(item.element);
    if (parent.folded || parent.element.hidden) this.#fold(parent, false);
    parent.hasReplies();
  }

  #placeTop(item, origin) {
    if (origin === "new" && this.#order !== "oldest") this.#list.prepend(item.element);
    else if (origin === "page" || this.#next === null) this.#list.append(item.element);
    else this.#tail.append(item.element);
  }

  #lastBelow(item) {
    let last = item;
    while (last.children.length) last = this.#items.get(last.children.at(-1));
    return last;
  }

  #elementsOf(item) {
    const elements = [];
    const stack = [item];
    while (stack.length) {
      const next = stack.pop();
      elements.push(next.element);
      for (const id of next.children.toReversed()) stack.push(this.#items.get(id));
    }
    return elements;
  }

  /** Hide or show what hangs on a comment. */
  #fold(item, folded = !item.folded) {
    for (let above = item; above && !folded; above = above.parent) above.setFolded(false);
    item.setFolded(folded, this.#elementsOf(item).length - 1);
    const stack = item.children.map((id) => [id, folded]);
    while (stack.length) {
      const [id, hidden] = stack.pop();
      const below = this.#items.get(id);
      below.element.hidden = hidden;
      for (const child of below.children) stack.push([child, hidden || below.folded]);
    }
  }

  // -- what has come meanwhile

  /** Whether it can appear at once: at the end of the list and in view, where nothing is pushed away. */
  #movesNothing(comment) {
    const last = this.#list.lastElementChild;
    if (this.#next !== null || this.#waiting.size > 0 || this.#tail.childElementCount > 0) return false;
    if (!last) return true;
    const parent = this.#items.get(comment.parent);
    const atEnd = parent ? this.#lastBelow(parent).element === last : !comment.parent && this.#order === "oldest";
    return atEnd && last.getBoundingClientRect().bottom < this.#context.around.bottom;
  }

  #appear(comment) {
    this.#place(bare(comment), "new").markFresh();
    announce(`New comment by ${comment.author?.name ?? "someone"}`);
  }

  async #reveal() {
    const arrived = [...this.#waiting.values()].sort((a, b) => olderFirst(a.id, b.id));
    this.#pill.disabled = true;
    try {
      for (const comment of arrived) (await this.#placeWithAncestors(comment)).markFresh();
    } catch (error) {
      this.#fail(error);
    }
    this.#pill.disabled = false;
    this.#showWaiting();
    const first = arrived.map(({ id }) => this.#items.get(id)?.element).filter(Boolean).sort(inReadingOrder)[0];
    if (first) this.#bring(first);
  }

  /** A reply may hang on comments that no page has brought yet: fetch these, up to one that is there. */
  async #placeWithAncestors(comment, origin = "new") {
    const chain = [comment];
    while (chain[0].parent && !this.#items.has(chain[0].parent) && chain.length < ANCESTORS_MAX) {
      const id = chain[0].parent;
      chain.unshift(this.#waiting.get(id) ?? (await this.#context.api.get(`${this.#path}/${id}`)));
    }
    const origins = chain.map((one) => (one === comment ? origin : this.#waiting.has(one.id) ? "new" : "old"));
    const placed = chain.map((one, at) => this.#place(bare(one), origins[at]));
    if (origins[0] === "old" && placed[0].parent === null) placed[0].setHidden(null);
    return placed.at(-1);
  }

  #showWaiting() {
    const n = this.#waiting.size;
    this.#pill.hidden = n === 0;
    if (n) this.#pill.replaceChildren(count(n, "new comment"));
    this.#empty.hidden = this.#items.size > 0 || n > 0;
  }

  /** Somebody has signed in or out: the same comments, with what they may do, and without whom they do not want to read. */
  async #readAsOther() {
    this.#showAll();
    await Promise.all([this.#hidden.load(), this.#readApart()]);
    this.#showAll();
  }

  /** Who was apart from one reader need not be from the next. */
  async #readApart() {
    const apart = [...this.#items.values()].filter((item) => item.apart);
    await Promise.all(apart.map((item) => this.#read(item, false)));
  }

  #showAll() {
    for (const item of this.#items.values()) item.show();
  }

  // -- around

  #orders() {
    const choose = async ({ target }) => {
      this.#order = target.value;
      keepOrder(target.value);
      if (await this.load()) announce(`Comments, ${ORDERS[this.#order].toLowerCase()} first`);
    };
    return h(
      "fieldset",
      { class: "orders", onchange: choose },
      h("legend", { class: "hidden-visually" }, "Order of the comments"),
      Object.entries(ORDERS).map(([value, text]) =>
        h("label", null, h("input", { type: "radio", name: "order", value, checked: value === this.#order }), h("span", null, text)),
      ),
    );
  }

  #followLink(event) {
    const id = event.target.closest("a[data-comment]")?.dataset.comment;
    if (!id || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    this.#context.around.mark(id);
    this.visit(id);
  }

  #focus(id) {
    const item = this.#items.get(id);
    if (!item) return;
    if (item.element.hidden) this.#fold(item.parent, false);
    this.#bring(item.element);
  }

  /** Into view, and the focus with it: there keyboard and screen reader go on. */
  #bring(element) {
    this.#context.around.bring(element);
    element.focus({ preventScroll: true });
  }
}

/** A comment as a page would bring it, if nothing else is known of it. */
function bare(comment) {
  return { comment, depth: 0, replies: 0, hidden: 0, reactions: {}, mine: [] };
}

/** Ids are decimal numbers too large for a double: the longer is the larger. */
function olderFirst(a, b) {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}

function inReadingOrder(a, b) {
  return a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_FOLLOWING ? -1 : 1;
}

/** What the reader has chosen, else `usual`, else newest first. */
function keptOrder(usual) {
  let kept = null;
  try {
    kept = localStorage.getItem(ORDER_KEY);
  } catch {
    // Storage may be forbidden.
  }
  return [kept, usual].find((order) => order in ORDERS) ?? "newest";
}

function keepOrder(order) {
  try {
    localStorage.setItem(ORDER_KEY, order);
  } catch {
    // Storage may be forbidden.
  }
}
