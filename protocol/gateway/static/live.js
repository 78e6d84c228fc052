/**
 * A client of the Centrifuge protocol over WebSocket: as much of it as the page needs.
 *
 * It keeps one socket, comes back with growing pauses, resumes every subscription from the last offset it has
 * handed on, and renews its token before that runs out. Where no WebSocket gets through at all, it hears the same
 * streams as Server-Sent Events.
 */

import { backoff, request } from "./api.js";

const REPLY_TIMEOUT_MS = 8_000;
const PING_GRACE_MS = 10_000;
const BACKOFF_MIN_MS = 300;
const BACKOFF_MAX_MS = 15_000;
const TOKEN_EXPIRED = new Set([109, 110]);
const INVALID_TOKEN = 3500;
// After so many sockets that never opened, something on the way does not let them through.
const SOCKETS_TRIED = 3;

/** Fires "state" when `state` has changed: "closed" (also before `open`), "connecting", "live" or "waiting". */
export class Live extends EventTarget {
  state = "closed";
  #url;
  #session;
  #socket = null;
  #subscriptions = new Map();
  #replies = new Map();
  #lastId = 0;
  #attempt = 0;
  #retry = null;
  #silence = null;
  #renewal = null;
  #unopened = 0;
  /** While there is no socket but sources: which time it is that these are opened. */
  #listening = null;
  #sources = new Map();

  /** Whether a connection was lost, or could not be made, and is tried again. */
  get away() {
    return this.#attempt > 0 && (this.state === "waiting" || this.state === "connecting");
  }

  /** `session` gives `token()` and `renew(old)`; see session.js. */
  constructor(url, session) {
    super();
    this.#url = url;
    this.#session = session;
    window.addEventListener("online", () => {
      this.#unopened = 0;
      this.#hurry();
    });
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
    // A page with an open socket is not kept for the back button.
    window.addEventListener("pagehide", () => this.close());
    window.addEventListener("pageshow", ({ persisted }) => persisted && this.#subscriptions.size && this.open());
  }

  /**
   * Hear a channel. `cursor` is "<epoch>-<offset>", from where nothing may be missed. `onPublication(data, cursor)` gets
   * each publication, with the cursor after it if it has a place in the stream; `onReload()` is called where what was
   * missed cannot be given.
   */
  subscribe(channel, { cursor, onPublication, onReload }) {
    const subscription = { channel, epoch: "", offset: 0, onPublication, onReload, early: null };
    moveTo(subscription, cursor);
    this.#subscriptions.set(channel, subscription);
    if (this.#listening) this.#hear(subscription);
    else if (this.state === "live") this.#join(subscription).catch(() => this.#socket?.close());
  }

  /** Hear a channel no more. */
  unsubscribe(channel) {
    if (!this.#subscriptions.delete(channel)) return;
    this.#sources.get(channel)?.close();
    this.#sources.delete(channel);
    if (this.state === "live" && this.#socket) this.#request({ unsubscribe: { channel } }).catch(() => null);
  }

  /** Ask for something that is not worth a retry. Answers the data; throws when it cannot be had now. */
  async rpc(method, data) {
    if (this.state !== "live" || !this.#socket) throw new Error("not connected");
    const reply = await this.#request({ rpc: { method, data } });
    return reply.rpc?.data;
  }

  open() {
    if (this.state === "connecting" || this.state === "live") return;
    clearTimeout(this.#retry);
    this.#retry = null;
    this.#become("connecting");
    this.#connect();
  }

  close() {
    clearTimeout(this.#retry);
    this.#retry = null;
    const socket = this.#socket;
    this.#forget();
    socket?.close();
    this.#become("closed");
  }

  /** Connect anew, as whoever is signed in now. */
  reopen() {
    this.close();
    this.#attempt = 0;
    this.open();
  }

  #connect() {
    this.#unopened += 1;
    if (this.#unopened > SOCKETS_TRIED && this.#subscriptions.size) return this.#listen();
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    socket.onopen = () => {
      this.#unopened = 0;
      this.#greet(socket);
    };
    socket.onmessage = ({ data }) => socket === this.#socket && this.#receive(data);
    socket.onclose = ({ code }) => socket === this.#socket && this.#lost(code);
  }

  /** The same streams without a socket: what the browser's `EventSource` brings. */
  #listen() {
    this.#listening = {};
    for (const subscription of this.#subscriptions.values()) this.#hear(subscription);
  }

  async #hear(subscription) {
    const { channel } = subscription;
    const listening = this.#listening;
    try {
      const path = await this.#eventsPath(subscription);
      if (listening !== this.#listening || this.#subscriptions.get(channel) !== subscription) return;
      this.#sources.set(channel, this.#source(subscription, path));
    } catch {
      if (listening === this.#listening) this.#lost(0);
    }
  }

  /** With a ticket, where a stream is only its owner's: an `EventSource` sends no token. Throws `ApiError`. */
  async #eventsPath({ channel, epoch, offset }) {
    const [kind, id] = channel.split(":");
    const query = new URLSearchParams({ last_event_id: `${epoch}-${offset}` });
    if (kind === "post") return `/v1/posts/${id}/events?${query}`;
    const { ticket } = await request("POST", "/v1/tickets", { token: await this.#session.token() });
    query.set("ticket", ticket);
    return `/v1/${kind}/events?${query}`;
  }

  #source(subscription, path) {
    const source = new EventSource(path);
    source.onopen = () => {
      this.#attempt = 0;
      this.#become("live");
    };
    source.onmessage = ({ data, lastEventId }) => {
      subscription.onPublication(JSON.parse(data), lastEventId);
      moveTo(subscription, lastEventId);
    };
    source.addEventListener("reset", ({ lastEventId }) => {
      moveTo(subscription, lastEventId);
      subscription.onReload();
    });
    source.onerror = () => this.#sources.get(subscription.channel) === source && this.#lost(0);
    return source;
  }

  async #greet(socket) {
    const token = await this.#session.token();
    if (socket !== this.#socket) return;
    try {
      const { connect } = await this.#request({ connect: token ? { token } : {} });
      this.#expectPings(connect);
      this.#renewInTime(connect);
      for (const subscription of this.#subscriptions.values()) await this.#join(subscription);
      if (socket !== this.#socket) return;
      this.#attempt = 0;
      this.#become("live");
    } catch (error) {
      if (socket !== this.#socket) return;
      if (TOKEN_EXPIRED.has(error.code)) await this.#session.renew(token);
      socket.close();
      if (socket === this.#socket) this.#lost(0);
    }
  }

  async #join(subscription) {
    const { channel, epoch, offset } = subscription;
    // What is pushed behind the reply may be in the same frame, and is newer than what the reply brings.
    subscription.early = [];
    const { subscribe } = await this.#request({ subscribe: { channel, recover: true, epoch, offset } }).catch((error) => {
      // What is refused for good, as the stream of a post that is gone, must not keep the others from being heard.
      if (error.code === undefined || error.temporary) throw error;
      this.#subscriptions.delete(channel);
      return {};
    });
    if (!subscribe) return;
    subscription.epoch = subscribe.epoch ?? epoch;
    subscription.offset = subscribe.offset ?? 0;
    if (!subscribe.recovered) subscription.onReload();
    for (const publication of subscribe.publications ?? []) deliver(subscription, publication);
    // The counters of now, and of the comments that were reacted to meanwhile.
    if (subscribe.data) deliver(subscription, { data: subscribe.data });
    for (const publication of subscription.early) deliver(subscription, publication);
    subscription.early = null;
  }

  #receive(frame) {
    this.#heard();
    for (const line of frame.split("\n")) {
      if (!line) continue;
      const message = JSON.parse(line);
      if (message.id) this.#settle(message);
      else if (message.push) this.#pushed(message.push);
      else this.#send({});
    }
  }

  #settle(reply) {
    const waiting = this.#replies.get(reply.id);
    if (!waiting) return;
    this.#replies.delete(reply.id);
    clearTimeout(waiting.timeout);
    if (reply.error) waiting.reject(Object.assign(new Error(reply.error.message), reply.error));
    else waiting.resolve(reply);
  }

  #pushed({ channel, pub, disconnect, unsubscribe }) {
    const subscription = this.#subscriptions.get(channel);
    if (pub && subscription?.early) subscription.early.push(pub);
    else if (pub && subscription) deliver(subscription, pub);
    else if (unsubscribe && subscription) this.#socket.close();
    else if (disconnect) this.#lost(disconnect.code);
  }

  #request(command) {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timeout = setTimeout(() => {
        this.#replies.delete(id);
        reject(new Error("no reply"));
      }, REPLY_TIMEOUT_MS);
      this.#replies.set(id, { resolve, reject, timeout });
      this.#send({ id, ...command });
    });
  }

  #send(message) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(message));
  }

  #expectPings({ ping }) {
    this.#silence = ping ? { limit_ms: ping * 1000 + PING_GRACE_MS, timer: null } : null;
    this.#heard();
  }

  /** A dead network closes no socket: silence beyond the ping interval does. */
  #heard() {
    if (!this.#silence) return;
    clearTimeout(this.#silence.timer);
    this.#silence.timer = setTimeout(() => this.#lost(0), this.#silence.limit_ms);
  }

  #renewInTime({ expires, ttl }) {
    clearTimeout(this.#renewal);
    if (!expires) return;
    this.#renewal = setTimeout(() => this.#refresh(), Math.max(1, ttl - 15) * 1000);
  }

  async #refresh() {
    const socket = this.#socket;
    const token = await this.#session.token();
    if (!token || socket !== this.#socket) return;
    try {
      const { refresh } = await this.#request({ refresh: { token } });
      this.#renewInTime(refresh);
    } catch {
      if (socket === this.#socket) this.reopen();
    }
  }

  #lost(code) {
    const socket = this.#socket;
    // Nothing got through, so it was not for the sockets: when something does again, they come first.
    if (this.#listening) this.#unopened = 0;
    this.#forget();
    socket?.close();
    const final = (code >= 3500 && code < 4000) || (code >= 4500 && code < 5000);
    if (code === INVALID_TOKEN) this.#becomeValid();
    else if (final) this.#become("closed");
    else this.#wait(backoff(this.#attempt, BACKOFF_MIN_MS, BACKOFF_MAX_MS));
  }

  /** The token was refused: renew it, or go on as an anonymous reader. */
  async #becomeValid() {
    await this.#session.renew(await this.#session.token());
    this.#wait(backoff(this.#attempt, BACKOFF_MIN_MS, BACKOFF_MAX_MS));
  }

  #wait(pause_ms) {
    this.#attempt += 1;
    this.#become("waiting");
    this.#retry = setTimeout(() => this.open(), pause_ms);
  }

  #hurry() {
    if (this.state !== "waiting") return;
    clearTimeout(this.#retry);
    this.open();
  }

  #forget() {
    this.#socket = null;
    this.#listening = null;
    for (const source of this.#sources.values()) source.close();
    this.#sources.clear();
    clearTimeout(this.#silence?.timer);
    clearTimeout(this.#renewal);
    this.#silence = null;
    for (const { reject, timeout } of this.#replies.values()) {
      clearTimeout(timeout);
      reject(new Error("connection lost"));
    }
    this.#replies.clear();
  }

  #become(state) {
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }
}

function deliver(subscription, { data, offset }) {
  // The position moves with what is handed on, never before it.
  subscription.onPublication(data, offset ? `${subscription.epoch}-${offset}` : null);
  if (offset) subscription.offset = offset;
}

/** Take "<epoch>-<offset>" as the position, if it is one. */
function moveTo(subscription, cursor) {
  const dash = cursor.lastIndexOf("-");
  if (dash < 0) return;
  // What an id bears behind the epoch is for the browser's own way back, and for no address.
  subscription.epoch = cursor.slice(0, dash).split("~")[0];
  subscription.offset = Number(cursor.slice(dash + 1));
}
