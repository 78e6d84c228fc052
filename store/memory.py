"""The store's twin in memory: the same answers and the same refusals as Postgres, and faults on request.

    store = MemoryStore(clock, faults=[ReplyLost("commit", at=3)])
    store.faults.append(RequestLost("renew"))

Every call lets the loop run before and after its work, as one that travels does; the work itself is one step.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, TypeVar, cast, get_args
from uuid import UUID

from msgspec import Struct
from msgspec.structs import astuple, replace

from store.base import (
    SLOTS,
    Batch,
    Changes,
    Claim,
    Fence,
    LiveWorker,
    LoadedPost,
    LoadedUser,
    Meta,
    Owners,
    PostSummary,
    StoreRefused,
    StoreUnavailable,
    WrittenComment,
)
from store.feeds import Feeds
from store.finding import Finding
from store.graph import Graph
from store.memory_feeds import MemoryFeeds
from store.memory_finding import MemoryFinding
from store.memory_graph import MemoryGraph, hidden_from
from store.memory_notifications import MemoryNotifications
from store.memory_timelines import MemoryTimelines
from store.notifications import Notifications
from store.rows import (
    AccountKind,
    AccountRow,
    AccountState,
    AlarmRow,
    Author,
    CommentKind,
    CommentRow,
    CommentStatus,
    FanoutRow,
    FindingRow,
    FollowRow,
    MarkRow,
    NotificationKind,
    NotificationRow,
    OperationRow,
    OutboxRow,
    PostRow,
    PostStateRow,
    PostStatus,
    PostViewsRow,
    ReactionRow,
    Row,
    SessionRow,
    SnapshotRow,
    UserStateRow,
)
from store.timelines import Timelines

T = TypeVar("T")
RowT = TypeVar("RowT", bound=Row)

LOCK_TIMEOUT_S = 2.0
"""As long as that a statement waits for another that holds the row of its slot."""


# -- faults


class RequestLost(Struct, frozen=True):
    """The call never arrives: nothing happens, the caller gets ``StoreUnavailable``."""

    method: str
    at: int | None = None
    """Which call of the method, from 1; None: the next."""


class ReplyLost(Struct, frozen=True):
    """The call is done, and the caller gets ``StoreUnavailable``."""

    method: str
    at: int | None = None


class Held(Struct, frozen=True):
    """The call is on its way until ``until`` is set; it is never done if the caller is cancelled before."""

    method: str
    until: asyncio.Event
    at: int | None = None


class LateCommit(Struct, frozen=True):
    """The caller gets ``StoreUnavailable``, and the commit is done once ``until`` is set.

    If it ``holds`` its slots, it has their rows locked already: claims and commits wait for it. If not, it has not
    arrived yet, and whoever claims before it fences it.
    """

    until: asyncio.Event
    holds: bool = True
    at: int | None = None
    method: Literal["commit"] = "commit"


class RowRefused(Struct, frozen=True):
    """Every commit with a row that ``matches`` is refused, for as long as this is among the faults."""

    matches: Callable[[Row], bool]
    constraint: str | None = None


CallFault = RequestLost | ReplyLost | Held | LateCommit
Fault = CallFault | RowRefused


# -- the store


class _Worker(Struct):
    node: str
    lease_until: float
    live: bool = True


class _Slot(Struct):
    owner: UUID | None = None
    epoch: int = 0
    head: int = 0


class _Late(NamedTuple):
    """A commit that runs on without its caller."""

    task: asyncio.Task[None]
    holds: frozenset[int]


_ALLOWED: MappingProxyType[tuple[type[Row], str], frozenset[str]] = MappingProxyType(
    {
        (AccountRow, "kind"): frozenset(get_args(AccountKind)),
        (AccountRow, "state"): frozenset(get_args(AccountState)),
        (PostRow, "state"): frozenset(get_args(PostStatus)),
        (CommentRow, "state"): frozenset(get_args(CommentStatus)),
        (CommentRow, "kind"): frozenset(get_args(CommentKind)),
        (NotificationRow, "kind"): frozenset(get_args(NotificationKind)),
    }
)

_UNIQUE: MappingProxyType[type[Row], tuple[str, Callable[[Any], tuple[Any, ...]]]] = MappingProxyType(
    {
        PostRow: ("post_slug_key", lambda row: (row.slug,)),
        CommentRow: ("comment_source", lambda row: (row.post_id, row.source)),
    }
)
"""Beside the keys: the constraint, and what it compares; as in SQL, what has a None equals nothing."""


class MemoryStore:
    """See ``store.base.Store``. ``clock`` gives seconds since 1970; leases and sessions run by it.

    ``faults`` may be added to at any time; each of a call strikes once. ``calls`` counts by method.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        epoch: str = "memory",
        secret: bytes = b"secret of a store in memory",
        faults: Iterable[Fault] = (),
    ) -> None:
        self.faults: list[Fault] = list(faults)
        self.calls: Counter[str] = Counter()
        self._clock = clock
        self._epoch = epoch
        self._epochs = 0
        self._secret = secret
        self._settings: dict[str, str] = {}
        self._workers: dict[UUID, _Worker] = {}
        self._slots = [_Slot() for _ in range(SLOTS)]
        self._names: dict[tuple[str, str], int] = {}
        self._accounts = 0
        self._transactions = 0
        self._written_by: dict[tuple[type[Row], tuple[Any, ...]], int] = {}
        self._tables: dict[type[Row], dict[tuple[Any, ...], Row]] = {}
        self._late: set[_Late] = set()
        self.graph: Graph = MemoryGraph(self)
        self.timelines: Timelines = MemoryTimelines(self)
        self.feeds: Feeds = MemoryFeeds(self)
        self.notifications: Notifications = MemoryNotifications(self)
        self.finding: Finding = MemoryFinding(self)

    # -- for tests

    def rows(self, row_type: type[RowT]) -> list[RowT]:
        """Every row of the type, by key."""
        table = self.table(row_type)
        return [_apart(table[key]) for key in sorted(table)]

    def heads(self) -> list[int]:
        """The head of every slot."""
        return [slot.head for slot in self._slots]

    async def settled(self) -> None:
        """Wait for every late commit."""
        while self._late:
            await asyncio.wait([late.task for late in self._late])

    # -- ownership

    async def warm(self) -> None:
        """There is nothing to open."""

    async def meta(self) -> Meta:
        return await self.call("meta", lambda: Meta(SLOTS, self._epoch, self._secret))

    async def new_epoch(self) -> str:
        def work() -> str:
            self._epochs += 1
            self._epoch = f"memory{self._epochs}"
            return self._epoch

        return await self.call("new_epoch", work)

    async def agree(self, settings: Mapping[str, str]) -> dict[str, str]:
        def work() -> dict[str, str]:
            if not any(worker.live and worker.lease_until >= self._clock() for worker in self._workers.values()):
                self._settings = dict(settings)
            return dict(self._settings)

        return await self.call("agree", work)

    async def register(self, worker: UUID, node: str, ttl_s: float) -> None:
        def work() -> None:
            known = self._workers.setdefault(worker, _Worker(node, 0.0))
            if known.live:
                known.lease_until = self._clock() + ttl_s

        await self.call("register", work)

    async def renew(self, worker: UUID, ttl_s: float) -> bool:
        def work() -> bool:
            if not self._live(worker):
                return False
            self._workers[worker].lease_until = self._clock() + ttl_s
            return True

        return await self.call("renew", work)

    async def expire(self, *, node: str | None = None) -> int:
        def over(worker: _Worker) -> bool:
            return worker.lease_until < self._clock() if node is None else worker.node.startswith(node)

        def work() -> int:
            expired = [worker for worker in self._workers.values() if worker.live and over(worker)]
            for worker in expired:
                worker.live = False
            return len(expired)

        return await self.call("expire", work)

    async def retire(self, worker: UUID) -> None:
        def work() -> None:
            if worker in self._workers:
                self._workers[worker].live = False

        await self.call("retire", work)

    async def claim(self, worker: UUID, slots: Iterable[int] | None = None) -> dict[int, Claim]:
        wanted = sorted(range(SLOTS) if slots is None else {slot for slot in slots if 0 <= slot < SLOTS})

        def claimable() -> list[int]:
            if not self._live(worker):
                return []
            return [n for n in wanted if (owner := self._slots[n].owner) == worker or not self._live(owner)]

        def work() -> dict[int, Claim]:
            claims: dict[int, Claim] = {}
            for n in claimable():
                slot = self._slots[n]
                slot.owner = worker
                slot.epoch += 1
                claims[n] = Claim(slot.epoch, slot.head)
            return claims

        return await self.call("claim", work, locks=claimable)

    async def release(self, worker: UUID, epochs: Mapping[int, int]) -> None:
        def held() -> list[int]:
            slots = self._slots
            return [n for n in sorted(epochs) if slots[n].owner == worker and slots[n].epoch == epochs[n]]

        def work() -> None:
            for n in held():
                self._slots[n].owner = None

        await self.call("release", work, locks=held)

    async def owners(self) -> Owners:
        def work() -> Owners:
            live = {id: worker for id, worker in self._workers.items() if worker.live}
            return Owners(
                [LiveWorker(id, live[id].node, live[id].lease_until - self._clock()) for id in sorted(live)],
                {n: (slot.owner, slot.epoch) for n, slot in enumerate(self._slots) if slot.owner in live},
            )

        return await self.call("owners", work)

    def _live(self, worker: UUID | None) -> bool:
        return worker in self._workers and self._workers[worker].live

    # -- writing

    async def commit(self, batch: Batch) -> dict[int, int | None]:
        return await self.call("commit", lambda: self._write(batch), locks=lambda: batch.fences)

    def _write(self, batch: Batch) -> dict[int, int | None]:
        for images in batch.writes.values():
            assert all(slot in batch.fences for slot, _ in images), "a row whose slot is not fenced would be dropped"
            for image in images.values():
                if image is not None:
                    self._check_values(image)
        passed = {n for n, fence in batch.fences.items() if self._passes(batch.worker, n, fence)}
        with self._undone_if_refused() as previous:
            for row_type, images in batch.writes.items():
                table = self.table(row_type)
                for (slot, identity), image in images.items():
                    if slot in passed:
                        previous.append((table, identity, table.get(identity)))
                        self._put(table, identity, image)
        self._transactions += 1
        self._stamp(batch, passed)
        for n in passed:
            self._slots[n].head += batch.fences[n].count
        return {n: self._slots[n].head if n in passed else None for n in batch.fences}

    def _stamp(self, batch: Batch, passed: set[int]) -> None:
        """Note which transaction saved a post, or made an edge."""
        for row_type in (PostRow, FollowRow):
            for (slot, identity), image in batch.writes.get(row_type, {}).items():
                if slot in passed:
                    if image is None or row_type.stamped:
                        self._written_by.pop((row_type, identity), None)
                    if image is not None:
                        self._written_by.setdefault((row_type, identity), self._transactions)

    def _passes(self, worker: UUID, slot: int, fence: Fence) -> bool:
        stored = self._slots[slot]
        return (stored.owner, stored.epoch, stored.head) == (worker, fence.epoch, fence.head)

    def _put(self, table: dict[tuple[Any, ...], Row], identity: tuple[Any, ...], image: Row | None) -> None:
        if image is None:
            table.pop(identity, None)
            return
        if image.insert_only and identity in table:
            raise StoreRefused("duplicate key", f"{image.table}_pkey")
        if type(image) in _UNIQUE:
            constraint, compared = _UNIQUE[type(image)]
            value = compared(image)
            others = (row for key, row in table.items() if key != identity)
            if None not in value and any(compared(other) == value for other in others):
                raise StoreRefused("duplicate value", constraint)
        table[identity] = _apart(image)

    @contextmanager
    def _undone_if_refused(self) -> Iterator[list[tuple[dict[tuple[Any, ...], Row], tuple[Any, ...], Row | None]]]:
        """Yields a list for (table, key, row before) of every change, in order."""
        previous: list[tuple[dict[tuple[Any, ...], Row], tuple[Any, ...], Row | None]] = []
        try:
            yield previous
        except StoreRefused:
            for table, identity, row in reversed(previous):
                if row is None:
                    table.pop(identity, None)
                else:
                    table[identity] = row
            raise

    def _check_values(self, row: Row) -> None:
        for fault in self.faults:
            if isinstance(fault, RowRefused) and fault.matches(row):
                raise StoreRefused("refused on request", fault.constraint)
        _check_value(astuple(row))
        for (row_type, field), allowed in _ALLOWED.items():
            if isinstance(row, row_type) and getattr(row, field) not in allowed:
                raise StoreRefused("not an allowed value", f"{row.table}_{field}_check")

    async def claim_names(
        self, kind: Literal["account", "post"], names: Sequence[tuple[str, str]], id: int
    ) -> int | str:
        made: type[Row] = AccountRow if kind == "account" else PostRow

        def work() -> int | str:
            _check_value(names)
            holders = {self._names[name] for name in names if name in self._names} or {id}
            bound = min(holders)
            if len(holders) > 1 or (bound != id and (bound,) in self.table(made)):
                return next(kind for kind, name in names if self._names.get((kind, name), id) != id)
            self._names.update(dict.fromkeys(names, bound))
            return bound

        return await self.call("claim_names", work)

    async def release_name(self, kind: str, name: str, id: int) -> None:
        def work() -> None:
            if self._names.get((kind, name)) == id:
                del self._names[kind, name]

        await self.call("release_name", work)

    async def resolve(self, kind: str, name: str) -> int | None:
        def work() -> int | None:
            _check_value((kind, name))
            return self._names.get((kind, name))

        return await self.call("resolve", work)

    async def account_number(self) -> int:
        def work() -> int:
            self._accounts += 1
            return self._accounts

        return await self.call("account_number", work)

    # -- reading

    async def load_post(self, post_id: int) -> LoadedPost:
        def work() -> LoadedPost:
            snapshot, operations, marks, alarms = self._load(f"post:{post_id}")
            version, head = (snapshot.version, snapshot.head) if snapshot else (0, 0)
            post = self._row(PostRow, post_id)
            return LoadedPost(
                snapshot=snapshot,
                operations=operations,
                marks=marks,
                alarms=alarms,
                post=post,
                author=self._author(post),
                state=self._row(PostStateRow, post_id),
                fanout=self._row(FanoutRow, post_id),
                finding=self._row(FindingRow, post_id),
                views=self._row(PostViewsRow, post_id),
                comments=[
                    replace(comment, body="")
                    for comment in self._comments(post_id)
                    if comment.version > version and (comment.changed_offset > head or comment.changed_offset == 0)
                ],
                reactions=[
                    row for row in self.table(ReactionRow).values() if row.post_id == post_id and row.version > version
                ],
            )

        return await self.call("load_post", work)

    async def load_user(self, account_id: int) -> LoadedUser:
        def current(session: SessionRow) -> bool:
            return session.revoked_ms is None and session.expires_ms > self._clock() * 1000

        def work() -> LoadedUser:
            snapshot, operations, marks, alarms = self._load(f"user:{account_id}")
            sessions = [row for row in self.table(SessionRow).values() if row.account_id == account_id and current(row)]
            return LoadedUser(
                snapshot=snapshot,
                operations=operations,
                marks=marks,
                alarms=alarms,
                account=self._row(AccountRow, account_id),
                state=self._row(UserStateRow, account_id),
                sessions=sorted(sessions, key=attrgetter("created_ms", "id")),
                unread=self._unread(account_id),
            )

        return await self.call("load_user", work)

    def _unread(self, account_id: int) -> list[tuple[int, int]]:
        state = self._row(UserStateRow, account_id)
        read_offset = 0 if state is None else state.read_offset
        groups = (row for row in self.rows(NotificationRow) if row.user_id == account_id and not row.gone)
        return [(row.id, row.grown_offset) for row in groups if row.grown_offset > read_offset]

    def _load(self, actor: str) -> tuple[SnapshotRow | None, list[OperationRow], list[MarkRow], list[AlarmRow]]:
        operations = [row for row in self.table(OperationRow).values() if row.actor == actor]
        marks = [row for row in self.table(MarkRow).values() if row.receiver == actor]
        alarms = [row for row in self.table(AlarmRow).values() if row.actor == actor]
        return (
            self._row(SnapshotRow, actor),
            sorted(operations, key=attrgetter("at_ms", "account_id", "op")),
            sorted(marks, key=attrgetter("slot")),
            sorted(alarms, key=attrgetter("name")),
        )

    async def comments(self, post_id: int, ids: Sequence[int]) -> list[WrittenComment]:
        def work() -> list[WrittenComment]:
            wanted = set(ids)
            return [self._written(comment) for comment in self._comments(post_id) if comment.id in wanted]

        return await self.call("comments", work)

    async def changes(self, post_id: int, after: int, *, rows_max: int, bytes_max: int) -> Changes:
        def work() -> Changes:
            state, post = self._row(PostStateRow, post_id), self._row(PostRow, post_id)
            rows: list[CommentRow | PostRow] = [*self._comments(post_id), *([post] if post else [])]
            changed = [row for row in rows if row.changed_offset > max(after, 0)]
            changed.sort(key=attrgetter("changed_offset"))
            page: list[CommentRow | PostRow] = []
            size_bytes = 0
            for row in changed:
                size_bytes += len(row.body.encode())
                if page and (len(page) >= rows_max or size_bytes > bytes_max):
                    break
                page.append(row)
            head = state.head if state else 0
            return Changes(
                comments=[self._written(row) for row in page if isinstance(row, CommentRow)],
                post=post if post in page else None,
                post_author=self._author(post) if post in page else None,
                head=head,
                through=head if len(page) == len(changed) else page[-1].changed_offset,
            )

        return await self.call("changes", work)

    async def reacted(self, post_id: int, after: int, limit: int) -> list[int]:
        def work() -> list[int]:
            before = [row for row in self._comments(post_id) if 0 < row.changed_offset <= after]
            version = max(before, key=lambda row: row.changed_offset).version if before else 0
            changed: dict[int, int] = {}
            for row in self.table(ReactionRow).values():
                if row.post_id == post_id and row.comment_id and row.version > version:
                    changed[row.comment_id] = max(row.version, changed.get(row.comment_id, 0))
            return sorted(changed, key=lambda id: -changed[id])[:limit]

        return await self.call("reacted", work)

    async def posts(
        self,
        *,
        before: int | None = None,
        tag: str | None = None,
        author_id: int | None = None,
        reader: int = 0,
        states: Sequence[str] = ("published",),
        limit: int = 20,
    ) -> list[PostSummary]:
        def listed(post: PostRow) -> bool:
            return (
                post.page_url is None
                and post.state in states
                and (before is None or post.id < before)
                and (tag is None or tag in post.tags)
                and (author_id is None or post.author_id == author_id)
                and not (reader and hidden_from(self, reader, post.author_id))
            )

        def work() -> list[PostSummary]:
            posts = reversed(self.rows(PostRow))
            summaries = (self._summary(post) for post in posts if listed(post))
            return [summary for summary in summaries if summary is not None][:limit]

        return await self.call("posts", work)

    def _summary(self, post: PostRow) -> PostSummary | None:
        state, views = self._row(PostStateRow, post.id), self._row(PostViewsRow, post.id)
        if state is None:
            return None
        return PostSummary(post, self._author(post), state, views.views if views else 0, views.viewers if views else 0)

    async def summaries(self, ids: Sequence[int]) -> list[PostSummary]:
        def work() -> list[PostSummary]:
            posts = (self._row(PostRow, id) for id in ids)
            summaries = (self._summary(post) for post in posts if post is not None)
            return [summary for summary in summaries if summary is not None]

        return await self.call("summaries", work)

    async def comments_of(self, account_id: int, *, after: tuple[int, int], limit: int) -> list[tuple[int, int]]:
        def work() -> list[tuple[int, int]]:
            written = (row for row in self.table(CommentRow).values() if row.author_id == account_id)
            return sorted(place for row in written if (place := (row.post_id, row.id)) > after)[:limit]

        return await self.call("comments_of", work)

    async def authors(self, ids: Sequence[int]) -> dict[int, Author]:
        def work() -> dict[int, Author]:
            found = ((id, self.face(id)) for id in ids)
            return {id: author for id, author in found if author is not None}

        return await self.call("authors", work)

    async def revoked_sessions(self, since_ms: int) -> list[tuple[str, int]]:
        def work() -> list[tuple[str, int]]:
            revoked = [
                (row.id, row.revoked_ms) for row in self.table(SessionRow).values() if row.revoked_ms is not None
            ]
            return sorted((entry for entry in revoked if entry[1] >= since_ms), key=lambda entry: entry[::-1])

        return await self.call("revoked_sessions", work)

    async def ended_accounts(self, since_ms: int) -> list[tuple[int, int]]:
        def work() -> list[tuple[int, int]]:
            ended = [(row.id, row.deleted_ms) for row in self.table(AccountRow).values() if row.deleted_ms is not None]
            return sorted((entry for entry in ended if entry[1] >= since_ms), key=lambda entry: entry[::-1])

        return await self.call("ended_accounts", work)

    async def alarms(self, slots: Sequence[int], *, before_ms: int, limit: int) -> list[AlarmRow]:
        def work() -> list[AlarmRow]:
            due = [row for row in self.table(AlarmRow).values() if row.slot in slots and row.due_ms < before_ms]
            return sorted(due, key=attrgetter("due_ms", "actor", "name"))[:limit]

        return await self.call("alarms", work)

    async def outbox(self, slots: Sequence[int]) -> list[OutboxRow]:
        def work() -> list[OutboxRow]:
            return [row for row in self.rows(OutboxRow) if row.slot in slots]

        return await self.call("outbox", work)

    # -- rows

    def bound(self, kind: str, name: str) -> int | None:
        return self._names.get((kind, name))

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    def written_by(self, row_type: type[Row], identity: tuple[Any, ...]) -> int:
        return self._written_by[row_type, identity]

    def horizon(self) -> int:
        return self._transactions + 1

    def table(self, row_type: type[RowT]) -> dict[tuple[Any, ...], RowT]:
        return cast(dict[tuple[Any, ...], RowT], self._tables.setdefault(row_type, {}))

    def _row(self, row_type: type[RowT], *identity: Any) -> RowT | None:
        row = self.table(row_type).get(identity)
        return None if row is None else _apart(row)

    def _comments(self, post_id: int) -> list[CommentRow]:
        comments = [row for row in self.table(CommentRow).values() if row.post_id == post_id]
        return sorted(comments, key=attrgetter("id"))

    def _written(self, comment: CommentRow) -> WrittenComment:
        return WrittenComment(comment, self._author(comment))

    def _author(self, work: PostRow | CommentRow | None) -> Author | None:
        return None if work is None else self.face(work.author_id)

    def face(self, account_id: int | None) -> Author | None:
        account = self._row(AccountRow, account_id)
        if account is None or account.state != "active":
            return None
        return Author(account.id, account.handle, account.name, account.url)

    # -- calls and their faults

    async def call(self, method: str, work: Callable[[], T], *, locks: Callable[[], Iterable[int]] = lambda: ()) -> T:
        """Do ``work`` in one step, once nothing holds the slots that it ``locks``."""
        self.calls[method] += 1
        fault = self._strike(method)
        await self._turn()
        match fault:
            case RequestLost():
                raise StoreUnavailable("request lost")
            case Held():
                await fault.until.wait()
            case LateCommit():
                self._leave(fault, work, locks)
                raise StoreUnavailable("gave up on a commit that goes on")
            case ReplyLost() | None:
                pass
        await self._unlocked(locks)
        result = work()
        await self._turn()
        if isinstance(fault, ReplyLost):
            raise StoreUnavailable("reply lost")
        return result

    async def _turn(self) -> None:
        """A call travels: others get their turn."""
        await asyncio.sleep(0)

    def _strike(self, method: str) -> CallFault | None:
        for fault in self.faults:
            if not isinstance(fault, RowRefused) and fault.method == method and fault.at in (None, self.calls[method]):
                self.faults.remove(fault)
                return fault
        return None

    def _leave(self, fault: LateCommit, work: Callable[[], Any], locks: Callable[[], Iterable[int]]) -> None:
        async def finish() -> None:
            await fault.until.wait()
            self._late.discard(late)
            # Nobody is there any more to hear of a refusal.
            try:
                work()
            except StoreRefused:
                return

        task = asyncio.create_task(finish(), name="late commit")
        late = _Late(task, frozenset(locks()) if fault.holds else frozenset())
        self._late.add(late)

    async def _unlocked(self, locks: Callable[[], Iterable[int]]) -> None:
        if not self._late:
            return
        try:
            async with asyncio.timeout(LOCK_TIMEOUT_S):
                while holding := [late.task for late in self._late if not late.holds.isdisjoint(locks())]:
                    await asyncio.wait(holding)
        except TimeoutError:
            raise StoreUnavailable("lock timeout") from None


def _apart(row: RowT) -> RowT:
    """``row``, sharing no list or dict that its holder might change."""
    if isinstance(row, PostRow):
        return cast(RowT, replace(row, tags=list(row.tags)))
    if isinstance(row, NotificationRow):
        return cast(RowT, replace(row, sample=list(row.sample)))
    if isinstance(row, UserStateRow):
        return cast(RowT, replace(row, silenced=list(row.silenced)))
    if isinstance(row, PostStateRow):
        return cast(RowT, replace(row, reactions=dict(row.reactions)))
    return row


def _check_value(value: Any) -> None:
    """Refuse what Postgres cannot hold: NUL or half of a surrogate pair in a text, an integer beyond 64 bits."""
    match value:
        case str():
            if "\0" in value or not _encodable(value):
                raise StoreRefused("not a valid text")
        case int():
            if not -(1 << 63) <= value < 1 << 63:
                raise StoreRefused("integer out of range")
        case dict():
            _check_value([*value, *value.values()])
        case list() | tuple():
            for element in value:
                _check_value(element)
        case _:
            pass


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
