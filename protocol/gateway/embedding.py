"""Conversations on pages of other sites: the script that a tag there names, and the frame that it puts on the page.

The site decides twice. The frame's policy names the allowed sites, so that a browser shows it on no other; and the post
about a page is made only for an address of an allowed site (``PUT /v1/pages``), because the frame, which asks for it,
is of this server's own origin and could embed anything.
"""

from html import escape
from typing import Final

from aiohttp import web

from protocol.gateway.assets import STATIC, asset, content_security_policy, send
from protocol.gateway.origins import Origins, host_of
from protocol.gateway.pages import Site, filled

SCRIPT: Final = "embed.js"
FRAME: Final = "embedded.html"
REFUSAL: Final = "refused.html"
THEMES: Final = ("light", "dark")


class Embedding:
    """Serves both. Reads the files once, when it is made."""

    def __init__(self, site: Site, origins: Origins) -> None:
        self._origins = origins
        self._policy = content_security_policy(origins.frame_ancestors())
        self._script = asset(SCRIPT, (STATIC / SCRIPT).read_bytes())
        self._frame = filled((STATIC / FRAME).read_text(encoding="utf-8"), site)
        self._refusal = filled((STATIC / REFUSAL).read_text(encoding="utf-8"), site)

    def add_to(self, app: web.Application) -> None:
        app.router.add_get("/embed.js", self.script)
        app.router.add_get("/embed", self.frame)

    async def script(self, request: web.Request) -> web.Response:
        return send(request, self._script)

    async def frame(self, request: web.Request) -> web.Response:
        """The frame for a page of ``origin``, which the script names for the sake of words: the browser finds a lie.

        A site that is not allowed gets a page that says so, and can do nothing else.
        """
        origin = request.query.get("origin", "")
        theme = request.query.get("theme")
        shown = theme if theme in THEMES else ""
        if self._origins.allows(origin, host_of(request)):
            frame = asset(FRAME, self._frame.replace("{{theme}}", shown).encode())
            return send(request, frame, policy=self._policy)
        # The origin last: nothing within it is taken for a place to fill.
        refusal = self._refusal.replace("{{theme}}", shown).replace("{{origin}}", escape(origin or "this site"))
        return send(request, asset(REFUSAL, refusal.encode()), status=403, policy=content_security_policy("*"))
