/** What opens below a button, above the rest: Escape, a click elsewhere and the way back of the focus are the browser's. */

const GAP_PX = 6;

/** Have `button` open and close `panel`, which keeps to the side of the page on which the button is. */
export function popover(button, panel) {
  panel.popover = "auto";
  button.popoverTargetElement = panel;
  button.setAttribute("aria-expanded", "false");
  panel.addEventListener("beforetoggle", ({ newState }) => newState === "open" && place(panel, button));
  panel.addEventListener("toggle", ({ newState }) => button.setAttribute("aria-expanded", String(newState === "open")));
}

function place(panel, button) {
  const { bottom, left, right } = button.getBoundingClientRect();
  const page_px = document.documentElement.clientWidth;
  const atStart = left + right < page_px;
  panel.style.setProperty("--top", `${bottom + window.scrollY + GAP_PX}px`);
  panel.style.setProperty("--start", atStart ? `${left}px` : "auto");
  panel.style.setProperty("--end", atStart ? "auto" : `${page_px - right}px`);
}
