/** The JSON interface over HTTP: tokens, retries that double nothing, and errors as words. */

import { problemWords } from "./words.js";

const PATIENCE_MS = 20_000;
const BACKOFF_MIN_MS = 400;
const BACKOFF_MAX_MS = 4_000;
const REQUEST_TIMEOUT_MS = 15_000;
const NEXT = /<([^>]*)>; rel="next"/;

/** A refusal by the server, or its absence (`code` "offline"); `message` is fit to be shown. */
export class ApiError extends Error {
  constructor(code, detail, { status = 0, retryAfterMs = null } = {}) {
    super(problemWords(code, detail));
    this.code = code;
    this.status = status;
    this.retryAfterMs = retryAfterMs;
  }

  /** Whether the same request may succeed later. */
  get temporary() {
    return this.code === "offline" || this.status === 429 || this.status >= 500;
  }
}

/** A name for one intended write: sent again with it, the write is still done once. */
export function newOperation() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class Api {
  #session;

  constructor(session) {
    this.#session = session;
  }

  get(path) {
    return this.#call("GET", path, {});
  }

  /** One page of a list: its `answer`, and the path of the `next` page or null. */
  page(path) {
    return this.#call("GET", path, { ask: requestPage });
  }

  /** A POST is repeated after a failure only under an operation id. If it is to `outlive` the page, it is short. */
  post(path, body, { op = null, outlive = false } = {}) {
    return this.#call("POST", path, { body, op, outlive, once: op === null });
  }

  put(path, body = undefined) {
    // Applause is sent as the page goes away.
    return this.#call("PUT", path, { body, outlive: true });
  }

  patch(path, body, { op = newOperation() } = {}) {
    return this.#call("PATCH", path, { body, op });
  }

  delete(path) {
    return this.#call("DELETE", path, {});
  }

  async #call(method, path, { body, op = null, outlive = false, once = false, ask = request }) {
    const giveUp = Date.now() + PATIENCE_MS;
    let renewed = false;
    for (let attempt = 0; ; attempt += 1) {
      const token = await this.#session.token();
      try {
        return await ask(method, path, { body, op, outlive, token });
      } catch (error) {
        if (error.status === 401 && token && !renewed && (await this.#session.renew(token))) {
          renewed = true;
          continue;
        }
        const wait_ms = error.retryAfterMs ?? backoff(attempt);
        if (once || !error.temporary || Date.now() + wait_ms > giveUp) throw error;
        await new Promise((resolve) => setTimeout(resolve, wait_ms));
      }
    }
  }
}

/** Exponential, with jitter: many pages that lost one server must not return in one instant. */
export function backoff(attempt, min_ms = BACKOFF_MIN_MS, max_ms = BACKOFF_MAX_MS) {
  const ceiling_ms = Math.min(max_ms, min_ms * 2 ** attempt);
  return ceiling_ms / 2 + (Math.random() * ceiling_ms) / 2;
}

/** One request. Answers the JSON, or null where there is none. Throws `ApiError`. */
export async function request(method, path, options) {
  const { answer } = await exchange(method, path, options);
  return answer;
}

async function requestPage(method, path, options) {
  const { answer, response } = await exchange(method, path, options);
  return { answer, next: NEXT.exec(response.headers.get("Link"))?.[1] ?? null };
}

async function exchange(method, path, { body, op = null, outlive = false, token = null } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (op) headers["Idempotency-Key"] = op;
  if (token) headers.Authorization = `Bearer ${token}`;
  let response;
  let text;
  try {
    response = await fetch(path, {
      method,
      headers,
      cache: "no-cache",
      body: body === undefined ? undefined : JSON.stringify(body),
      keepalive: outlive,
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    text = await response.text();
  } catch {
    throw new ApiError("offline");
  }
  const answer = parsed(text);
  if (response.ok) return { answer, response };
  const seconds = Number(response.headers.get("Retry-After"));
  throw new ApiError(answer?.code ?? "internal", answer?.detail ?? answer?.title, {
    status: response.status,
    retryAfterMs: seconds > 0 ? seconds * 1000 : null,
  });
}

function parsed(text) {
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}
