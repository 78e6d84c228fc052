/** Asks who someone is at the moment it first matters. */

import { h, showProblem } from "./dom.js";

export const NAME_CHARS_MAX = 80;

/** The address of the sign-in page that leads back here. */
export function signInHref() {
  return `/sign-in?next=${encodeURIComponent(location.pathname + location.search + location.hash)}`;
}

/** The field for a guest's name, with its label. */
export function guestNameField() {
  const input = h("input", { name: "name", autocomplete: "nickname", maxlength: NAME_CHARS_MAX, required: true });
  return { input, label: h("label", { class: "field" }, h("span", null, "Your name"), input) };
}

/** Resolves to whether there is an account now: the one signed in, or that of a guest who has just given a name. */
export async function ensureAccount({ session, site, around }) {
  if (session.account) return true;
  const dialog = h("dialog", { "aria-labelledby": "ask-title" }, h("h2", { id: "ask-title" }, "Who are you?"));
  dialog.append(site.guests ? guestForm(dialog, session) : h("p", null, "Sign in to take part."), choices(dialog, around));
  await ask(dialog, around);
  return session.account !== null;
}

/** Show `dialog` until it is closed. */
export function ask(dialog, around) {
  document.body.append(dialog);
  around.float(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve();
    });
  });
}

function guestForm(dialog, session) {
  const { input, label } = guestNameField();
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const submit = async (event) => {
    event.preventDefault();
    try {
      await session.becomeGuest(input.value.trim());
      dialog.close();
    } catch (error) {
      showProblem(problem, error);
      input.focus();
    }
  };
  return h(
    "form",
    { onsubmit: submit },
    h("p", { class: "hint" }, "A name is enough. Reactions count once a person."),
    label,
    problem,
    h("button", { class: "primary" }, "Continue as a guest"),
  );
}

function choices(dialog, around) {
  const instead = around.signIn("Sign in instead");
  // Before what it does itself, which may be to open the next.
  instead.addEventListener("click", () => dialog.close(), { capture: true });
  return h(
    "p",
    { class: "choices" },
    instead,
    h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Not now"),
  );
}
