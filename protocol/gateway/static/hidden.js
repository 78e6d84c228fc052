/** Those whom the reader blocks or mutes now: what they say in a conversation is covered. */

const LISTS = ["/v1/me/blocks?limit=100", "/v1/me/mutes?limit=100"];
const PAGES_MAX = 20;

export class Hidden {
  #context;
  #accounts = new Set();

  constructor(context) {
    this.#context = context;
  }

  has(author) {
    return this.#accounts.has(author?.id);
  }

  /** An extra: where it cannot be had, nothing is covered. */
  async load() {
    if (!this.#context.session.member) return this.#accounts.clear();
    const lists = await Promise.all(LISTS.map((path) => this.#read(path))).catch(() => []);
    this.#accounts = new Set(lists.flat());
  }

  async #read(path) {
    const accounts = [];
    for (let next = path, page = 0; next && page < PAGES_MAX; page += 1) {
      const read = await this.#context.api.page(next);
      accounts.push(...read.answer.map(({ id }) => id));
      next = read.next;
    }
    return accounts;
  }
}
