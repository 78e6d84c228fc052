/** The field to search with. */

import { h, icon } from "./dom.js";

const CHARS_MAX = 300;

/** It leads to the page of what is found; `query` is what it shows at first. */
export function searchForm({ query = "" } = {}) {
  const input = h("input", { type: "search", name: "q", value: query, "aria-label": "Search", placeholder: "Search", maxlength: CHARS_MAX, autocomplete: "off", enterkeyhint: "search" });
  const submit = (event) => {
    // The page's policy sends no form; and nothing is searched for by no words.
    event.preventDefault();
    const words = input.value.trim();
    if (words) location.assign(`/search?${new URLSearchParams({ q: words })}`);
    else input.focus();
  };
  return h("form", { class: "search", role: "search", onsubmit: submit }, icon("search"), input);
}
