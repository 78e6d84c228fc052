/** The form in which a comment is written, as oneself or as a guest with a name. */

import { Draft } from "./drafts.js";
import { h, showProblem } from "./dom.js";
import { guestNameField } from "./identity.js";
import { figure } from "./words.js";

const BODY_CHARS_MAX = 10_000;
const WARN_BELOW = 500;

/**
 * A form for one comment.
 *
 * `send(body, op)` resolves when the comment is durable. `draftKey` names what is being written, `text` is what to begin
 * with where there is no draft, `onCancel` makes a cancel button, `onTyping(on)` hears the keys.
 */
export class Composer {
  #context;
  #draft;
  #area;
  #guest;
  #problem;
  #left;
  #button;
  #action;
  #send;
  #onTyping;

  constructor(context, { label, action, draftKey, text = "", send, onCancel = null, onTyping = () => {} }) {
    this.#context = context;
    this.#send = send;
    this.#onTyping = onTyping;
    this.#draft = new Draft(draftKey);
    this.#area = this.#textarea(label, this.#draft.text || text);
    this.#guest = guestNameField();
    this.#problem = h("p", { class: "problem", role: "alert", hidden: true });
    this.#left = h("span", { class: "left", "aria-live": "polite" });
    this.#action = action;
    this.#button = h("button", { class: "primary" }, action);
    this.element = this.#form(onCancel);
    this.#showWho();
    this.#showLeft();
    context.session.addEventListener("change", () => this.#showWho());
  }

  focus() {
    this.#area.focus();
    this.#area.setSelectionRange(this.#area.value.length, this.#area.value.length);
  }

  #textarea(label, text) {
    const area = h("textarea", {
      "aria-label": label,
      placeholder: label,
      rows: 3,
      maxlength: BODY_CHARS_MAX,
      oninput: () => this.#written(),
      onkeydown: (event) => event.key === "Enter" && (event.ctrlKey || event.metaKey) && this.element.requestSubmit(),
      onblur: () => this.#onTyping(false),
    });
    area.value = text;
    return area;
  }

  #form(onCancel) {
    const cancel = onCancel && h("button", { type: "button", class: "quiet", onclick: onCancel }, "Cancel");
    const form = h(
      "form",
      { class: "composer", onsubmit: (event) => this.#submit(event) },
      this.#area,
      h("div", { class: "who" }, this.#guest.label, h("span", { class: "or" }, "or ", this.#context.around.signIn("sign in"))),
      this.#problem,
      h(
        "div",
        { class: "row" },
        h("p", { class: "hint" }, "Markdown: ", h("b", null, "**bold**"), ", ", h("i", null, "*italic*"), ", > quote, `code`, [link](https://…) "),
        this.#left,
        cancel,
        this.#button,
      ),
    );
    if (onCancel) form.addEventListener("keydown", (event) => event.key === "Escape" && onCancel());
    return form;
  }

  #written() {
    this.#draft.text = this.#area.value;
    this.#showLeft();
    showProblem(this.#problem, null);
    this.#onTyping(this.#area.value.trim() !== "");
  }

  #showLeft() {
    const left = BODY_CHARS_MAX - this.#area.value.length;
    this.#left.textContent = left < WARN_BELOW ? `${figure(left)} left` : "";
  }

  #showWho() {
    const { session, site } = this.#context;
    const known = session.account !== null;
    this.element.querySelector(".who").hidden = known;
    this.#guest.label.hidden = !site.guests;
    this.#guest.input.disabled = known || !site.guests;
    this.element.querySelector(".or").firstChild.textContent = site.guests ? "or " : "To comment, ";
    this.#button.disabled = !known && !site.guests;
  }

  async #submit(event) {
    event.preventDefault();
    const body = this.#area.value.trim();
    if (!body) return this.#refuse(new Error("Write something first."));
    this.#busy(true);
    this.#onTyping(false);
    try {
      const { session } = this.#context;
      if (!session.account) await session.becomeGuest(this.#guest.input.value.trim());
      await this.#send(body, this.#draft.operationFor(body));
      this.#draft.clear();
      this.#area.value = "";
      this.#showLeft();
      showProblem(this.#problem, null);
    } catch (error) {
      this.#refuse(error);
    } finally {
      this.#busy(false);
    }
  }

  /** Where sending takes long because the server is away, the button says so. */
  #showWait = () => {
    this.#button.textContent = this.#button.disabled && this.#context.live.away ? "Waiting for the connection…" : this.#action;
  };

  #refuse(error) {
    showProblem(this.#problem, error);
    this.#area.focus();
  }

  #busy(on) {
    const { live } = this.#context;
    this.#button.disabled = on;
    if (on) live.addEventListener("state", this.#showWait);
    else live.removeEventListener("state", this.#showWait);
    this.#showWait();
    this.#area.readOnly = on;
    this.element.setAttribute("aria-busy", String(on));
  }
}
