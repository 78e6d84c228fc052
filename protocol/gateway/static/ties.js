/** Whom one follows, blocks and mutes has changed: said to the other tabs, and to pages that the back button brings back. */

import { newOperation } from "./api.js";

const KEY = "plaudit.ties";

export function tiesChanged() {
  try {
    localStorage.setItem(KEY, newOperation());
  } catch {
    // Storage may be forbidden: the others then see it when they are loaded anew.
  }
}

/** Call `then()` when it was changed elsewhere. */
export function whenTiesChange(then) {
  let known = latest();
  const look = () => {
    const now = latest();
    if (now !== known) then();
    known = now;
  };
  window.addEventListener("storage", ({ key }) => key === KEY && look());
  window.addEventListener("pageshow", ({ persisted }) => persisted && look());
}

function latest() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
