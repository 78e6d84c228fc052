/** The bell in the masthead: how much is unread, and below it what happened last. */

import { announce, h, icon } from "./dom.js";
import { NoticeList } from "./notice.js";
import { popover } from "./popover.js";
import { count, figure } from "./words.js";

const UNREAD_SHOWN_MAX = 99;
const SHOWN_MAX = 20;

export class Bell {
  #context;
  #button = h("button", { type: "button", class: "round bell" });
  #list;
  // It takes the focus as it opens, and Escape gives it back to the bell.
  #panel = h("section", { class: "bell-panel", "aria-label": "Notifications", tabindex: "-1", autofocus: true });
  element = h("div", { class: "bell-place" }, this.#button, this.#panel);

  constructor(context) {
    this.#context = context;
    this.#list = new NoticeList(context);
    this.#panel.append(h("header", null, h("h2", null, "Notifications"), h("a", { href: "/notifications" }, "All")), this.#list.element);
    popover(this.#button, this.#panel);
    this.#panel.addEventListener("beforetoggle", ({ newState }) => (newState === "open" ? this.#opening() : this.#list.forget()));
    this.#panel.addEventListener("click", ({ target }) => target.closest("a") && this.#panel.hidePopover());
    context.notices.addEventListener("change", () => this.#show());
    context.notices.addEventListener("news", () => this.#tell());
    context.notices.addEventListener("arrival", () => this.#readIfSeen());
    // Who comes back to a tab in which it is open sees what has come.
    document.addEventListener("visibilitychange", () => this.#readIfSeen());
    this.#show();
  }

  #opening() {
    this.#showList();
    this.#context.notices.markRead();
  }

  #show() {
    const { unread } = this.#context.notices;
    const amount = unread > UNREAD_SHOWN_MAX ? `${UNREAD_SHOWN_MAX}+` : unread || "";
    this.#button.replaceChildren(icon("bell"), h("span", { class: "unread-count", "aria-hidden": "true" }, String(amount)));
    this.#button.setAttribute("aria-label", unread ? `Notifications, ${figure(unread)} unread` : "Notifications");
    if (this.#open) this.#showList();
  }

  #tell() {
    announce(count(this.#context.notices.unread, "unread notification"));
    this.#readIfSeen();
  }

  #readIfSeen() {
    if (this.#open && !document.hidden) this.#context.notices.markRead();
  }

  get #open() {
    return this.#panel.matches(":popover-open");
  }

  #showList() {
    this.#list.show(this.#context.notices.latest.slice(0, SHOWN_MAX));
  }
}
