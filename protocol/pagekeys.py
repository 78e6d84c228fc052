"""Page keys: one thread for each page of an embedding site, however its address is written."""

from typing import NamedTuple
from urllib.parse import SplitResult, quote, unquote, urlsplit

from protocol.errors import Refused

_PORTS = {"http": 80, "https": 443}
_SEGMENT_SAFE = "!$&'()*+,;=:@-._~"


class Page(NamedTuple):
    """A page of an embedding site."""

    key: str
    """The name that its post is claimed by."""
    url: str | None
    """Its canonical address, if it is known."""


def page_of(page_id: str | None, url: str | None, path: str | None, site: str | None) -> Page:
    """The page that an embedding site means: by explicit id, else address, else path on ``site`` (an origin).

    Query, fragment, trailing slash, scheme and default port make no difference, nor does the case of the host.

    Raises:
        Refused: ``invalid``: nothing usable is given.
    """
    address = canonical_url(url) if url is not None else None
    if address is None and path is not None and site is not None:
        if not path.startswith("/"):
            raise Refused("invalid", "path: begins with /")
        address = canonical_url(site + path)
    if page_id is not None:
        return Page(f"id:{page_id}", address)
    if address is None:
        raise Refused("invalid", "one of id, url and path is needed; a path needs an Origin")
    return Page(f"url:{address.partition('://')[2]}", address)


def canonical_url(url: str) -> str:
    """``url`` without what does not tell pages apart. Raises ``Refused("invalid")`` if it is no http(s) address."""
    parts = _split(url)
    path = "/".join(_canonical_segment(segment) for segment in parts.path.split("/")).rstrip("/")
    return f"{_origin(parts)}{path or '/'}"


def origin_of(url: str) -> str:
    """Scheme, host and, unless it is the default, port of ``url``. Raises ``Refused("invalid")``."""
    return _origin(_split(url))


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        port_is_legal = parts.port is None or parts.port > 0
    except ValueError:
        raise Refused("invalid", "url: not an address") from None
    # User information is for deceiving people; no page's canonical address has it.
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc or not port_is_legal:
        raise Refused("invalid", "url: an http or https address is needed")
    return parts


def _canonical_segment(segment: str) -> str:
    """Percent-encoded where it has to be and nowhere else; bytes that are no UTF-8 stay what they are."""
    return quote(unquote(segment, errors="surrogateescape"), safe=_SEGMENT_SAFE, errors="surrogateescape")


def _origin(parts: SplitResult) -> str:
    assert parts.hostname is not None
    try:
        host = parts.hostname.encode("idna").decode() if not parts.hostname.isascii() else parts.hostname
    except UnicodeError:
        raise Refused("invalid", "url: not a host name") from None
    if any(char in host for char in " <>\"'\\^`{|}%") or not host.isprintable():
        raise Refused("invalid", "url: not a host name")
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{host}{port}"
