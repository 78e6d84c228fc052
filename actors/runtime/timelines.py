"""Pages of posts: home timelines and the posts of one author, as they are shown; and who reads how often."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from msgspec import Raw, Struct

from actors.encoding import Encoder
from actors.keys import post_key
from actors.poststate import APPLAUSE
from actors.runtime.directory import available, summary_view
from actors.runtime.env import Env
from protocol.cursor import Cursor
from protocol.timelines import PostPage
from store.base import Store
from store.timelines import PLACE_MAX, Listed, Page

NOTED_EVERY_S: Final = 60.0
"""The actor of a reader is told so often."""
READERS_MAX: Final = 50_000
"""Readers whose reads are counted; of others what was counted last is lost."""
RENDERED_AT_ONCE: Final = 4


class _Reads(Struct):
    count: int
    noted_at: float


class Timelines:
    """Everything raises ``Unavailable`` while the store is away."""

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        env: Env,
        *,
        kinds: Sequence[str],
        epoch: Callable[[str], str],
        watchers: Callable[[str], int],
        note: Callable[[int, int], None],
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._env = env
        self._kinds = (*kinds, APPLAUSE)
        self._epoch = epoch
        self._watchers = watchers
        self._note = note
        self._reads: OrderedDict[int, _Reads] = OrderedDict()

    async def timeline(self, reader: int, *, before: int | None, limit: int) -> PostPage:
        """See ``Backend.timeline``."""
        if before is None:
            self._count(reader)
        below = PLACE_MAX if before is None else before
        with available():
            page = await self._store.timelines.page(reader, below=below, limit=limit + 1, kinds=self._kinds)
        return await self._shown(page, reader, limit)

    async def posts_of(self, author: int, *, reader: int, before: int | None, limit: int) -> PostPage:
        """See ``Backend.posts_of``."""
        below = PLACE_MAX if before is None else before
        with available():
            page = await self._store.timelines.posts_of(
                author, reader=reader, below=below, limit=limit + 1, kinds=self._kinds
            )
        return await self._shown(page, reader, limit)

    # -- who reads

    def _count(self, reader: int) -> None:
        now = self._env.monotonic()
        reads = self._reads.setdefault(reader, _Reads(0, now - NOTED_EVERY_S))
        self._reads.move_to_end(reader)
        reads.count += 1
        if now - reads.noted_at >= NOTED_EVERY_S:
            self._note(reader, reads.count)
            reads.count, reads.noted_at = 0, now
        if len(self._reads) > READERS_MAX:
            self._reads.popitem(last=False)

    # -- what a page shows

    async def _shown(self, page: Page, reader: int, limit: int) -> PostPage:
        listed = page.listed[:limit]
        return PostPage(
            posts=await self.show(listed, reader),
            next=listed[-1].place if len(page.listed) > limit else None,
            cursor=str(Cursor(self._epoch("feed"), page.horizon)),
        )

    async def show(self, listed: Sequence[Listed], reader: int) -> Raw:
        """The JSON of a list of posts, as they are shown to ``reader``."""
        watched = [self._watchers(post_key(each.post_id)) for each in listed]
        keys = [(each.shown, watchers) for each, watchers in zip(listed, watched, strict=True)]
        shown = [self._encoder.kept_post(key) for key in keys]
        missing = {each.post_id: key for each, key, post in zip(listed, keys, shown, strict=True) if post is None}
        if missing:
            rendered = await self._render(missing)
            shown = [post or rendered.get(each.post_id) for each, post in zip(listed, shown, strict=True)]
        # What was deleted since the page was read is not there.
        posts = [self._with_own(post, each, reader) for each, post in zip(listed, shown, strict=True) if post]
        return Raw(b"[" + b",".join(posts) + b"]")

    async def _render(self, missing: Mapping[int, object]) -> dict[int, bytes]:
        """The JSON of posts that is not in memory: post → key of what is to be kept."""
        with available():
            found = await self._store.summaries(list(missing))
        rendered: dict[int, bytes] = {}
        for at, summary in enumerate(found):
            id = summary.post.id
            if (kept := self._encoder.kept_post(missing[id])) is not None:
                # Another page that was read meanwhile shows it too.
                rendered[id] = kept
            elif summary.post.state == "published":
                view = summary_view(self._encoder, summary, epoch=self._epoch, watchers=self._watchers)
                # It may be newer than what its key says; nobody asks for what was before any more.
                rendered[id] = self._encoder.keep_post(missing[id], view)
            if at % RENDERED_AT_ONCE == RENDERED_AT_ONCE - 1:
                await asyncio.sleep(0)
        return rendered

    def _with_own(self, post: bytes, listed: Listed, reader: int) -> bytes:
        """The JSON of a post, with what the reader has given it."""
        if not reader:
            return post
        kinds = self._encoder.encode([kind for kind in self._kinds if kind in listed.mine and kind != APPLAUSE])
        applause = listed.mine.get(APPLAUSE, 0)
        bookmarked = b"true" if listed.bookmarked else b"false"
        return b'%b,"mine":%b,"applause_mine":%d,"bookmarked":%b}' % (post[:-1], kinds, applause, bookmarked)
