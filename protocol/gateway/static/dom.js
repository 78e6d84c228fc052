/** Small helpers around the DOM: elements, icons, the server's HTML, announcements. */

/**
 * An element. Attributes named `on…` are listeners; `true` sets an empty attribute, `false` and null set none.
 * Children are nodes or texts; a null, undefined or `false` child is left out.
 */
export function h(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child != null && child !== false));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/** A picture from the sprite in the page; it says nothing to a screen reader. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  const known = document.getElementById(`icon-${name}`) !== null;
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#icon-${known ? name : "other"}`);
  svg.append(use);
  return svg;
}

// The page's policy allows no other way to turn a string into HTML than this one.
const policy = window.trustedTypes?.createPolicy("plaudit", { createHTML: (html) => html });

/** Fill `element` with an `html` field of the server, which has sanitised it. Nothing else may be passed here. */
export function serverHtml(element, html) {
  element.innerHTML = policy ? policy.createHTML(html) : html;
  // What may scroll sideways must be reachable by the keyboard.
  for (const wide of element.querySelectorAll("pre, table")) wide.tabIndex = 0;
  return element;
}

const BLOCKS = "p, h1, h2, h3, h4, h5, h6, li, blockquote, pre, tr, td, th, hr";
const BLOCK_END = "\0";
const ENDED = /[.!?…:;,]["'”’)\]]*$/;

/**
 * The text of an `html` field in one line, without its tags; nothing in it is loaded or run. Between two blocks stands
 * " · ", where the first does not end as a sentence does.
 */
export function textOf(html) {
  const { body } = new DOMParser().parseFromString(policy ? policy.createHTML(html) : html, "text/html");
  for (const block of body.querySelectorAll(BLOCKS)) {
    block.before(BLOCK_END);
    block.after(BLOCK_END);
  }
  const lines = body.textContent.split(BLOCK_END).map((text) => text.replace(/\s+/g, " ").trim()).filter(Boolean);
  return lines.map((line, at) => (ENDED.test(line) || at === lines.length - 1 ? line : `${line} ·`)).join(" ");
}

/** Tell those who listen to the page rather than see it. */
export function announce(text) {
  const announcer = document.getElementById("announcer");
  // The same text twice is read twice only if it was gone in between.
  announcer.textContent = "";
  requestAnimationFrame(() => (announcer.textContent = text));
}

/** Show `problem` in words inside the form, or take it away. */
export function showProblem(element, problem) {
  element.textContent = problem ? problem.message : "";
  element.hidden = !problem;
}
