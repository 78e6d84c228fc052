"""What a person is told, in groups: how they are kept for a decision, and how they are shown."""

from collections import defaultdict
from collections.abc import Iterable
from operator import attrgetter

from actors.encoding import author_view
from protocol.notifications import NamedPost, NotificationChanged, NotificationGroup
from protocol.times import rfc3339_ms
from protocol.views import Author
from store.notifications import Named, Target, target_of
from store.rows import NotificationRow


class Groups:
    """A small cache: filled for each decision, folded into by its events, emptied once these are durable."""

    def __init__(self) -> None:
        self._stored: dict[int, NotificationRow] = {}
        self._folded: dict[int, NotificationRow | None] = {}
        self._of: dict[Target, set[int]] = defaultdict(set)
        """The ids of all of these: who is told much at once has thousands of them."""

    def provide(self, rows: Iterable[NotificationRow]) -> None:
        for row in rows:
            self._stored[row.id] = row
            self._of[target_of(row)].add(row.id)

    def fold(self, row: NotificationRow) -> None:
        self._folded[row.id] = row
        self._of[target_of(row)].add(row.id)

    def drop(self, id: int) -> None:
        self._folded[id] = None

    def of(self, target: Target) -> list[NotificationRow]:
        """Newest first, of those that are not gone; so the others."""
        return self._shown(self._of.get(target, ()))

    def about(self, post: int, comments: Iterable[int]) -> list[NotificationRow]:
        """Of the post; if there are ``comments``, only of those."""
        wanted = set(comments)
        return [row for row in self._all() if row.post_id == post and (not wanted or row.comment_id in wanted)]

    def naming(self, account: int) -> list[NotificationRow]:
        return [row for row in self._all() if account in row.sample]

    def _all(self) -> list[NotificationRow]:
        return self._shown({**self._stored, **self._folded})

    def _shown(self, ids: Iterable[int]) -> list[NotificationRow]:
        rows = (self._folded[id] if id in self._folded else self._stored[id] for id in ids)
        return sorted((row for row in rows if row is not None and not row.gone), key=attrgetter("id"), reverse=True)

    def clear(self) -> None:
        """Everything is durable."""
        self._stored.clear()
        self._folded.clear()
        self._of.clear()


def group_view(row: NotificationRow, read_offset: int) -> NotificationGroup:
    return NotificationGroup(
        id=str(row.id),
        kind=row.kind,
        post=str(row.post_id) if row.post_id else None,
        comment=str(row.comment_id) if row.comment_id else None,
        count=row.count,
        sample=list(map(str, row.sample)),
        created_at=rfc3339_ms(row.created_ms),
        updated_at=rfc3339_ms(row.updated_ms),
        read=row.grown_offset <= read_offset,
        offset=row.changed_offset,
    )


def accounts_view(named: Named, ids: Iterable[int]) -> dict[str, Author]:
    """The faces of those of ``ids`` that can be seen."""
    return {str(id): view for id in ids if (view := author_view(named.people.get(id))) is not None}


def posts_view(named: Named, ids: Iterable[int]) -> dict[str, NamedPost]:
    titles = (named.posts[id] for id in ids if id in named.posts)
    return {str(title.id): NamedPost(id=str(title.id), title=title.title, slug=title.slug) for title in titles}


def notification_changed(row: NotificationRow, named: Named, read_offset: int) -> NotificationChanged:
    """The publication that shows a group."""
    return NotificationChanged(
        group=group_view(row, read_offset),
        accounts=accounts_view(named, row.sample),
        posts=posts_view(named, (row.post_id,)),
    )
