/** What the parts of a page share. */

import { Api } from "./api.js";
import { Live } from "./live.js";
import { Session } from "./session.js";
import { keepTimes } from "./words.js";

// A short break heals unseen; only a longer one is told.
const NOTICE_AFTER_MS = 700;

/** The site, who reads, the ways to the server, and what is `around` (see around.js); kept up to date from now on. */
export function makeContext(around) {
  const site = JSON.parse(document.querySelector('meta[name="site"]').content);
  const session = new Session();
  const live = new Live(socketUrl(), session);
  session.addEventListener("change", () => live.state === "closed" || live.reopen());
  watchConnection(live);
  keepTimes();
  return { site, session, api: new Api(session), live, notice: showNotice, around };
}

function socketUrl() {
  const url = new URL("/connection/websocket", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  return url;
}

function showNotice(text) {
  const notice = document.getElementById("notice");
  notice.textContent = text ?? "";
  notice.hidden = !text;
}

/** Say so from soon after the connection is lost until it is back, however often it is tried meanwhile. */
function watchConnection(live) {
  let timer = null;
  const tell = () => showNotice(navigator.onLine ? "Connection lost. Trying again…" : "You are offline. What you write is kept.");
  live.addEventListener("state", () => {
    if (live.state === "waiting") {
      timer ??= setTimeout(tell, NOTICE_AFTER_MS);
    } else if (live.state !== "connecting") {
      clearTimeout(timer);
      timer = null;
      showNotice(null);
    }
  });
}
