/** Who is named `@like-this` in what people wrote, as a link to their page. */

import { personHref } from "./addresses.js";
import { h } from "./dom.js";

// As the server reads it to find whom it tells.
const MENTION = /(?<![\p{L}\p{N}_@./-])@([A-Za-z0-9][A-Za-z0-9._-]{0,28}[A-Za-z0-9])(?![\p{L}\p{N}_@])/gu;
const AS_IT_IS = "a, code, pre";

export function linkMentions(element) {
  const walker = document.createTreeWalker(element, NodeFilter.SHOW_TEXT);
  const texts = [];
  while (walker.nextNode()) texts.push(walker.currentNode);
  for (const text of texts) {
    if (text.data.includes("@") && !text.parentElement.closest(AS_IT_IS)) text.replaceWith(...linked(text.data));
  }
}

function linked(text) {
  const parts = [];
  let end = 0;
  for (const { 0: mention, 1: handle, index } of text.matchAll(MENTION)) {
    const href = personHref({ handle: handle.toLowerCase() });
    if (!href) continue;
    parts.push(text.slice(end, index), h("a", { href, class: "mention" }, mention));
    end = index + mention.length;
  }
  return [...parts, text.slice(end)];
}
