/** What the page says: numbers, times and errors as people put them. */

const number = new Intl.NumberFormat();
const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
const absolute = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });
const date = new Intl.DateTimeFormat(undefined, { dateStyle: "long" });

const NAMED_MAX = 3;

/** `count(1, "comment")` is "1 comment", `count(2, "reply", "replies")` is "2 replies". */
export function count(n, one, many = `${one}s`) {
  return `${number.format(n)} ${n === 1 ? one : many}`;
}

export function figure(n) {
  return number.format(n);
}

/** "Ada", "Ada and Ben", "Ada, Ben and Cyd", "Ada, Ben and 41 others": of `total` people some by name. */
export function people(names, total = names.length) {
  if (names.length === 0) return total === 1 ? "someone" : count(total, "person", "people");
  if (total <= Math.min(names.length, NAMED_MAX)) return joined(names.slice(0, total));
  const named = names.slice(0, NAMED_MAX - 1);
  return joined([...named, count(total - named.length, "other")]);
}

function joined(words) {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} and ${words.at(-1)}`;
}

const UNITS = [
  ["minute", 60],
  ["hour", 3_600],
  ["day", 86_400],
];
const RELATIVE_FOR_S = 7 * 86_400;

function ago(at, now) {
  const passed_s = Math.max(0, (now - at) / 1000);
  if (passed_s < 45) return "just now";
  if (passed_s > RELATIVE_FOR_S) return date.format(at);
  const [unit, length_s] = UNITS.findLast(([, s]) => passed_s >= s * 0.75);
  return relative.format(-Math.max(1, Math.round(passed_s / length_s)), unit);
}

/** A `<time>` that reads as "5 minutes ago" and is kept so by `keepTimes`. */
export function time(iso) {
  const element = document.createElement("time");
  const at = new Date(iso);
  element.dateTime = iso;
  element.title = absolute.format(at);
  element.textContent = ago(at, Date.now());
  return element;
}

/** A moment to come, or one that is named exactly. */
export function moment(iso) {
  return absolute.format(new Date(iso));
}

/** A day. */
export function day(iso) {
  return date.format(new Date(iso));
}

/** The address, if it is one of the web. */
export function safeHref(url) {
  return /^https?:\/\//i.test(url ?? "") ? url : null;
}

/** Bring the relative times of the page up to date, once a minute. */
export function keepTimes() {
  setInterval(() => {
    const now = Date.now();
    for (const element of document.querySelectorAll("time[datetime]")) {
      const text = ago(new Date(element.dateTime), now);
      if (element.textContent !== text) element.textContent = text;
    }
  }, 60_000);
}

const PROBLEMS = {
  offline: "The server cannot be reached. Check the connection and try again.",
  unauthorized: "Sign in first.",
  token_expired: "Sign in again.",
  session_ended: "Sign in again: this session has ended.",
  permission_denied: "You may not do this.",
  too_many_requests: "That was a lot at once. Wait a moment and try again.",
  overloaded: "The server is very busy. Try again in a moment.",
  unavailable: "The server cannot answer just now. Try again; nothing will be doubled.",
  internal: "Something went wrong on the server. Try again in a moment.",
  wrong_credentials: "No account has this name and password.",
  handle_taken: "This user name is taken. Try another.",
  email_taken: "There is an account with this e-mail address already.",
  slug_taken: "Another post has this address already.",
  comment_empty: "Write something first.",
  comment_too_long: "This is too long: a comment has at most 10,000 characters.",
  comment_not_found: "This comment is gone.",
  parent_not_found: "The comment you reply to has been deleted.",
  edit_window_over: "The time to edit this comment is over.",
  comments_closed: "Comments on this post are closed.",
  guests_not_allowed: "Guests cannot do this here. Sign in first.",
  sign_up_closed: "New accounts cannot be made here.",
  post_not_found: "There is no such post.",
  account_not_found: "There is nobody of this name.",
  oneself: "You cannot do this to yourself.",
  blocked: "You cannot: this person blocks you.",
  blocking: "You block this person. Unblock them first.",
  following_too_many: "You follow 10,000 people: unfollow somebody first.",
  origin_not_allowed: "Comments cannot be shown here: this page is not of a site that this server is for.",
};

/** The sentence for a stable error code; for an unlisted one, what the server said. */
export function problemWords(code, detail) {
  return PROBLEMS[code] ?? sentence(detail || "Something went wrong.");
}

function sentence(text) {
  const capital = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(capital) ? capital : `${capital}.`;
}
