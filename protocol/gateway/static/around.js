/** What is around a conversation on the blog: the window itself. In a frame it is the page that embeds it, see host.js. */

import { h } from "./dom.js";
import { signInHref } from "./identity.js";

export const around = {
  /** Where the comment `id` can be read. */
  href: (id) => `#c-${id}`,

  /** The comment `id` is looked at: the address says so. */
  mark: (id) => history.replaceState(null, "", `#c-${id}`),

  /** Bring `element` into view. */
  bring(element) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    element.scrollIntoView({ block: "center", behavior: calm ? "auto" : "smooth" });
  },

  /** Where ends what can be seen, in pixels from the top of the viewport. */
  get bottom() {
    return window.innerHeight;
  },

  /** Keep `element`, which floats above the rest, where it can be seen: here its style does. */
  float() {},

  /** What leads to signing in. */
  signIn: (text) => h("a", { href: signInHref() }, text),
};
