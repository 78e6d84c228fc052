"""Rows to write, with everything that a test does not care about filled in, and a worker that writes them."""

from typing import Any, Self
from uuid import UUID, uuid4

from store.base import Batch, Fence, Store
from store.rows import (
    AccountRow,
    AlarmRow,
    BlockRow,
    BookmarkRow,
    CommentRow,
    FindingRow,
    FollowRow,
    MarkRow,
    MuteRow,
    NotificationRow,
    OperationRow,
    OutboxRow,
    PostRow,
    PostStateRow,
    PostViewsRow,
    ReactionRow,
    Row,
    SessionRow,
    SnapshotRow,
    UserStateRow,
)

NOW_MS = 1_790_000_000_123


def account(id: int = 1, **changed: Any) -> AccountRow:
    values = {"kind": "member", "handle": f"handle{id}", "name": f"Name {id}", "version": 1, "created_ms": NOW_MS}
    return AccountRow(**{"id": id, **values, **changed})


def user_state(user_id: int = 1, **changed: Any) -> UserStateRow:
    return UserStateRow(**{"user_id": user_id, "version": 1, "head": 0, "followers": 0, "following": 0, **changed})


def follow(follower: int, followee: int, **changed: Any) -> FollowRow:
    return FollowRow(**{"follower": follower, "followee": followee, "created_ms": NOW_MS, "version": 3, **changed})


def block(blocker: int, blocked: int, **changed: Any) -> BlockRow:
    return BlockRow(**{"blocker": blocker, "blocked": blocked, "created_ms": NOW_MS, **changed})


def mute(muter: int, muted: int, **changed: Any) -> MuteRow:
    return MuteRow(**{"muter": muter, "muted": muted, "until_ms": None, "created_ms": NOW_MS, **changed})


def notification(id: int, user_id: int = 1, **changed: Any) -> NotificationRow:
    """By default as it began: about post 7, its offset equal to its id."""
    values: dict[str, Any] = {
        "kind": "comment",
        "post_id": 7,
        "comment_id": 0,
        "hour_ms": NOW_MS,
        "count": 1,
        "sample": [2],
        "changed_offset": id,
        "created_ms": NOW_MS,
        "updated_ms": NOW_MS,
    }
    values |= {"user_id": user_id, "id": id, **changed}
    return NotificationRow(**{"grown_offset": values["changed_offset"], **values})


def bookmark(post_id: int, user_id: int = 1, **changed: Any) -> BookmarkRow:
    """By default its place equals the post's id."""
    return BookmarkRow(**{"user_id": user_id, "post_id": post_id, "place": post_id, "created_ms": NOW_MS, **changed})


def finding(post_id: int = 7, **changed: Any) -> FindingRow:
    return FindingRow(**{"post_id": post_id, "heat": 0, "indexed_offset": 0, **changed})


def session(id: str, **changed: Any) -> SessionRow:
    times = {"rotated_ms": NOW_MS, "created_ms": NOW_MS, "expires_ms": 10 * NOW_MS}
    return SessionRow(**{"id": id, "account_id": 1, "generation": 1, **times, **changed})


def post(id: int = 7, **changed: Any) -> PostRow:
    values: dict[str, Any] = {
        "id": id,
        "author_id": 1,
        "slug": f"slug-{id}",
        "title": "A title",
        "body": "A body",
        "tags": [],
        "state": "published",
        "comments_open": True,
        "page_url": None,
        "changed_offset": 0,
        "created_ms": NOW_MS,
        "publish_ms": None,
        "published_ms": NOW_MS,
        "edited_ms": None,
    }
    return PostRow(**{**values, **changed})


def state(post_id: int = 7, **changed: Any) -> PostStateRow:
    values: dict[str, Any] = {
        "version": 1,
        "head": 0,
        "last_comment_id": 0,
        "comments": 0,
        "reactions": {},
        "applause": 0,
    }
    return PostStateRow(**{"post_id": post_id, **values, **changed})


def snapshot(actor: str = "post:7", **changed: Any) -> SnapshotRow:
    return SnapshotRow(**{"actor": actor, "version": 1, "head": 1, "data": b"\x00data", **changed})


def views(post_id: int = 7, **changed: Any) -> PostViewsRow:
    values: dict[str, Any] = {
        "views": 3,
        "viewers": 2,
        "window_ms": NOW_MS,
        "window_viewers": b"\x00w",
        "all_viewers": b"\xffa",
    }
    return PostViewsRow(**{"post_id": post_id, **values, **changed})


def comment(id: int, post_id: int = 7, **changed: Any) -> CommentRow:
    """By default as it was created: its offset and version equal its id."""
    values: dict[str, Any] = {
        "post_id": post_id,
        "id": id,
        "parent_id": None,
        "author_id": 1,
        "body": f"Comment {id}",
        "state": "visible",
        "kind": "comment",
        "changed_offset": id,
        "version": id,
        "source": None,
        "author_name": None,
        "author_url": None,
        "created_ms": NOW_MS,
        "edited_ms": None,
        "deleted_ms": None,
    }
    return CommentRow(**{**values, **changed})


def reaction(user_id: int, **changed: Any) -> ReactionRow:
    values: dict[str, Any] = {"post_id": 7, "comment_id": 0, "kind": "like", "amount": 1, "version": 1}
    return ReactionRow(**{"user_id": user_id, **values, **changed})


def operation(op: str, **changed: Any) -> OperationRow:
    values: dict[str, Any] = {
        "account_id": 1,
        "actor": "post:7",
        "fingerprint": b"\x00f",
        "result": b"{}",
        "at_ms": NOW_MS,
    }
    return OperationRow(**{"op": op, **values, **changed})


def alarm(name: str, **changed: Any) -> AlarmRow:
    return AlarmRow(**{"slot": 7, "actor": "post:7", "name": name, "due_ms": NOW_MS, **changed})


def message(id: int, **changed: Any) -> OutboxRow:
    values: dict[str, Any] = {"slot": 7, "sender": "post:7", "receiver": "user:1", "payload": b"\x00p"}
    return OutboxRow(**{"id": id, **values, **changed})


def mark(slot: int, **changed: Any) -> MarkRow:
    return MarkRow(**{"receiver": "post:7", "slot": slot, "id": 1, **changed})


class Deleted:
    """Stands for the row of a type with this identity, to be deleted."""

    def __init__(self, row: Row) -> None:
        self.row = row


def batch(worker: UUID, fences: dict[int, Fence], *rows: tuple[int, Row | Deleted]) -> Batch:
    """A commit of (slot, row)."""
    writes: dict[type[Row], dict[tuple[int, tuple[Any, ...]], Row | None]] = {}
    for slot, row in rows:
        image = None if isinstance(row, Deleted) else row
        named = row.row if isinstance(row, Deleted) else row
        writes.setdefault(type(named), {})[slot, named.identity()] = image
    return Batch(worker=worker, fences=fences, writes=writes)


class Writer:
    """A worker that has claimed slots and commits to them, as an owner that keeps its heads does."""

    def __init__(self, store: Store, worker: UUID) -> None:
        self.store = store
        self.worker = worker
        self.epochs: dict[int, int] = {}
        self.heads: dict[int, int] = {}

    @classmethod
    async def of(cls, store: Store, *slots: int, node: str = "node", ttl_s: float = 60.0) -> Self:
        """A new live worker that owns ``slots``, by default slot 7."""
        writer = cls(store, uuid4())
        await store.register(writer.worker, node, ttl_s)
        await writer.claim(*(slots or (7,)))
        return writer

    async def claim(self, *slots: int) -> None:
        for slot, claim in (await self.store.claim(self.worker, slots)).items():
            self.epochs[slot], self.heads[slot] = claim

    def fence(self, slot: int = 7, count: int = 1) -> dict[int, Fence]:
        return {slot: Fence(self.epochs[slot], self.heads[slot], count)}

    def batch(self, *rows: Row | Deleted, slot: int = 7, count: int = 1) -> Batch:
        return batch(self.worker, self.fence(slot, count), *((slot, row) for row in rows))

    async def write(self, *rows: Row | Deleted, slot: int = 7, count: int = 1) -> None:
        """Commit ``rows`` to one slot, which must succeed."""
        heads = await self.store.commit(self.batch(*rows, slot=slot, count=count))
        assert heads == {slot: self.heads[slot] + count}
        self.heads[slot] += count
