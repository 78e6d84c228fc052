/** What is being written, kept over a reload of the tab, with the operation id it is to be sent under. */

import { newOperation } from "./api.js";

/** One draft. The id stays the same for the same text, so that what is sent again is not doubled. */
export class Draft {
  #key;
  #kept;

  constructor(key) {
    this.#key = `plaudit.draft.${key}`;
    this.#kept = read(this.#key) ?? { text: "", op: newOperation(), attempted: null };
  }

  get text() {
    return this.#kept.text;
  }

  set text(text) {
    this.#kept.text = text;
    this.#write();
  }

  /** The id to send the text under, `content` being all that is sent; changed content after an attempt is another write. */
  operationFor(content) {
    if (this.#kept.attempted !== null && this.#kept.attempted !== content) this.#kept.op = newOperation();
    this.#kept.attempted = content;
    this.#write();
    return this.#kept.op;
  }

  clear() {
    this.#kept = { text: "", op: newOperation(), attempted: null };
    try {
      sessionStorage.removeItem(this.#key);
    } catch {
      // As below.
    }
  }

  #write() {
    try {
      sessionStorage.setItem(this.#key, JSON.stringify(this.#kept));
    } catch {
      // Storage may be forbidden or full: the draft then lasts as long as the page.
    }
  }
}

function read(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key));
  } catch {
    return null;
  }
}
