"""Files for browsers: read once, zipped once, sent under a policy that lets a page do nothing that it need not."""

import gzip
import hashlib
from pathlib import Path
from typing import Final

from aiohttp import ETag, hdrs, web
from msgspec import Struct

STATIC: Final = Path(__file__).parent / "static"
MEDIA_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


def content_security_policy(frame_ancestors: str) -> str:
    """The policy of a page that ``frame_ancestors`` may embed.

    Everything comes from here, but for pictures in what people write. Strings become HTML only through the page's one
    policy, which is for what the server has sanitised (see dom.js).
    """
    return "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data: https:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            f"frame-ancestors {frame_ancestors}",
            "require-trusted-types-for 'script'",
            "trusted-types plaudit",
        )
    )


HEADERS: Final = {
    "Content-Security-Policy": content_security_policy("'none'"),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    # Kept, but asked for each time: after an upgrade no page runs half of the old modules and half of the new.
    hdrs.CACHE_CONTROL: "no-cache",
    hdrs.VARY: hdrs.ACCEPT_ENCODING,
}


class Asset(Struct, frozen=True):
    """One file, ready to be sent."""

    body: bytes
    zipped: bytes
    media_type: str
    etag: str


def asset(name: str, body: bytes) -> Asset:
    media_type = MEDIA_TYPES[Path(name).suffix]
    return Asset(body, gzip.compress(body, mtime=0), media_type, hashlib.blake2b(body, digest_size=12).hexdigest())


def send(request: web.Request, asset: Asset, *, status: int = 200, policy: str | None = None) -> web.Response:
    """``asset`` as the answer; 304 where the browser has it. ``policy`` stands in for the strictest one."""
    headers = HEADERS if policy is None else {**HEADERS, "Content-Security-Policy": policy}
    if status == 200 and any(known.value in (asset.etag, "*") for known in request.if_none_match or ()):
        response = web.Response(status=304, headers=headers)
    else:
        zipped = "gzip" in request.headers.get(hdrs.ACCEPT_ENCODING, "")
        response = web.Response(body=asset.zipped if zipped else asset.body, status=status, headers=headers)
        response.content_type = asset.media_type
        response.charset = "utf-8"
        if zipped:
            response.headers[hdrs.CONTENT_ENCODING] = "gzip"
    response.etag = ETag(asset.etag, is_weak=True)
    return response
