"""WordPress' export (WXR, an RSS file) read as a stream: bytes in, posts with their comments out.

The file is somebody else's and may be large, old or hostile. It goes through expat piece by piece, one item in memory
at a time; names are matched by their local part, since the namespace of ``wp`` changed with versions and mirrors;
entity declarations, which no export has, are refused before anything is expanded. Whatever is not carried over is
yielded too, with its line and the reason, so that a report adds up.

Format: the exporter's source, wp-admin/includes/export.php.
"""

import heapq
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from html import unescape
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit
from xml.parsers import expat

from msgspec import Struct
from msgspec.structs import replace

from protocol import text
from protocol.commands import TAGS_MAX, TITLE_CHARS_MAX
from protocol.errors import Refused
from protocol.html_to_markdown import html_to_markdown

Given = TypeVar("Given")
Kept = TypeVar("Kept")


class BrokenExport(Exception):
    """The file cannot be read as an export: ``reason``, found in line ``line`` (the first is 1)."""

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


class LeftOut(Struct, frozen=True):
    """Something that the export has and the site will not get. ``reason`` is one of few, to be counted by."""

    line: int
    what: str
    reason: str


class ExportedComment(Struct, frozen=True, kw_only=True):
    source: str
    """``<site>#comment-<id>``."""
    parent_source: str | None
    """Its nearest ancestor that is carried over."""
    name: str
    url: str | None
    body: str
    """Markdown, at most 10,000 characters."""
    created_ms: int
    kind: Literal["comment", "pingback"]
    held: bool
    line: int


class ExportedPost(Struct, frozen=True, kw_only=True):
    source: str
    """``<site>/<id>``."""
    title: str
    slug: str
    """Empty if the post never had one."""
    body: str
    """Markdown, at most 100,000 characters."""
    tags: list[str]
    state: Literal["draft", "published"]
    publish_ms: int | None
    """Set if it was scheduled."""
    created_ms: int | None
    comments_open: bool
    comments: list[ExportedComment]
    """A parent stands before its replies, else oldest first."""
    left_out: list[LeftOut]
    """Comments of this post that are not among ``comments``."""
    line: int


def read_export(chunks: Iterable[bytes]) -> Iterator[ExportedPost | LeftOut]:
    """Everything in the export, in its order.

    Raises:
        BrokenExport: From the iteration, where the file breaks; what came before it is sound.
    """
    reader = _Reader()
    for chunk in chunks:
        reader.feed(chunk)
        yield from reader.taken()
    reader.close()
    yield from reader.taken()


class _Element(Struct):
    """One ``item`` or ``comment`` with the text of its fields, by local name."""

    line: int
    fields: dict[str, str]
    terms: list[tuple[str, str]] = []
    """(domain, name) of its categories and tags."""
    comments: list["_Element"] = []

    def number(self, field: str) -> int:
        digits = self.fields.get(field, "").strip() or "0"
        if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
            raise BrokenExport(self.line, f"{field} is not a number: {digits[:40]!r}")
        return int(digits)

    def required_number(self, field: str) -> int:
        number = self.number(field)
        if not number:
            raise BrokenExport(self.line, f"no {field}")
        return number

    def line_of_text(self, field: str, chars_max: int) -> str:
        """A field of plain text, which WordPress stores as HTML, on one line."""
        found = " ".join(unescape(re.sub(r"<[^>]*>", "", self.fields.get(field, ""))).split())
        return found if len(found) <= chars_max else found[: chars_max - 1] + "…"

    def time_ms(self, field: str) -> int | None:
        """A time in Unix milliseconds: GMT, else the local one as if it were; drafts have zeros for both."""
        for name in (f"{field}_gmt", field):
            try:
                time = datetime.strptime(self.fields.get(name, "").strip(), "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
            except ValueError:
                continue
            return max(0, int(time.timestamp()) * 1000)
        return None


# RSS' own names have no namespace; those of WordPress are told apart from other modules' by their local part alone.
_RSS_FIELDS = frozenset(("title", "link", "pubDate", "guid", "category"))
_CHANNEL, _ITEM, _COMMENT = 2, 3, 4
"""Depth of ``rss/channel``, of an item in it and of a comment in that; their fields are one deeper."""


class _Reader:
    """Expat's handlers: they gather one item at a time."""

    def __init__(self) -> None:
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._refuse_entity
        self._depth = 0
        self._channel: dict[str, str] = {}
        self._item: _Element | None = None
        self._comment: _Element | None = None
        self._field: str | None = None
        self._domain = ""
        self._text: list[str] = []
        self._taken: list[ExportedPost | LeftOut] = []

    def feed(self, chunk: bytes) -> None:
        self._parse(chunk, False)

    def close(self) -> None:
        self._parse(b"", True)
        if "wxr_version" not in self._channel:
            raise BrokenExport(self._parser.CurrentLineNumber, "not a WordPress export: it has no wxr_version")

    def taken(self) -> list[ExportedPost | LeftOut]:
        """What was completed since the last call."""
        taken, self._taken = self._taken, []
        return taken

    def _parse(self, chunk: bytes, final: bool) -> None:
        try:
            self._parser.Parse(chunk, final)
        except expat.ExpatError as error:
            raise BrokenExport(error.lineno, expat.ErrorString(error.code) or "not well-formed") from error
        except (ValueError, LookupError) as error:
            # An encoding that nobody knows, or bytes that are not of the encoding declared.
            raise BrokenExport(self._parser.CurrentLineNumber, str(error)) from error

    # -- handlers

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        self._text = []
        self._field = None
        local = _local_name(name)
        line = self._parser.CurrentLineNumber
        if self._depth == 1 and local != "rss":
            raise BrokenExport(line, f"not a WordPress export: it begins with <{local}>, not with <rss>")
        if self._depth == _ITEM and local == "item":
            if "wxr_version" not in self._channel:
                raise BrokenExport(line, "not a WordPress export: it has no wxr_version")
            self._item = _Element(line, {})
        elif self._depth == _COMMENT and local == "comment" and self._item:
            self._comment = _Element(line, {})
        elif self._depth == _CHANNEL + 1 + bool(self._item) + bool(self._comment):
            self._field = local
            self._domain = attributes.get("domain", "")

    def _end(self, name: str) -> None:
        if self._depth == _COMMENT and self._comment and self._item:
            self._item.comments.append(self._comment)
            self._comment = None
        elif self._depth == _ITEM and self._item:
            self._taken += _carried_over(self._item, self._site())
            self._item = None
        elif self._field:
            self._keep(self._field, "".join(self._text))
        self._field = None
        self._text = []
        self._depth -= 1

    def _keep(self, field: str, value: str) -> None:
        element = self._comment or self._item
        if element is None:
            self._channel[field] = value
        elif field == "category":
            element.terms.append((self._domain, value))
        else:
            element.fields[field] = value

    def _characters(self, data: str) -> None:
        if self._field:
            self._text.append(data)

    def _refuse_entity(self, name: str, *_: object) -> None:
        raise BrokenExport(self._parser.CurrentLineNumber, f"it declares an entity ({name}), which no export does")

    def _site(self) -> str:
        """Where the posts come from, the same over http and https."""
        address = self._channel.get("base_blog_url") or self._channel.get("link") or ""
        parts = urlsplit(address.strip())
        return parts.netloc.lower() + parts.path.rstrip("/") or "wordpress"


def _local_name(name: str) -> str | None:
    """The part of an expanded name that decides; None if the element is another module's."""
    namespace, _, local = name.rpartition(" ")
    if namespace and local in _RSS_FIELDS:
        return None
    # Two modules have an "encoded": the content, and the excerpt.
    return None if local == "encoded" and "excerpt" in namespace else local


# -- items ------------------------------------------------------------------------------------------------------------

_STATES: dict[str, Literal["draft", "published"]] = {
    "publish": "published",
    "future": "published",
    "draft": "draft",
    "pending": "draft",
    "private": "draft",
}
"""WordPress' status of a post → ours. What only its authors could see stays so."""

# Block editors write whole paragraphs; in anything else a newline breaks the line (WordPress' wpautop).
_BLOCK_EDITOR = "<!-- wp:"
# Shortcodes are calls to plugins; those of the core wrap media that are kept as links.
_SHORTCODE = re.compile(r"\[/?(?:audio|caption|embed|gallery|playlist|video|wp_caption)(?:\s[^\]]*)?\]")


def _carried_over(item: _Element, site: str) -> list[ExportedPost | LeftOut]:
    """An item as a post; or why it is none, and with it its comments."""
    found = _post(item, site)
    if isinstance(found, ExportedPost):
        return [found]
    kind = item.fields.get("post_type", "post")
    reason = f"comment of a left-out {kind.replace('_', ' ')}"
    return [
        LeftOut(item.line, f"{kind} {item.number('post_id')}", found),
        *(LeftOut(comment.line, f"comment {comment.number('comment_id')}", reason) for comment in item.comments),
    ]


def _post(item: _Element, site: str) -> ExportedPost | str:
    """A post; or why it is not carried over."""
    number = item.required_number("post_id")
    kind = item.fields.get("post_type", "post")
    status = item.fields.get("status", "publish")
    if kind not in ("post", "page"):
        return f"{kind.replace('_', ' ')}: not a post"
    if status not in _STATES:
        return f"post with status {status}"
    try:
        body = text.post_body(_markdown(item.fields.get("encoded", "")))
    except Refused as refusal:
        return f"post: {refusal.detail}"
    created_ms = item.time_ms("post_date") or _rss_time_ms(item.fields.get("pubDate", ""))
    comments, left_out = _comments(item, site, created_ms or 0)
    slug = unquote(item.fields.get("post_name", ""))
    return ExportedPost(
        source=f"{site}/{number}",
        title=_allowed(text.title, item.line_of_text("title", TITLE_CHARS_MAX))
        or slug[:TITLE_CHARS_MAX]
        or "(no title)",
        slug=slug,
        body=body,
        tags=_tags(item.terms),
        # Nothing here asks for a password, so what had one is not shown.
        state="draft" if item.fields.get("post_password") else _STATES[status],
        publish_ms=created_ms if status == "future" else None,
        created_ms=created_ms,
        comments_open=item.fields.get("comment_status", "open") == "open",
        comments=comments,
        left_out=left_out,
        line=item.line,
    )


def _tags(terms: list[tuple[str, str]]) -> list[str]:
    names = (unescape(name) for domain, name in terms if domain in ("category", "post_tag") and name != "Uncategorized")
    return list(dict.fromkeys(tag for name in names for tag in _allowed(text.tags, [name]) or ()))[:TAGS_MAX]


def _markdown(html: str) -> str:
    return html_to_markdown(_SHORTCODE.sub("", html), newlines_break=_BLOCK_EDITOR not in html)


def _rss_time_ms(date: str) -> int | None:
    try:
        return max(0, int(parsedate_to_datetime(date).timestamp()) * 1000)
    except (ValueError, OverflowError):
        return None


def _allowed(rule: Callable[[Given], Kept], value: Given) -> Kept | None:
    """``value`` in its kept form; None if ``rule`` refuses it."""
    try:
        return rule(value)
    except Refused:
        return None


# -- comments ---------------------------------------------------------------------------------------------------------

_KINDS: dict[str, Literal["comment", "pingback"]] = {
    "": "comment",
    "comment": "comment",
    "review": "comment",
    "pingback": "pingback",
    "trackback": "pingback",
}


def _comments(item: _Element, site: str, post_created_ms: int) -> tuple[list[ExportedComment], list[LeftOut]]:
    """The comments of one item, in order, and those that are not carried over."""
    parents = {comment.required_number("comment_id"): comment.number("comment_parent") for comment in item.comments}
    kept: dict[int, ExportedComment] = {}
    left_out: list[LeftOut] = []
    for comment in item.comments:
        number = comment.number("comment_id")
        found = _comment(comment, site, post_created_ms)
        if number in kept:
            found = "comment listed twice"
        if isinstance(found, str):
            left_out.append(LeftOut(comment.line, f"comment {number}", found))
        else:
            kept[number] = found
    return _in_order(kept, parents), left_out


def _comment(comment: _Element, site: str, post_created_ms: int) -> ExportedComment | str:
    """A comment, still without its parent; or why it is not carried over."""
    kind = comment.fields.get("comment_type", "").strip()
    approved = comment.fields.get("comment_approved", "1").strip()
    if kind not in _KINDS:
        return f"comment of type {kind}"
    if approved not in ("0", "1"):
        return "comment in spam" if approved == "spam" else "comment in the trash"
    try:
        body = text.comment_body(_markdown(comment.fields.get("comment_content", "")))
    except Refused as refusal:
        return f"comment: {refusal.detail}"
    created_ms = comment.time_ms("comment_date")
    name = comment.line_of_text("comment_author", text.NAME_CHARS_MAX)
    return ExportedComment(
        source=f"{site}#comment-{comment.number('comment_id')}",
        parent_source=None,
        name=_allowed(text.display_name, name) or "Anonymous",
        url=_allowed(text.web_address, unescape(comment.fields.get("comment_author_url", ""))),
        body=body,
        created_ms=post_created_ms if created_ms is None else created_ms,
        kind=_KINDS[kind],
        held=approved == "0",
        line=comment.line,
    )


def _in_order(kept: dict[int, ExportedComment], parents: dict[int, int]) -> list[ExportedComment]:
    """``kept`` with each reply under its nearest kept ancestor and after it, else oldest first."""
    children: dict[int, list[int]] = {}
    for number in kept:
        children.setdefault(_kept_ancestor(number, kept, parents), []).append(number)
    ordered: dict[int, ExportedComment] = {}
    # Whatever none of the roots leads to hangs in a circle of parents: cut it at its first member.
    for root in (0, *kept):
        ready = [(0, root, 0)] if root and root not in ordered else []
        ready += [(kept[number].created_ms, number, 0) for number in children.get(0, ()) if not root]
        heapq.heapify(ready)
        while ready:
            _, number, parent = heapq.heappop(ready)
            if number in ordered:
                continue
            ordered[number] = replace(kept[number], parent_source=kept[parent].source if parent else None)
            for child in children.get(number, ()):
                heapq.heappush(ready, (kept[child].created_ms, child, number))
    return list(ordered.values())


def _kept_ancestor(number: int, kept: dict[int, ExportedComment], parents: dict[int, int]) -> int:
    """The nearest ancestor that is carried over; 0 if there is none."""
    passed = {number}
    ancestor = parents[number]
    while ancestor and ancestor not in kept and ancestor not in passed:
        passed.add(ancestor)
        ancestor = parents.get(ancestor, 0)
    found = ancestor if ancestor in kept else 0
    # Remembered for the others that hang on the same chain: a walk each would be quadratic.
    parents.update(dict.fromkeys(passed, found))
    return found
