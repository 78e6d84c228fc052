/** People as they stand beside what they wrote. */

import { personHref } from "./addresses.js";
import { h } from "./dom.js";

/** The name, if anybody is named, as a link to the person's page where there is one. */
export function nameOf(author) {
  if (!author) return h("b", { class: "author" }, "someone");
  const href = personHref(author);
  return h("b", { class: "author" }, href ? h("a", { href }, author.name) : author.name);
}

/** A round initial in a colour of the person's own. */
export function avatar(author) {
  const name = author?.name ?? "?";
  const element = h("span", { class: "avatar", "aria-hidden": "true" }, [...name][0].toUpperCase());
  element.style.setProperty("--hue", hue(author?.id + name));
  return element;
}

/** A colour, in degrees: the same for the same text. */
function hue(text) {
  let sum = 0;
  for (const character of text) sum = (sum * 31 + character.codePointAt(0)) % 360_007;
  return sum % 360;
}
