/** Where posts and people have their pages. */

const GUEST = /^guest-/;

export function postHref({ slug, id }) {
  return `/p/${encodeURIComponent(slug ?? id)}`;
}

/** Null for a guest, and for a name without an account. */
export function personHref({ handle }) {
  return handle && !GUEST.test(handle) ? `/@${encodeURIComponent(handle)}` : null;
}
