/** The head of every page: the search, what one may do, the bell, who is reading, and the theme. */

import { Bell } from "./bell.js";
import { h, icon } from "./dom.js";
import { signInHref } from "./identity.js";
import { avatar } from "./people.js";
import { searchForm } from "./searchform.js";
import { themeButton } from "./themes.js";

/** Fill the navigation and keep it up to date with who is signed in. */
export function showMasthead(context) {
  const nav = document.getElementById("nav");
  const bell = new Bell(context);
  const parts = { find: find(), bell: bell.element, theme: themeButton() };
  const show = () => nav.replaceChildren(...links(context, parts).filter(Boolean));
  context.session.addEventListener("change", show);
  show();
}

function links({ session }, { find, bell, theme }) {
  const { account, member } = session;
  return [
    find,
    member && h("a", { href: "/write" }, "Write"),
    account && bell,
    account && h("a", { href: "/account", class: "me", title: "Your account" }, avatar(account), h("span", null, account.name)),
    !member && location.pathname !== "/sign-in" && h("a", { href: signInHref() }, "Sign in"),
    theme,
  ];
}

/** A field where there is room for it, else the way to one. */
function find() {
  if (location.pathname === "/search") return null;
  return h("div", { class: "find" }, searchForm(), h("a", { class: "round", href: "/search", "aria-label": "Search", title: "Search" }, icon("search")));
}
