/** The page of what a search has found: posts and comments, the best first. */

import { postHref } from "./addresses.js";
import { h, serverHtml } from "./dom.js";
import { Paging } from "./paging.js";
import { nameOf } from "./people.js";
import { searchForm } from "./searchform.js";
import { time } from "./words.js";

const PAGE = 20;
const KINDS = { all: "Everything", posts: "Posts", comments: "Comments" };

/** Show in `main` what the address searches for. Throws `ApiError`. */
export async function showSearch(context, main) {
  const query = new URLSearchParams(location.search);
  const words = query.get("q")?.trim() ?? "";
  const kind = query.get("kind") in KINDS ? query.get("kind") : "all";
  const form = searchForm({ query: words });
  const found = h("div", { class: "found" });
  main.replaceChildren(h("h1", { class: "hidden-visually" }, "Search"), form, found);
  document.title = `${words || "Search"} · ${context.site.title}`;
  if (words) await search(context, found, words, kind);
  else form.querySelector("input").focus();
}

async function search({ api }, found, words, kind) {
  const list = h("ol", { class: "hits" });
  const paging = new Paging(api, (hits) => list.append(...hits.map(hit)));
  found.replaceChildren(tabs(words, kind));
  try {
    await paging.open(`/v1/search?${new URLSearchParams({ q: words, kind, limit: PAGE })}`);
    found.append(list.childElementCount ? list : nothing(words), paging.element);
  } catch (error) {
    // The field stays, to try other words.
    if (!("status" in error)) throw error;
    found.append(h("p", { class: "problem", role: "alert" }, error.message));
  }
}

function tabs(words, current) {
  const href = (kind) => `/search?${new URLSearchParams({ q: words, ...(kind !== "all" && { kind }) })}`;
  const links = Object.entries(KINDS).map(([kind, text]) => h("a", { href: href(kind), "aria-current": kind === current && "page" }, text));
  return h("nav", { class: "tabs", "aria-label": "What to search" }, links);
}

function nothing(words) {
  return h("p", { class: "empty" }, "Nothing found for ", h("b", null, words), ". All words must be there; try fewer of them, or ", h("i", null, "one or another"), ".");
}

function hit({ kind, post, comment, title, slug, author, excerpt, created_at }) {
  const href = postHref({ id: post, slug }) + (comment ? `#c-${comment}` : "");
  return h(
    "li",
    { class: "hit", "data-kind": kind },
    h("h2", null, h("a", { href }, comment ? "On " : "", title)),
    serverHtml(h("p", { class: "excerpt" }), excerpt),
    h("p", { class: "byline" }, nameOf(author), h("span", null, comment ? "comment" : "post"), time(created_at)),
  );
}
