/** What opens below a button, above the rest: Escape, a click elsewhere and the way back of the focus are the browser's. */

const GAP_PX = 6;

/** Have `button` open and close `panel`, which keeps within the page on the side of the button's end. */
export function popover(button, panel) {
  panel.popover = "auto";
  button.popoverTargetElement = panel;
  button.setAttribute("aria-expanded", "false");
  panel.addEventListener("beforetoggle", ({ newState }) => newState === "open" && place(panel, button));
  panel.addEventListener("toggle", ({ newState }) => button.setAttribute("aria-expanded", String(newState === "open")));
}

function place(panel, button) {
  const { bottom, right } = button.getBoundingClientRect();
  const page_px = document.documentElement.clientWidth;
  panel.style.setProperty("--top", `${bottom + window.scrollY + GAP_PX}px`);
  panel.style.setProperty("--end", `${Math.max(GAP_PX, page_px - right)}px`);
}
