/** What is around a conversation in a frame: the page that embeds it, where embed.js is the other side. */

import { signInPanel } from "./account.js";
import { h } from "./dom.js";
import { ask } from "./identity.js";

const HTTP = /^https?:$/;

/**
 * The page at `address`, of `origin`; messages go to that origin and are believed from it alone. It is for the
 * conversation what `around` in around.js is on the blog. Fires "visit" with the `detail` of which comment to show.
 */
export class Host extends EventTarget {
  #origin;
  #address;
  #seen = { top: 0, bottom: Infinity };
  #floating = new Set();
  #context = null;

  constructor(origin, address) {
    super();
    this.#origin = origin;
    this.#address = pageOf(origin, address);
    window.addEventListener("message", (event) => this.#hear(event));
    new ResizeObserver(() => this.#tellSize()).observe(document.documentElement);
  }

  /** From now on messages are heard, and `context` serves who wants to sign in. */
  begin(context) {
    this.#context = context;
    this.#tell({ type: "ready" });
  }

  href(id) {
    return `${this.#address}#c-${id}`;
  }

  mark(comment) {
    this.#tell({ type: "mark", comment });
  }

  bring(element) {
    const { top, height } = element.getBoundingClientRect();
    // What has just come is part of the size only with the next frame.
    this.#tellSize();
    this.#tell({ type: "bring", top, height });
  }

  get bottom() {
    return Math.min(this.#seen.bottom, window.innerHeight);
  }

  float(element) {
    this.#floating.add(element);
    this.#keepInSight(element);
  }

  /** Within the frame: the browser keeps what is signed in here apart for each site that embeds it. */
  signIn(text) {
    return h("button", { type: "button", class: "link", onclick: () => this.#askWho() }, text);
  }

  #askWho() {
    const dialog = h("dialog", { "aria-labelledby": "sign-in-title" });
    const heading = h("h2", { id: "sign-in-title" });
    dialog.append(
      signInPanel(this.#context, { heading, done: () => dialog.close() }),
      h("p", { class: "choices" }, h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Not now")),
    );
    return ask(dialog, this);
  }

  #hear({ source, origin, data }) {
    if (source !== window.parent || origin !== this.#origin) return;
    if (data?.type === "theme") document.documentElement.dataset.theme = data.theme;
    else if (data?.type === "seen") this.#see(data);
    else if (data?.type === "visit") this.dispatchEvent(new CustomEvent("visit", { detail: data.comment }));
  }

  #see({ top, bottom }) {
    this.#seen = { top, bottom };
    for (const element of this.#floating) {
      if (element.isConnected) this.#keepInSight(element);
      else this.#floating.delete(element);
    }
  }

  /** On the few that float: on the root, every element would be styled anew at each step of scrolling. */
  #keepInSight(element) {
    element.style.setProperty("--seen-top", `${this.#seen.top}px`);
    element.style.setProperty("--seen-bottom", `${this.bottom}px`);
  }

  #tellSize() {
    this.#tell({ type: "size", height: Math.ceil(document.documentElement.getBoundingClientRect().height) });
  }

  #tell(message) {
    if (window.parent !== window) window.parent.postMessage(message, this.#origin);
  }
}

/** `address` if it is one of a page of `origin`; else where that begins. */
function pageOf(origin, address) {
  try {
    const url = new URL(address);
    if (HTTP.test(url.protocol) && url.origin === origin) return address;
  } catch {
    // Whoever made the frame's address wrote what they liked.
  }
  return `${origin}/`;
}
