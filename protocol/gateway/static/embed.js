/**
 * Puts the live conversation about a page where this tag stands in it:
 *
 *     <script async src="https://comments.example.org/embed.js"></script>
 *
 * `data-page-id` names the page where its address does not, `data-title` is what it is called, `data-theme` is "light",
 * "dark" or (by default) as the page itself looks, `data-order` is "newest", "oldest" or "best".
 *
 * The conversation is a frame of the server's. The two talk by messages, each only with the window and the origin that
 * it knows; host.js is the other side.
 */

(() => {
  const HEIGHT_PX = 160;
  const HEIGHT_MAX_PX = 1_000_000;
  const ABOUT_A_COMMENT = /^#c-([1-9][0-9]{0,18})$/;

  const tag = document.currentScript;
  const server = new URL(tag.src).origin;
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const place = document.createElement("div");
  const frame = document.createElement("iframe");
  let theme = themeNow();
  let wanted = commentInAddress();

  place.style.position = "relative";
  frame.title = "Comments";
  frame.style.cssText = `display: block; width: 100%; height: ${HEIGHT_PX}px; border: 0; background: none`;
  frame.style.colorScheme = theme;
  // Who comes for one comment is led to it, however far down it is.
  frame.loading = wanted ? "eager" : "lazy";
  frame.src = frameAddress();
  place.append(frame);
  tag.after(place);

  const ending = new AbortController();
  const { signal } = ending;
  addEventListener("message", hear, { signal });
  addEventListener("hashchange", visit, { signal });
  // Scrolling does not bubble; whatever scrolls, the frame may have moved.
  addEventListener("scroll", tellSeenSoon, { signal, capture: true, passive: true });
  addEventListener("resize", tellSeenSoon, { signal });
  addEventListener("transitionend", followTheme, { signal });
  systemDark.addEventListener("change", followTheme, { signal });
  const painted = new MutationObserver(followTheme);
  for (const root of [document.documentElement, document.body]) painted.observe(root, { attributes: true });

  // -- what the frame is told

  function frameAddress() {
    const { pageId, title, order } = tag.dataset;
    const canonical = document.querySelector('link[rel="canonical"]')?.href;
    const about = { page: location.href.split("#")[0], url: canonical, id: pageId, title: title ?? document.title, order };
    const given = Object.entries(about).filter(([, value]) => value);
    // After the "#", which is sent to no server: the page's address may hold what is not for others.
    return `${server}/embed?${new URLSearchParams({ origin: location.origin, theme })}#${new URLSearchParams(given)}`;
  }

  function tell(message) {
    frame.contentWindow?.postMessage(message, server);
  }

  /** Which part of the frame is in the window, in pixels from its top. */
  function tellSeen() {
    const { top, height } = frame.getBoundingClientRect();
    tell({ type: "seen", top: Math.max(0, -top), bottom: Math.min(height, innerHeight - top) });
  }

  let soon = 0;
  function tellSeenSoon() {
    if (!frame.isConnected) return end();
    cancelAnimationFrame(soon);
    soon = requestAnimationFrame(tellSeen);
  }

  function visit() {
    wanted = commentInAddress();
    if (!wanted) return;
    frame.loading = "eager";
    tell({ type: "visit", comment: wanted });
  }

  function commentInAddress() {
    return ABOUT_A_COMMENT.exec(location.hash)?.[1] ?? null;
  }

  // -- what the frame says

  function hear({ source, origin, data }) {
    if (!frame.isConnected) return end();
    if (source !== frame.contentWindow || origin !== server) return;
    if (data.type === "ready") greet();
    else if (data.type === "size") resize(data.height);
    else if (data.type === "bring") bring(data);
    else if (data.type === "mark") history.replaceState(history.state, "", `#c-${data.comment}`);
  }

  function greet() {
    tell({ type: "theme", theme });
    tellSeen();
    if (wanted) tell({ type: "visit", comment: wanted });
  }

  function resize(height) {
    if (!(height >= 0 && height <= HEIGHT_MAX_PX)) return;
    frame.style.height = `${height}px`;
    tellSeen();
  }

  /** Scroll to a part of the frame, whatever it is on the page that scrolls. */
  function bring({ top, height }) {
    const part = document.createElement("div");
    part.style.cssText = "position: absolute; width: 1px; pointer-events: none; visibility: hidden";
    part.style.top = `${Number(top)}px`;
    part.style.height = `${Number(height)}px`;
    place.append(part);
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    part.scrollIntoView({ block: height > innerHeight ? "start" : "center", behavior: calm ? "auto" : "smooth" });
    part.remove();
  }

  /** The tag's page is gone, as in sites that change their pages themselves. */
  function end() {
    ending.abort();
    painted.disconnect();
  }

  // -- light and dark

  function followTheme() {
    const now = themeNow();
    if (now === theme) return;
    theme = now;
    // Where both have the same, the browser lets the page shine through the frame.
    frame.style.colorScheme = theme;
    tell({ type: "theme", theme });
  }

  function themeNow() {
    const { theme: chosen } = tag.dataset;
    if (chosen === "light" || chosen === "dark") return chosen;
    return (groundIsDark() ?? rootIsDark()) ? "dark" : "light";
  }

  /** Whether what is painted behind the tag is dark; null where nothing is. */
  function groundIsDark() {
    for (let element = tag.parentElement; element; element = element.parentElement) {
      const [red, green, blue, alpha] = channels(getComputedStyle(element).backgroundColor);
      if (alpha > 127) return 0.299 * red + 0.587 * green + 0.114 * blue < 128;
    }
    return null;
  }

  /** Any colour as red, green, blue and alpha, to 255. */
  function channels(colour) {
    const plain = /^rgba?\((\d+), (\d+), (\d+)(?:, ([\d.]+))?\)$/.exec(colour);
    if (plain) return [...plain.slice(1, 4).map(Number), 255 * (plain[4] ?? 1)];
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return canvas.getImageData(0, 0, 1, 1).data;
  }

  /** Whether the browser's own ground is dark, by what the page says that it can be. */
  function rootIsDark() {
    const { colorScheme } = getComputedStyle(document.documentElement);
    const named = document.querySelector('meta[name="color-scheme"]')?.content ?? "";
    const schemes = colorScheme === "normal" ? named : colorScheme;
    return schemes.includes("dark") && (!schemes.includes("light") || systemDark.matches);
  }
})();
