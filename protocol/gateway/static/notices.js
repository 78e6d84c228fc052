/** What the reader is told, kept live: the latest groups and how many are unread. */

const LATEST = 20;

/** Fires "change" when anything of it has changed, and "rise" when there are more unread ones. */
export class Notices extends EventTarget {
  unread = 0;
  accounts = {};
  posts = {};
  #context;
  #groups = new Map();
  #cursor = null;
  #version = -1;
  #account = null;

  constructor(context) {
    super();
    this.#context = context;
    context.session.addEventListener("change", () => this.#become(context.session.account));
    this.#become(context.session.account);
  }

  /** The groups that are known, the last changed first. */
  get latest() {
    return [...this.#groups.values()].sort((one, other) => other.offset - one.offset);
  }

  /** Say that all that is known is read. */
  async markRead() {
    if (this.unread === 0 || this.#cursor === null) return;
    const before = this.unread;
    this.unread = 0;
    this.#changed();
    try {
      this.#takeUnread(await this.#context.api.post("/v1/notifications/read", { cursor: this.#cursor }));
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
    if (account) this.#start();
  }

  #forget() {
    this.unread = 0;
    this.accounts = {};
    this.posts = {};
    this.#groups.clear();
    this.#cursor = null;
    this.#version = -1;
  }

  async #start() {
    const account = this.#account;
    await this.#load();
    if (account !== this.#account || this.#cursor === null) return;
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
    this.#setUnread(page.unread);
    this.take(page);
  }

  /** What is not on a page that was read anew is gone, or was changed and is on it. */
  #forgetSince(offset) {
    for (const group of this.#groups.values()) if (group.offset >= offset) this.#groups.delete(group.id);
  }

  #hear(publication, cursor) {
    this.#cursor = cursor ?? this.#cursor;
    if (publication.type === "notification") this.take({ ...publication, groups: [publication.group] });
    else if (publication.type === "unread") this.#takeUnread(publication);
    this.#changed();
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
    for (const group of this.#groups.values()) this.#groups.set(group.id, { ...group, read: group.offset <= read });
    this.#setUnread(unread);
  }

  #setUnread(unread) {
    const rises = unread > this.unread;
    this.unread = unread;
    if (rises) this.dispatchEvent(new Event("rise"));
  }

  #changed() {
    this.dispatchEvent(new Event("change"));
  }
}
