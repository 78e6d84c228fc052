"""The pages of the small blog: one shell for every address, and the modules, styles and pictures it is made of.

What a page shows comes through the public interface, as it would for any other client; nothing here asks an actor.
"""

import gzip
import hashlib
import html
from pathlib import Path
from typing import Final

import msgspec
from aiohttp import ETag, hdrs, web
from msgspec import Struct

STATIC: Final = Path(__file__).parent / "static"
PAGES: Final = ("/", "/p/{slug}", "/sign-in", "/account", "/write")
SHELL: Final = "index.html"
MEDIA_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
# Everything comes from here, but for pictures in what people write. Strings become HTML only through the page's one
# policy, which is for what the server has sanitised (see dom.js).
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: https:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types plaudit",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Kept, but asked for each time: after an upgrade no page runs half of the old modules and half of the new.
    hdrs.CACHE_CONTROL: "no-cache",
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
}


class Site(Struct, frozen=True, kw_only=True):
    """What the page must know of the site before it asks for anything."""

    title: str = "Plaudit"
    guests: bool = True
    sign_up: bool = True
    reaction_kinds: tuple[str, ...] = ("like", "laugh", "love")
    edit_window_s: int = 900


class Asset(Struct, frozen=True):
    """One file, ready to be sent."""

    body: bytes
    zipped: bytes
    media_type: str
    etag: str


def add_pages(app: web.Application, site: Site) -> None:
    """Serve the pages of ``site`` and what they are made of. Reads the files once, now."""
    assets = {path.name: _asset(path.name, path.read_bytes()) for path in sorted(STATIC.iterdir()) if path.is_file()}
    shell = _asset(SHELL, _filled((STATIC / SHELL).read_text(encoding="utf-8"), site))
    del assets[SHELL]

    async def page(request: web.Request) -> web.Response:
        return _answer(request, shell)

    async def static(request: web.Request) -> web.Response:
        asset = assets.get(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        return _answer(request, asset)

    for path in PAGES:
        app.router.add_get(path, page)
    app.router.add_get("/static/{name}", static)


def _filled(template: str, site: Site) -> bytes:
    settings = html.escape(msgspec.json.encode(site).decode())
    return template.replace("{{site}}", settings).replace("{{title}}", html.escape(site.title)).encode()


def _asset(name: str, body: bytes) -> Asset:
    media_type = MEDIA_TYPES[Path(name).suffix]
    return Asset(body, gzip.compress(body, mtime=0), media_type, hashlib.blake2b(body, digest_size=12).hexdigest())


def _answer(request: web.Request, asset: Asset) -> web.Response:
    if any(known.value in (asset.etag, "*") for known in request.if_none_match or ()):
        response = web.Response(status=304, headers=HEADERS)
    else:
        zipped = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
        response = web.Response(body=asset.zipped if zipped else asset.body, headers=HEADERS)
        response.content_type = asset.media_type
        response.charset = "utf-8"
        if zipped:
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    response.etag = ETag(asset.etag, is_weak=True)
    return response
