/** Signing in and up, and one's own account. */

import { personHref } from "./addresses.js";
import { newOperation } from "./api.js";
import { peopleApart } from "./apart.js";
import { h, showProblem } from "./dom.js";
import { NAME_CHARS_MAX } from "./identity.js";

/** The page on which one signs in or up; it leads back to `next`. */
export function showSignIn(context, main) {
  const query = new URLSearchParams(location.search);
  const go = () => location.replace(safePath(query.get("next")));
  if (context.session.member) return go();
  const panel = signInPanel(context, { heading: h("h1"), anew: query.has("new"), done: go });
  main.replaceChildren(h("div", { class: "narrow" }, panel));
  document.title = `Sign in · ${context.site.title}`;
  panel.querySelector("input").focus();
}

/** The form to sign in, and (first, if `anew`) the one to sign up; `heading` says which. `done()` follows a success. */
export function signInPanel(context, { heading, anew = false, done }) {
  const panels = { in: signInForm(context, done), up: context.site.sign_up ? signUpForm(context, done) : null };
  const place = h("div");
  const show = (which) => {
    heading.textContent = which === "up" ? "Make an account" : "Sign in";
    place.replaceChildren(panels[which], panels.up ? swap(which, show) : "");
    place.querySelector("input").focus();
  };
  show(anew && panels.up ? "up" : "in");
  return h("div", { class: "panel" }, heading, place);
}

/** Only a path of this site: the address could be anyone's making. */
function safePath(next) {
  const url = new URL(next ?? "/", location.origin);
  return url.origin === location.origin && next?.startsWith("/") ? url.pathname + url.search + url.hash : "/";
}

function swap(which, show) {
  const other = which === "up" ? "in" : "up";
  return h(
    "p",
    { class: "choices" },
    which === "up" ? "Already have an account? " : "New here? ",
    h("button", { type: "button", class: "link", onclick: () => show(other) }, other === "up" ? "Make an account" : "Sign in"),
  );
}

function field(label, attributes, hint = null) {
  const id = `hint-${attributes.name}`;
  const input = h("input", { ...attributes, "aria-describedby": hint && id });
  return h("div", null, h("label", { class: "field" }, h("span", null, label), input), hint && h("p", { class: "hint", id }, hint));
}

/** A form that sends its fields, without the empty ones, and shows in words what is refused. */
function form(action, fields, submit) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const button = h("button", { class: "primary" }, action);
  const onsubmit = async (event) => {
    event.preventDefault();
    button.disabled = true;
    showProblem(problem, null);
    try {
      await submit(Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value !== "")));
    } catch (error) {
      showProblem(problem, error);
    } finally {
      button.disabled = false;
    }
  };
  return h("form", { class: "stack", onsubmit }, fields, problem, button);
}

function signInForm({ session }, go) {
  const fields = [
    field("User name or e-mail", { name: "login", autocomplete: "username", required: true }),
    field("Password", { name: "password", type: "password", autocomplete: "current-password", required: true }),
  ];
  return form("Sign in", fields, async ({ login, password }) => {
    await session.signIn(login.trim(), password);
    go();
  });
}

function signUpForm({ session }, go) {
  const op = newOperation();
  const fields = [
    field(
      "User name",
      { name: "handle", autocomplete: "username", required: true, pattern: "[A-Za-z0-9][A-Za-z0-9_\\-]{1,29}", maxlength: 30, title: "Letters, digits, _ and -; at least two" },
      "Letters, digits, _ and -.",
    ),
    field("Name shown", { name: "name", autocomplete: "name", maxlength: NAME_CHARS_MAX }, "Beside what you write. Your user name, if left empty."),
    field("E-mail", { name: "email", type: "email", autocomplete: "email" }, "If you like; never shown."),
    field("Password", { name: "password", type: "password", autocomplete: "new-password", minlength: 8, required: true }, "At least 8 characters."),
  ];
  return form("Make the account", fields, async (values) => {
    await session.signUp(values, op);
    go();
  });
}

/** One's own profile, and the ways out. Throws `ApiError`. */
export async function showAccount(context, main) {
  const { api, session } = context;
  if (!session.account) return location.replace("/sign-in?next=/account");
  const account = await api.get("/v1/me");
  document.title = `${account.name} · ${context.site.title}`;
  const saved = h("p", { class: "hint", role: "status" });
  const fields = [
    field("Name shown", { name: "name", value: account.name, required: true, maxlength: NAME_CHARS_MAX }),
    field("Address of your own site", { name: "url", type: "url", value: account.url ?? "", placeholder: "https://" }),
  ];
  const profile = form("Save", fields, async (values) => {
    // An address that was emptied is to be taken away.
    session.adopt(await api.patch("/v1/me", { url: "", ...values }));
    saved.textContent = "Saved.";
  });
  main.replaceChildren(
    h(
      "div",
      { class: "narrow" },
      h("h1", null, account.name),
      h("p", { class: "hint" }, account.role === "guest" ? "A guest of this browser." : `@${account.handle}${account.email ? ` · ${account.email}` : ""}`),
      h("p", { class: "ways" }, ...ownPages(account)),
      profile,
      saved,
      await ownDrafts(context, account),
      account.role === "guest" ? null : await peopleApart(context),
      waysOut(context, account),
    ),
  );
}

function ownPages(account) {
  const href = personHref(account);
  return [href && h("a", { href }, "Your page"), h("a", { href: "/bookmarks" }, "Bookmarks"), h("a", { href: "/notifications" }, "Notifications")].filter(Boolean);
}

async function ownDrafts({ api, session }, account) {
  if (!session.member) return null;
  const posts = await api.get(`/v1/posts?drafts=true&author=${encodeURIComponent(account.handle)}`).catch(() => []);
  const drafts = posts.filter(({ state }) => state === "draft" || state === "scheduled");
  if (!drafts.length) return null;
  const items = drafts.map((post) => h("li", null, h("a", { href: `/write?post=${post.id}` }, post.title), " ", h("span", { class: "badge" }, post.state)));
  return h("section", null, h("h2", null, "Not published yet"), h("ul", { class: "plain" }, items));
}

function waysOut({ api, session }, account) {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const leave = async () => {
    await session.signOut();
    location.assign("/");
  };
  const end = async () => {
    try {
      await api.delete("/v1/me");
      session.forget();
      location.assign("/");
    } catch (error) {
      showProblem(problem, error);
    }
  };
  const sure = h("button", { type: "button", class: "danger", onclick: end }, "Delete it for good");
  const details = h("details", null, h("summary", null, "Delete this account"), h("p", null, "Your name is taken out of what you wrote here. This cannot be undone."), sure, problem);
  const warning = account.role === "guest" ? h("p", { class: "hint" }, "A guest who signs out cannot come back to edit these comments.") : null;
  return h("section", { class: "ways-out" }, warning, h("button", { type: "button", onclick: leave }, "Sign out"), details);
}
