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
export async function ensureAccount({ session, site }) {
  if (session.account) return true;
  return new Promise((resolve) => {
    const dialog = h("dialog", { class: "ask", "aria-labelledby": "ask-title" }, h("h2", { id: "ask-title" }, "Who is applauding?"));
    dialog.append(site.guests ? guestForm(dialog, session) : h("p", null, "Sign in to take part."), choices(dialog));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(session.account !== null);
    });
    document.body.append(dialog);
    dialog.showModal();
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

function choices(dialog) {
  return h(
    "p",
    { class: "choices" },
    h("a", { href: signInHref() }, "Sign in instead"),
    h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Not now"),
  );
}
