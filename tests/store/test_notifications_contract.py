"""What every store says of what people are told of; each test runs over Postgres and over its twin."""

from collections.abc import Sequence

import pytest

from store.base import Store, StoreRefused
from store.notifications import GROUPS_OF_TARGET_MAX, GroupChanges, Named, Target, Title, Told
from store.rows import Author, NotificationRow
from tests.store.samples import (
    NOW_MS,
    Deleted,
    Writer,
    account,
    comment,
    notification,
    post,
    reaction,
    user_state,
)


def ids(groups: Sequence[NotificationRow]) -> list[int]:
    return [row.id for row in groups]


async def test_groups_are_listed_by_their_last_change_and_those_that_are_gone_are_not(store: Store) -> None:
    writer = await Writer.of(store)
    first, second = notification(1, changed_offset=5, sample=[3, 2], count=40), notification(2)
    await writer.write(
        user_state(1, head=6, read_offset=4),
        *(first, second, notification(3), notification(4, gone=True), notification(6, comment_id=1)),
        notification(9, user_id=2),
    )

    told = await store.notifications.page(1, limit=2)
    assert ids(told.groups) == [6, 1]
    assert told.groups[1] == first
    assert (told.head, told.read_offset, told.unread) == (6, 4, 2)
    assert ids((await store.notifications.page(1, before=5, limit=5)).groups) == [3, 2]
    assert await store.notifications.page(404, limit=5) == Told([], 0, 0, 0)


async def test_what_changed_is_read_with_the_head_and_with_what_is_gone(store: Store) -> None:
    writer = await Writer.of(store)
    rows = [notification(1, changed_offset=5), notification(2), notification(3, gone=True, changed_offset=4)]
    await writer.write(user_state(1, head=5, read_offset=2), *rows)

    assert await store.notifications.changes(1, 2, limit=2) == GroupChanges([rows[2], rows[0]], 5, 2, 5)
    assert await store.notifications.changes(1, 0, limit=2) == GroupChanges([rows[1], rows[2]], 5, 2, 4)
    assert await store.notifications.changes(1, 5, limit=2) == GroupChanges([], 5, 2, 5)
    assert await store.notifications.changes(404, 0, limit=2) == GroupChanges([], 0, 0, 0)


async def test_what_is_unread_is_loaded_with_the_person(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        user_state(1, head=7, read_offset=2, silenced=["follow", "mention"]),
        *(notification(1, changed_offset=5), notification(2), notification(3, gone=True), notification(4)),
        # What was taken back since: of what had been read, and of what had not.
        *(notification(0, changed_offset=6, grown_offset=1), notification(5, changed_offset=7, grown_offset=3)),
    )

    loaded = await store.load_user(1)
    assert loaded.unread == [(1, 5), (4, 4), (5, 3)]
    assert (await store.notifications.page(1, limit=1)).unread == 3
    assert loaded.state == user_state(1, head=7, read_offset=2, silenced=["follow", "mention"])


async def test_groups_are_found_by_target_by_post_and_by_whom_they_name(store: Store) -> None:
    writer = await Writer.of(store)
    many = [notification(id) for id in range(10, 10 + GROUPS_OF_TARGET_MAX + 2)]
    await writer.write(
        *many,
        notification(1, kind="follow", post_id=0, sample=[5, 4]),
        notification(2, kind="reaction", comment_id=3),
        notification(3, kind="mention", comment_id=3, sample=[4]),
        notification(4, gone=True),
        notification(5, kind="mention", post_id=8, comment_id=3, sample=[]),
        notification(6, user_id=2),
    )
    groups = store.notifications.groups

    newest = ids(many)[::-1][:GROUPS_OF_TARGET_MAX]
    assert ids(await groups(1, targets=[Target("comment", 7, 0), Target("follow", 0, 0)])) == [*newest, 1]
    assert ids(await groups(1, targets=[Target("mention", 7, 0)])) == []
    assert ids(await groups(1, about=[(7, 3), (8, 0)])) == [5, 3, 2]
    assert ids(await groups(1, naming=[4, 99])) == [3, 1]
    assert ids(await groups(1, targets=[Target("mention", 7, 3)], about=[(7, 3)], naming=[4])) == [3, 2, 1]
    assert await groups(1) == []


async def test_who_was_told_about_something_is_found(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        notification(1),
        notification(2, comment_id=3),
        notification(3, comment_id=3, kind="mention", sample=[4]),
        notification(1, user_id=2, comment_id=3),
        notification(2, user_id=2, comment_id=4, gone=True),
        notification(1, user_id=3, post_id=8),
    )
    about = store.notifications.told_about

    assert await about(7, [], limit=10) == [(1, 0), (2, 0)]
    assert await about(7, [3, 4], limit=10) == [(1, 3), (2, 3)]
    assert await about(7, [3, 4], limit=1) == [(1, 3)]
    assert await store.notifications.told_of(4, limit=10) == [1]
    assert await store.notifications.told_of(2, limit=2) == [1, 2]


async def test_what_groups_name_is_shown_only_while_it_can_be_seen(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        account(1), account(2, state="erasing"), post(7), post(8, state="deleted", slug=None), post(9, state="draft")
    )

    assert await store.notifications.named([1, 2, 404], [7, 8, 9, 404]) == Named(
        {1: Author(1, "handle1", "Name 1", None)}, {7: Title(7, "A title", "slug-7")}
    )
    assert await store.notifications.named([], []) == Named({}, {})


async def test_the_news_of_a_post_are_what_has_a_later_version_newest_first(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        post(7),
        *(comment(1), comment(2), comment(3, changed_offset=0, state="held", version=9), comment(1, post_id=8)),
        *(comment(4, version=6, changed_offset=3), comment(5, version=8, changed_offset=4)),
        *(reaction(1, version=2), reaction(2, version=7), reaction(3, version=5, amount=0)),
    )

    comments, reactions = await store.notifications.news(7, 4, limit=10)
    assert [row.id for row in comments] == [5, 4]
    assert [(row.user_id, row.amount) for row in reactions] == [(2, 1), (3, 0)]
    comments, reactions = await store.notifications.news(7, 0, limit=1)
    assert ([row.id for row in comments], [row.user_id for row in reactions]) == ([5], [2])


async def test_handles_are_resolved_together(store: Store) -> None:
    await store.claim_names("account", [("handle", "ann"), ("email", "bob")], 1)

    assert await store.notifications.handles(["ann", "bob", "cid"]) == {"ann": 1}


async def test_what_is_old_or_too_much_is_found_and_when_the_rest_will_be(store: Store) -> None:
    writer = await Writer.of(store)
    await writer.write(
        *(notification(id, updated_ms=NOW_MS + id) for id in range(1, 6)),
        notification(6, changed_offset=2, updated_ms=NOW_MS - 1),
    )
    old = store.notifications.old

    assert await old(1, kept=100, before_ms=NOW_MS, limit=10) == ([6], NOW_MS + 1)
    assert await old(1, kept=3, before_ms=NOW_MS, limit=10) == ([1, 2, 6], NOW_MS + 3)
    assert await old(1, kept=3, before_ms=NOW_MS, limit=1) == ([1], NOW_MS + 3)
    assert await old(404, kept=3, before_ms=NOW_MS, limit=1) == ([], None)
    await writer.write(*(Deleted(notification(id)) for id in (1, 2, 6)))
    assert ids((await store.notifications.page(1, limit=10)).groups) == [5, 4, 3]


async def test_a_kind_that_is_none_is_refused(store: Store) -> None:
    writer = await Writer.of(store)
    with pytest.raises(StoreRefused) as refusal:
        await writer.write(notification(1, kind="rumour"))
    assert refusal.value.constraint == "notification_kind_check"
