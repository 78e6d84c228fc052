"""From rows to the JSON that clients see; what is costly to make (HTML from Markdown) is made once and kept."""

from collections import OrderedDict

import msgspec
from msgspec import Raw

from protocol.markdown import render_comment, render_post
from protocol.times import rfc3339_ms
from protocol.views import Author as AuthorView
from protocol.views import CommentChanged, CommentView, Counters, PostChanged, PostView
from store.rows import Author, CommentRow, PostRow

CACHE_BYTES_MAX = 64 << 20


def _moment(ms: int | None) -> str | None:
    return None if ms is None else rfc3339_ms(ms)


def author_view(author: Author | None) -> AuthorView | None:
    if author is None:
        return None
    return AuthorView(id=str(author.id), handle=author.handle, name=author.name, url=author.url)


class Encoder:
    """Encodes comments and posts; keeps the newest results, at most ``bytes_max`` of them (their keys hold the
    texts once more).

    The key is everything that the result depends on, so nothing has ever to be invalidated. Number and version of a
    comment would not do: if a commit fails after a read has encoded its comment, the next comment gets the same two.
    """

    def __init__(self, bytes_max: int = CACHE_BYTES_MAX) -> None:
        self._json = msgspec.json.Encoder()
        self._kept: OrderedDict[tuple[object, ...], bytes] = OrderedDict()
        self.kept_bytes = 0
        self._bytes_max = bytes_max

    def encode(self, view: object) -> bytes:
        return self._json.encode(view)

    def comment(self, row: CommentRow, author: Author | None) -> bytes:
        """JSON of a ``CommentView``."""
        key = (row, author)
        kept = self._kept.get(key)
        return kept if kept is not None else self._keep(key, self._json.encode(comment_view(row, author)))

    def comment_changed(self, row: CommentRow, author: Author | None) -> bytes:
        """JSON of the publication that shows a comment."""
        return self._json.encode(CommentChanged(comment=Raw(self.comment(row, author))))

    def post_html(self, row: PostRow) -> str:
        key = ("post", row.body)
        kept = self._kept.get(key)
        return (kept if kept is not None else self._keep(key, render_post(row.body).encode())).decode()

    def post(self, row: PostRow, author: Author | None, *, version: int, counters: Counters, cursor: str) -> PostView:
        deleted = row.state == "deleted"
        return PostView(
            id=str(row.id),
            slug=row.slug,
            title=row.title,
            body=row.body,
            html="" if deleted else self.post_html(row),
            tags=row.tags,
            author=author_view(author),
            state=row.state,
            comments_open=row.comments_open,
            page_url=row.page_url,
            created_at=rfc3339_ms(row.created_ms),
            published_at=_moment(row.published_ms),
            publish_at=_moment(row.publish_ms),
            edited_at=_moment(row.edited_ms),
            version=version,
            counters=counters,
            cursor=cursor,
        )

    def kept_post(self, key: object) -> bytes | None:
        """The JSON of a ``PostView`` that was kept under ``key``."""
        return self._kept.get(("shown", key))

    def keep_post(self, key: object, view: PostView) -> bytes:
        """The JSON of ``view``; ``key`` is everything that it depends on, or stands for that."""
        return self._keep(("shown", key), self._json.encode(view))

    def post_changed(self, view: PostView) -> bytes:
        return self._json.encode(PostChanged(post=Raw(self._json.encode(view))))

    def _keep(self, key: tuple[object, ...], data: bytes) -> bytes:
        self._kept[key] = data
        self.kept_bytes += len(data)
        while self.kept_bytes > self._bytes_max:
            _, dropped = self._kept.popitem(last=False)
            self.kept_bytes -= len(dropped)
        return data


def comment_view(row: CommentRow, author: Author | None) -> CommentView:
    """A comment as it is now. Of a tombstone nothing is left but its place."""
    gone = row.state == "deleted"
    shown = None if gone else author_view(author)
    if shown is None and not gone and row.author_name is not None:
        shown = AuthorView(id="", handle="", name=row.author_name, url=row.author_url)
    return CommentView(
        id=str(row.id),
        post=str(row.post_id),
        parent=None if row.parent_id is None else str(row.parent_id),
        author=shown,
        body="" if gone else row.body,
        html="" if gone else render_comment(row.body),
        created_at=rfc3339_ms(row.created_ms),
        edited_at=_moment(row.edited_ms),
        state=row.state,
        kind=row.kind,
        offset=row.changed_offset,
    )
