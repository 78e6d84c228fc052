/** What the reader is told, kept live: the latest groups and how many are unread. */

import { newOperation } from "./api.js";

const LATEST = 20;

/**
 * Fires "change" when anything of it has changed, "load" when it was read, "arrival" when something unread has come, and
 * "news" when there is more unread than before, which may be a moment later.
 */
export class Notices extends EventTarget {
  unread = 0;
  accounts = {};
  posts = {};
  #context;
  #groups = new Map();
  #cursor = null;
  #version = -1;
  #account = null;
  #starting = null;

  constructor(context) {
    super();
    this.#context = context;
    context.session.addEventListener("change", () => this.#become(context.session.account));
    this.#become(context.session.account);
  }

  /** Whether it is known what there is. */
  get known() {
    return this.#cursor !== null;
  }

  /** The groups that are known, the last changed first. */
  get latest() {
    return [...this.#groups.values()].sort((one, other) => other.offset - one.offset);
  }

  /** The reader looks: all that is known is read. What could not be had before is asked for again. */
  async markRead() {
    if (this.#account && !this.known) await this.#begin();
    if (!this.known || (this.unread === 0 && this.latest.every((group) => group.read))) return;
    const before = this.unread;
    this.unread = 0;
    this.#changed();
    try {
      // To do it twice changes nothing: under an operation it is tried again.
      this.#takeUnread(await this.#context.api.post("/v1/notifications/read", { cursor: this.#cursor }, { op: newOperation(), outlive: true }));
    } catch {
      // They are unread still, and counted so again; whoever looks the next time reads them.
      this.unread = Math.max(before, this.unread);
    }
    this.#changed();
  }

  /** Take what a page brings of older ones, too. */
  take({ groups, accounts, posts }) {
    Object.assign(this.accounts, accounts);
    Object.assign(this.posts, posts);
    for (const group of groups) this.#takeGroup(group);
    this.#changed();
  }

  #become(account) {
    if (this.#account === (account?.id ?? null)) return;
    if (this.#account) this.#context.live.unsubscribe(`notifications:${this.#account}`);
    this.#account = account?.id ?? null;
    this.#forget();
    this.#changed();
    if (account) this.#begin();
  }

  #forget() {
    this.unread = 0;
    this.accounts = {};
    this.posts = {};
    this.#groups.clear();
    this.#cursor = null;
    this.#version = -1;
    this.#starting = null;
  }

  /** Once at a time. */
  #begin() {
    const account = this.#account;
    this.#starting ??= this.#start().finally(() => account === this.#account && (this.#starting = null));
    return this.#starting;
  }

  async #start() {
    const account = this.#account;
    await this.#load();
    if (account !== this.#account || !this.known) return;
    this.#context.live.subscribe(`notifications:${account}`, {
      cursor: this.#cursor,
      onPublication: (publication, cursor) => this.#hear(publication, cursor),
      onReload: () => this.#load(),
    });
    this.#context.live.open();
  }

  /** An extra: where it cannot be had, the page stands without it. */
  async #load() {
    const account = this.#account;
    const page = await this.#context.api.get(`/v1/notifications?limit=${LATEST}`).catch(() => null);
    if (!page || account !== this.#account) return;
    this.#forgetSince(page.groups.length < LATEST ? 0 : page.groups.at(-1).offset);
    this.#cursor = page.cursor;
    this.unread = page.unread;
    this.take(page);
    this.dispatchEvent(new Event("load"));
  }

  /** What is not on a page that was read anew is gone, or was changed and is on it. */
  #forgetSince(offset) {
    for (const group of this.#groups.values()) if (group.offset >= offset) this.#groups.delete(group.id);
  }

  #hear(publication, cursor) {
    this.#cursor = cursor ?? this.#cursor;
    if (publication.type === "notification") this.#arrive(publication);
    else if (publication.type === "unread") this.#takeUnread(publication);
    this.#changed();
  }

  #arrive({ group, ...about }) {
    this.take({ ...about, groups: [group] });
    if (group.count > 0 && !group.read) this.dispatchEvent(new Event("arrival"));
  }

  #takeGroup(group) {
    const known = this.#groups.get(group.id);
    if (known && known.offset > group.offset) return;
    if (group.count > 0) this.#groups.set(group.id, group);
    else this.#groups.delete(group.id);
  }

  #takeUnread({ version, unread, read }) {
    if (version < this.#version) return;
    this.#version = version;
    for (const group of this.#groups.values()) {
      this.#groups.set(group.id, { ...group, read: group.read || group.offset <= read });
    }
    const more = unread > this.unread;
    this.unread = unread;
    if (more) this.dispatchEvent(new Event("news"));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
