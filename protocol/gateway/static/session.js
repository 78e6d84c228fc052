/** Who is reading: tokens kept in the browser, renewed by one tab at a time. */

import { request } from "./api.js";

const KEY = "plaudit.session";
const EARLY_MS = 30_000;

/** Fires "change" when someone signs in or out, in this tab or another. */
export class Session extends EventTarget {
  #kept;
  #renewal = null;

  constructor() {
    super();
    this.#kept = read();
    window.addEventListener("storage", ({ key }) => key === KEY && this.#adopt());
  }

  /** The account, or null for an anonymous reader. */
  get account() {
    return this.#kept?.account ?? null;
  }

  get member() {
    return this.account !== null && this.account.role !== "guest";
  }

  owns(author) {
    return this.account !== null && author?.id === this.account.id;
  }

  get moderates() {
    return ["moderator", "admin"].includes(this.account?.role);
  }

  /** A token that should be good for a while yet, or null. Never throws: a refused renewal signs out. */
  async token() {
    if (this.#kept?.refresh_token && this.#kept.expires_ms - EARLY_MS < Date.now()) await this.renew(this.#kept.access_token);
    return this.#kept?.access_token ?? null;
  }

  /** Replace the access token `old`. Answers whether there is a new one. */
  async renew(old) {
    this.#renewal ??= exclusively(() => this.#renew(old)).finally(() => (this.#renewal = null));
    return this.#renewal;
  }

  async #renew(old) {
    this.#kept = read();
    if (this.#kept?.access_token !== old) return this.#kept !== null;
    if (!this.#kept.refresh_token) {
      this.#keep(null);
      return false;
    }
    try {
      const granted = await request("POST", "/v1/sessions/refresh", { body: { refresh_token: this.#kept.refresh_token } });
      this.#keep(fromGrant({ refresh_token: this.#kept.refresh_token, ...granted }));
      return true;
    } catch (error) {
      if (!error.temporary) this.#keep(null);
      return false;
    }
  }

  async signIn(login, password) {
    this.#keep(fromGrant(await request("POST", "/v1/sessions", { body: { login, password } })));
  }

  async signUp(fields, op) {
    this.#keep(fromGrant(await request("POST", "/v1/accounts", { body: fields, op })));
  }

  async becomeGuest(name) {
    this.#keep(fromGrant(await request("POST", "/v1/guests", { body: { name } })));
  }

  /** Forget the account here at once; tell the server if it can be reached. */
  async signOut() {
    const token = this.#kept?.access_token;
    this.#keep(null);
    if (token) await request("DELETE", "/v1/sessions/current", { token }).catch(() => null);
  }

  /** The profile was changed: `granted` bears the new name. */
  adopt(granted) {
    this.#keep(fromGrant({ refresh_token: this.#kept?.refresh_token ?? null, ...granted }));
  }

  /** The account is gone. */
  forget() {
    this.#keep(null);
  }

  #keep(kept) {
    const before = this.account?.id;
    const named = this.account?.name;
    this.#kept = kept;
    write(kept);
    if (before !== this.account?.id || named !== this.account?.name) this.dispatchEvent(new Event("change"));
  }

  #adopt() {
    const before = this.account?.id;
    this.#kept = read();
    if (before !== this.account?.id) this.dispatchEvent(new Event("change"));
  }
}

/** What is kept of the server's `SignedIn`; without a new refresh token the old one stays valid. */
function fromGrant({ account, access_token, expires_at, refresh_token = null }) {
  return { account, access_token, refresh_token, expires_ms: Date.parse(expires_at) };
}

/** Two tabs that renewed at once would use one refresh token twice. */
function exclusively(work) {
  return navigator.locks ? navigator.locks.request(KEY, work) : work();
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}

function write(kept) {
  try {
    if (kept) localStorage.setItem(KEY, JSON.stringify(kept));
    else localStorage.removeItem(KEY);
  } catch {
    // Storage may be forbidden: the session then lasts as long as the page.
  }
}
