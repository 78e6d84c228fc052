"""Live feeds, over every store: whose posts they bring, and what came, changed or went since a position."""

from store.base import Store
from store.feeds import Followed
from store.rows import Row
from tests.store.conftest import PostgresRig
from tests.store.samples import (
    NOW_MS,
    Deleted,
    Writer,
    account,
    block,
    follow,
    mute,
    post,
    state,
    user_state,
)

ME, ANN, BOB, CID = 1, 2, 3, 4
LONG = 10 * NOW_MS
"""A time in the future."""


def posted(id: int, author: int = ANN, **changed: object) -> list[Row]:
    return [post(id, **{"author_id": author, "published_id": id, "changed_offset": 1, **changed}), state(id)]


async def people(store: Store, *rows: Row) -> Writer:
    writer = await Writer.of(store)
    await writer.write(*(account(id) for id in (ME, ANN, BOB, CID)), *rows)
    return writer


async def horizon(store: Store) -> int:
    return (await store.feeds.followed([]))[0]


async def swept(store: Store, since: int, limit: int = 100) -> list[int]:
    return [saved.post_id for saved in (await store.feeds.swept([], since=since, limit=limit)).posts]


async def missed(store: Store, since: int, limit: int = 100, reader: int = ME) -> list[int]:
    return [post_id for _, post_id in (await store.feeds.missed(reader, since=since, limit=limit)).posts]


# -- whom


async def test_a_feed_brings_the_posts_of_those_whom_the_reader_follows(store: Store) -> None:
    await people(store, follow(ME, ANN), follow(ME, BOB), follow(CID, ME), user_state(ME, ties=7))
    _, found = await store.feeds.followed([ME, CID, 99])
    assert {id: followed._replace(authors=sorted(followed.authors)) for id, followed in found.items()} == {
        ME: Followed(7, [ANN, BOB], None),
        CID: Followed(0, [ME], None),
        99: Followed(0, [], None),
    }


async def test_who_is_muted_blocked_or_gone_is_not_among_them(store: Store) -> None:
    writer = await people(store, follow(ME, ANN))
    for hiding, showing in (
        (block(ME, ANN), Deleted(block(ME, ANN))),
        (block(ANN, ME), Deleted(block(ANN, ME))),
        (mute(ME, ANN), mute(ME, ANN, until_ms=1)),
        (account(ANN, state="erasing"), account(ANN)),
        (Deleted(follow(ME, ANN)), follow(ME, ANN)),
    ):
        before = await horizon(store)
        await writer.write(hiding, *posted(11))
        assert (await store.feeds.followed([ME]))[1][ME].authors == [], hiding
        assert await missed(store, before) == [], hiding
        await writer.write(showing)
        assert (await store.feeds.followed([ME]))[1][ME].authors == [ANN], showing
        assert set(await missed(store, before)) == {11}, showing


async def test_the_end_of_a_mute_is_told_if_it_hides_somebody_who_is_followed(store: Store) -> None:
    await people(store, follow(ME, ANN), mute(ME, ANN, until_ms=LONG), mute(ME, BOB, until_ms=LONG - 1))
    assert (await store.feeds.followed([ME]))[1] == {ME: Followed(0, [], LONG)}


# -- what


async def test_a_sweep_finds_what_was_published_edited_or_deleted_since(store: Store) -> None:
    writer = await people(store, *posted(11), *posted(12))
    since = await horizon(store)
    await writer.write(*posted(13, BOB))
    await writer.write(*posted(11, changed_offset=4))
    await writer.write(*posted(12, state="deleted", changed_offset=5))
    found = await store.feeds.swept([], since=since, limit=10)
    assert found.posts == [(13, BOB, 1), (11, ANN, 4), (12, ANN, 5)]
    assert (found.more, found.ties) == (False, {})
    assert (await store.feeds.swept([], since=since, limit=10)).now_ms >= found.now_ms > 0
    assert since < found.through <= await horizon(store)
    assert await swept(store, found.through) == []


async def test_drafts_embedding_pages_and_what_nobody_wrote_come_to_light_nowhere(store: Store) -> None:
    writer = await people(store, follow(ME, ANN))
    since = await horizon(store)
    await writer.write(
        *posted(11, state="draft", published_id=0, published_ms=None),
        *posted(12, state="deleted", published_id=0, published_ms=None),
        *posted(13, page_url="https://example.org/a"),
        *posted(14, author_id=None),
    )
    assert await swept(store, since) == []
    assert await missed(store, since) == []


async def test_a_sweep_tells_how_often_readers_changed_whom_they_follow(store: Store) -> None:
    await people(store, user_state(ME, ties=3), user_state(BOB, ties=5))
    found = await store.feeds.swept([ME, ANN], since=await horizon(store), limit=10)
    assert found.ties == {ME: 3}


async def test_a_page_ends_between_two_transactions(store: Store) -> None:
    writer = await people(store, follow(ME, ANN))
    since = await horizon(store)
    await writer.write(*posted(11), *posted(12), *posted(13))
    await writer.write(*posted(14))
    for read in (store.feeds.missed(ME, since=since, limit=2), store.feeds.swept([], since=since, limit=2)):
        page = await read
        assert len(page.posts) == 3
        assert page.more
        assert await missed(store, page.through) == await swept(store, page.through) == [14]


async def test_nothing_is_read_of_a_transaction_before_all_below_it_have_ended(postgres_rig: PostgresRig) -> None:
    store = postgres_rig.store
    writer = await people(store, follow(ME, ANN))
    since = await horizon(store)
    # As long as this has not ended it may still bring something that is older than what comes after it.
    slow = postgres_rig.admin.transaction()
    await slow.start()
    await postgres_rig.admin.execute("SELECT pg_current_xact_id()")
    await writer.write(*posted(11))
    found = await store.feeds.swept([], since=since, limit=10)
    assert found.posts == []
    assert await missed(store, since) == []
    await slow.rollback()
    assert await swept(store, found.through) == [11]
    assert await missed(store, found.through) == [11]


async def test_a_resume_brings_ones_own_posts_and_those_of_whom_one_follows(store: Store) -> None:
    writer = await people(store, follow(ME, ANN))
    since = await horizon(store)
    await writer.write(*posted(11, ME))
    await writer.write(*posted(12, BOB))
    await writer.write(*posted(13))
    await writer.write(*posted(11, ME, changed_offset=2))
    await writer.write(*posted(13, state="deleted", changed_offset=2))
    page = await store.feeds.missed(ME, since=since, limit=10)
    assert [post_id for _, post_id in page.posts] == [11, 13]
    assert [tx for tx, _ in page.posts] == sorted(tx for tx, _ in page.posts)
    assert since <= page.posts[0][0] < page.posts[1][0] < page.through
    assert not page.more


async def test_who_was_followed_since_brings_their_newest_posts(store: Store) -> None:
    writer = await people(store, *(row for id in range(11, 31) for row in posted(id)), *posted(31, state="deleted"))
    since = await horizon(store)
    await writer.write(*posted(40, ME))
    await writer.write(follow(ME, ANN))
    await writer.write(*posted(41, ME))
    assert await missed(store, since) == [40, *range(21, 31), 41]
    after = (await store.feeds.missed(ME, since=since, limit=100)).through
    # To write an edge once more makes no new one.
    await writer.write(follow(ME, ANN))
    assert await missed(store, after) == []
    await writer.write(Deleted(follow(ME, ANN)))
    await writer.write(follow(ME, ANN))
    assert await missed(store, after) == [*range(21, 31)]


async def test_a_position_never_goes_back(store: Store) -> None:
    await people(store)
    beyond = await horizon(store) + 1_000
    assert (await store.feeds.swept([], since=beyond, limit=1)).through == beyond
    assert (await store.feeds.missed(ME, since=beyond, limit=1)).through == beyond
