"""Names and lists: what is asked of the store without an actor."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Literal

from actors.encoding import Encoder, author_view
from actors.keys import SLOTS, post_key
from actors.runtime.env import Ids
from protocol.cluster import Lease, Leases
from protocol.cursor import Cursor
from protocol.errors import Unavailable
from protocol.views import Author as AuthorView
from protocol.views import Counters, PostView
from store.base import PostSummary, Store, StoreUnavailable


class Directory:
    """Everything raises ``Unavailable`` while the store is away."""

    def __init__(
        self,
        store: Store,
        encoder: Encoder,
        ids: Ids,
        *,
        epoch: Callable[[str], str],
        watchers: Callable[[str], int],
    ) -> None:
        self._store = store
        self._encoder = encoder
        self._ids = ids
        self._epoch = epoch
        self._watchers = watchers

    def new_id(self, at_ms: int | None = None) -> int:
        return self._ids.next() if at_ms is None else self._ids.at(at_ms)

    async def account_number(self) -> int:
        with available():
            return await self._store.account_number()

    async def claim_names(
        self, kind: Literal["account", "post"], names: Sequence[tuple[str, str]], id: int
    ) -> int | str:
        with available():
            return await self._store.claim_names(kind, names, id)

    async def release_name(self, kind: str, name: str, id: int) -> None:
        with available():
            await self._store.release_name(kind, name, id)

    async def resolve(self, kind: str, name: str) -> int | None:
        with available():
            return await self._store.resolve(kind, name)

    async def revoked_sessions(self, since_ms: int) -> list[tuple[str, int]]:
        with available():
            return await self._store.revoked_sessions(since_ms)

    async def ended_accounts(self, since_ms: int) -> list[tuple[int, int]]:
        with available():
            return await self._store.ended_accounts(since_ms)

    async def leases(self) -> Leases:
        """See ``Backend.leases``."""
        with available():
            owners = await self._store.owners()
        held = Counter(owner for owner, _ in owners.slots.values())
        workers = [Lease(str(worker.id), worker.node, worker.lease_s, held[worker.id]) for worker in owners.live]
        over = {worker.id for worker in owners.live if worker.lease_s <= 0}
        held_on = {slot for slot, (owner, _) in owners.slots.items() if owner not in over}
        return Leases(workers, [slot for slot in range(SLOTS) if slot not in held_on])

    async def authors(self, ids: Sequence[int]) -> dict[int, AuthorView]:
        with available():
            found = await self._store.authors(ids)
        return {id: view for id, author in found.items() if (view := author_view(author)) is not None}

    async def posts(
        self, *, before: int | None, tag: str | None, author_id: int | None, reader: int, drafts: bool, limit: int
    ) -> list[PostView]:
        """See ``Backend.posts``."""
        states = ("published", "scheduled", "draft") if drafts else ("published",)
        with available():
            summaries = await self._store.posts(
                before=before, tag=tag, author_id=author_id, reader=reader, states=states, limit=limit
            )
        shown = partial(summary_view, self._encoder, epoch=self._epoch, watchers=self._watchers)
        return [shown(summary) for summary in summaries]


def summary_view(
    encoder: Encoder, summary: PostSummary, *, epoch: Callable[[str], str], watchers: Callable[[str], int]
) -> PostView:
    """A post on a page of posts."""
    key, state = post_key(summary.post.id), summary.state
    counters = Counters(
        comments=state.comments,
        reactions=state.reactions,
        applause=state.applause,
        views=summary.views,
        viewers=summary.viewers,
        watchers=watchers(key),
    )
    cursor = str(Cursor(epoch(key), state.head))
    return encoder.post(summary.post, summary.author, version=state.version, counters=counters, cursor=cursor)


@contextmanager
def available() -> Iterator[None]:
    """The store's absence, as clients are told of it."""
    try:
        yield
    except StoreUnavailable:
        raise Unavailable() from None
