"""How posts are found, over every store: bookmarks, the recent and the hot ones, and search."""

from collections.abc import Sequence

import pytest
from msgspec.structs import replace

from store.base import Store, StoreRefused
from store.finding import MARK_BEGIN, MARK_END, Bookmarked, Hit, Rank, Search
from store.rows import Author, Row
from store.timelines import Listed
from tests.store.conftest import PostgresRig
from tests.store.samples import (
    NOW_MS,
    Deleted,
    Writer,
    account,
    block,
    bookmark,
    comment,
    finding,
    mute,
    post,
    reaction,
    state,
)

ME, ANN, BOB = 1, 2, 3


def posted(id: int, author: int | None = ANN, *, heat: int = 0, head: int = 1, **changed: object) -> list[Row]:
    """A post with its state, published under its own id, as the first change of its stream."""
    values = {"author_id": author, "published_id": id, "changed_offset": 1, **changed}
    return [post(id, **values), state(id, head=head), finding(id, heat=heat)]


async def people(store: Store, *rows: Row) -> Writer:
    """Three people, and what else is written in the beginning."""
    writer = await Writer.of(store)
    await writer.write(*(account(id) for id in (ME, ANN, BOB)), *rows)
    return writer


def ids(found: Sequence[Listed]) -> list[int]:
    return [listed.post_id for listed in found]


async def indexed(store: Store, *posts: int) -> None:
    """Everything of these posts can be found."""
    for id in posts:
        await store.finding.index(id, 0, limit=100)


async def hits(store: Store, words: str, reader: int = 0, **asked: object) -> set[tuple[int, int]]:
    """What is found: (post, comment)."""
    search = replace(Search(words=words), **asked)
    return {hit.at[1:] for hit in await store.finding.search(search, reader=reader, limit=100)}


# -- bookmarks


async def test_a_bookmark_is_there_until_it_is_taken_away(store: Store) -> None:
    writer = await people(store, *posted(11), *posted(12, state="draft"), bookmark(11, ME))
    assert await store.finding.bookmarked(ME, 11) == Bookmarked(on=True, published=True)
    assert await store.finding.bookmarked(ME, 12) == Bookmarked(on=False, published=False)
    assert await store.finding.bookmarked(ANN, 11) == Bookmarked(on=False, published=True)
    assert await store.finding.bookmarked(ME, 404) == Bookmarked(on=False, published=False)

    await writer.write(Deleted(bookmark(11, ME)))

    assert await store.finding.bookmarked(ME, 11) == Bookmarked(on=False, published=True)
    assert await store.finding.bookmarks(ME, limit=10) == []


async def test_bookmarks_are_listed_the_last_one_first_without_what_was_deleted(store: Store) -> None:
    await people(
        store,
        *(row for id in (11, 12, 14) for row in posted(id)),
        *posted(13, state="deleted"),
        *posted(15, None, page_url="https://example.org/"),
        *(bookmark(id, ME, place=place) for id, place in ((11, 9), (12, 3), (13, 5), (15, 7))),
        bookmark(14, ANN),
        reaction(ME, post_id=11, kind="like"),
    )

    found = await store.finding.bookmarks(ME, limit=10, kinds=("like",))

    assert [(listed.place, listed.post_id, listed.mine) for listed in found] == [
        (9, 11, {"like": 1}),
        (7, 15, {}),
        (3, 12, {}),
    ]
    assert ids(await store.finding.bookmarks(ME, below=7, limit=1)) == [12]
    assert await store.finding.bookmarks_of(ME, 3) == [11, 12, 13]
    assert await store.finding.bookmarks_of(BOB, 3) == []


async def test_pages_and_those_who_ask_learn_which_posts_have_a_bookmark_of_the_reader(store: Store) -> None:
    await people(store, *posted(11), *posted(12), *posted(13), bookmark(11, ME), bookmark(13, ME), bookmark(12, ANN))

    for reader, marked in ((ME, [13, 11]), (ANN, [12]), (BOB, []), (0, [])):
        found = await store.finding.recent(reader, limit=10)
        assert [listed.post_id for listed in found if listed.bookmarked] == marked
        page = await store.timelines.posts_of(ANN, reader=reader, limit=10)
        assert [listed.post_id for listed in page.listed if listed.bookmarked] == marked
        among = await store.finding.bookmarks_among(reader, [13, 12, 11, 404])
        assert sorted(among, reverse=True) == marked
    assert await store.finding.bookmarks_among(ME, [12, 11]) == [11]
    assert await store.finding.bookmarks_among(ME, []) == []


# -- lists


async def test_recent_posts_stand_by_their_publication(store: Store) -> None:
    await people(
        store,
        *posted(11, published_id=30),
        *posted(12),
        *posted(13, tags=["tea"], published_id=20),
        *posted(14, state="draft", published_id=0),
        *posted(15, state="deleted"),
        *posted(16, page_url="https://example.org/"),
    )
    assert ids(await store.finding.recent(0, limit=10)) == [11, 13, 12]
    assert ids(await store.finding.recent(0, below=30, limit=1)) == [13]
    assert ids(await store.finding.recent(0, tag="tea", limit=10)) == [13]
    assert ids(await store.finding.recent(0, tag="tea", below=20, limit=10)) == []


async def test_hot_posts_stand_by_their_heat(store: Store) -> None:
    writer = await people(
        store,
        *posted(11, heat=100),
        *posted(12, heat=300, tags=["tea", "pots"]),
        *posted(13, heat=200),
        *posted(14),
        *posted(15, heat=400, state="deleted"),
        *posted(16, heat=500, page_url="https://example.org/"),
    )
    found = await store.finding.hot(0, limit=10)
    assert [(listed.place, listed.post_id) for listed in found] == [(300, 12), (200, 13), (100, 11)]
    assert ids(await store.finding.hot(0, below=300, limit=1)) == [13]
    assert ids(await store.finding.hot(0, tag="pots", limit=10)) == [12]

    await writer.write(finding(11, heat=350))

    assert ids(await store.finding.hot(0, limit=10)) == [11, 12, 13]


@pytest.mark.parametrize("blocker", [ME, ANN])
async def test_nothing_is_listed_across_a_block(store: Store, blocker: int) -> None:
    await people(store, *posted(11, heat=1), *posted(12, None, heat=2), block(blocker, ME + ANN - blocker))
    for listing in (store.finding.recent, store.finding.hot):
        assert ids(await listing(ME, limit=10)) == [12]
        assert ids(await listing(BOB, limit=10)) == ids(await listing(0, limit=10)) == [12, 11]


async def test_whom_one_mutes_is_not_listed_until_the_mute_ends(store: Store) -> None:
    writer = await people(store, *posted(11, heat=1), *posted(12, BOB, heat=2), mute(ME, ANN), mute(BOB, ME))
    for listing in (store.finding.recent, store.finding.hot):
        assert ids(await listing(ME, limit=10)) == [12]
        assert ids(await listing(ANN, limit=10)) == ids(await listing(0, limit=10)) == [12, 11]
    await writer.write(mute(ME, ANN, until_ms=1))
    for listing in (store.finding.recent, store.finding.hot):
        assert ids(await listing(ME, limit=10)) == [12, 11]


# -- search


async def test_posts_are_found_by_title_tags_and_text_and_comments_by_text(store: Store) -> None:
    await people(
        store,
        *posted(11, title="On kettles", body="Nothing boils.", tags=["tea"], head=3),
        comment(1, 11, changed_offset=2, body="My kettle boils"),
        comment(2, 11, changed_offset=3, body="And mine does not"),
    )
    await indexed(store, 11)

    assert await hits(store, "kettles") == {(11, 0)}
    assert await hits(store, "TEA") == {(11, 0)}
    assert await hits(store, "boils") == {(11, 0), (11, 1)}
    assert await hits(store, "boils", posts=False) == {(11, 1)}
    assert await hits(store, "boils", comments=False) == {(11, 0)}
    assert await hits(store, "boils my") == {(11, 1)}
    assert await hits(store, "boils -my") == {(11, 0)}
    assert await hits(store, "kettles or mine") == {(11, 0), (11, 2)}
    assert await hits(store, '"my kettle"') == {(11, 1)}
    assert await hits(store, "boils", tag="tea") == {(11, 0), (11, 1)}
    assert await hits(store, "boils", tag="coffee") == set()


@pytest.mark.parametrize("words", ["", "-", "or", '"', "- or & | !", "-kettle", "( )", "\x01", "%_'\\", ":*"])
async def test_a_search_that_asks_for_nothing_finds_nothing(store: Store, words: str) -> None:
    await people(store, *posted(11, title="Kettle"))
    await indexed(store, 11)
    assert await hits(store, words) == set()


async def test_a_hit_shows_where_it_is_by_whom_and_which_words_match(store: Store) -> None:
    await people(
        store,
        *posted(11, title="On tea", slug="on-tea", body="<b>Tea</b> is made", head=3),
        comment(1, 11, author_id=None, author_name="Old Hand", author_url="https://example.org/", changed_offset=2),
        comment(2, 11, author_id=BOB, body=f"My {MARK_BEGIN}tea{MARK_END}", created_ms=NOW_MS + 1, changed_offset=3),
    )
    await indexed(store, 11)

    found = {hit.at.comment_id: hit for hit in await store.finding.search(Search(words="tea"), reader=0, limit=10)}

    face = Author(BOB, "handle3", "Name 3", None)
    of_post = ("On tea", "on-tea", None)
    assert found[2] == Hit(found[2].at, *of_post, face, None, None, NOW_MS + 1, f"My {MARK_BEGIN}tea{MARK_END}")
    assert found[0].created_ms == NOW_MS
    assert f"{MARK_BEGIN}Tea{MARK_END}" in found[0].excerpt
    (imported,) = await store.finding.search(Search(words="comment"), reader=0, limit=10)
    assert (imported.author, imported.author_name, imported.author_url) == (None, "Old Hand", "https://example.org/")


async def test_what_cannot_be_seen_is_not_found(store: Store) -> None:
    writer = await people(
        store,
        *posted(11, title="tea", head=4),
        comment(1, 11, body="tea", state="held", changed_offset=0),
        comment(2, 11, body="tea", state="deleted", changed_offset=3),
        comment(3, 11, body="tea", changed_offset=4),
        *posted(12, title="tea", state="draft"),
        *posted(13, title="tea", state="deleted"),
        *posted(14, None, title="tea", page_url="https://example.org/", head=2),
        comment(1, 14, body="tea", changed_offset=2),
    )
    await indexed(store, 11, 12, 13, 14)
    assert await hits(store, "tea") == {(11, 0), (11, 3), (14, 1)}

    # At once, though the words are still there.
    await writer.write(comment(3, 11, body="", state="deleted", changed_offset=5), state(11, head=5))
    assert await hits(store, "tea") == {(11, 0), (14, 1)}
    await writer.write(*posted(11, title="", state="deleted", changed_offset=6))
    assert await hits(store, "tea") == {(14, 1)}


@pytest.mark.parametrize("blocker", [ME, ANN])
async def test_nothing_is_found_across_a_block(store: Store, blocker: int) -> None:
    await people(
        store,
        *posted(11, ANN, title="tea", head=2),
        comment(1, 11, author_id=BOB, body="tea", changed_offset=2),
        *posted(12, BOB, title="tea", head=2),
        comment(1, 12, author_id=ANN, body="tea", changed_offset=2),
        block(blocker, ME + ANN - blocker),
    )
    await indexed(store, 11, 12)
    assert await hits(store, "tea", ME) == {(11, 1), (12, 0)}
    assert await hits(store, "tea", BOB) == await hits(store, "tea") == {(11, 0), (11, 1), (12, 0), (12, 1)}


async def test_what_somebody_wrote_whom_one_mutes_is_not_found_until_the_mute_ends(store: Store) -> None:
    writer = await people(
        store,
        *posted(11, ANN, title="tea", head=2),
        comment(1, 11, author_id=BOB, body="tea", changed_offset=2),
        *posted(12, BOB, title="tea", head=2),
        comment(1, 12, author_id=ANN, body="tea", changed_offset=2),
        mute(ME, ANN),
    )
    await indexed(store, 11, 12)
    assert await hits(store, "tea", ME) == {(11, 1), (12, 0)}
    assert await hits(store, "tea", ANN) == {(11, 0), (11, 1), (12, 0), (12, 1)}
    await writer.write(mute(ME, ANN, until_ms=1))
    assert await hits(store, "tea", ME) == {(11, 0), (11, 1), (12, 0), (12, 1)}


async def test_an_edit_replaces_the_words_and_a_deletion_takes_them_away(store: Store) -> None:
    writer = await people(store, *posted(11, title="tea", head=2), comment(1, 11, body="milk", changed_offset=2))
    assert await store.finding.index(11, 0, limit=100) == 2

    await writer.write(
        comment(1, 11, body="sugar", changed_offset=3), *posted(11, title="coffee", changed_offset=4, head=4)
    )
    assert await store.finding.index(11, 2, limit=100) == 4

    assert await hits(store, "tea or milk") == set()
    assert await hits(store, "coffee or sugar") == {(11, 0), (11, 1)}

    await writer.write(*posted(11, title="", state="deleted", changed_offset=5, head=5))
    assert await store.finding.index(11, 4, limit=100) == 5
    await writer.write(*posted(11, title="back", changed_offset=6, head=6))
    assert await hits(store, "coffee or sugar") == set()


async def test_what_changed_is_indexed_in_chunks_and_may_be_indexed_again(store: Store) -> None:
    await people(
        store,
        *posted(11, head=6),
        *(comment(id, 11, body=f"word{id}", changed_offset=id + 1) for id in range(1, 6)),
    )
    assert await store.finding.index(11, 0, limit=2) == 2
    assert await hits(store, "word1 or word2") == {(11, 1)}
    assert await store.finding.index(11, 2, limit=2) == 4
    assert await store.finding.index(11, 4, limit=2) == 6
    assert await store.finding.index(11, 6, limit=2) == 6
    assert await store.finding.index(11, 0, limit=2) == 2
    assert await hits(store, " or ".join(f"word{id}" for id in range(1, 6))) == {(11, id) for id in range(1, 6)}


async def test_an_index_of_no_post_does_nothing(store: Store) -> None:
    assert await store.finding.index(404, 3, limit=10) == 3


async def test_pages_of_a_search_hold_everything_once_the_best_first(store: Store) -> None:
    rows = [row for id in range(11, 31) for row in posted(id, title="tea " * (id % 5 + 1))]
    await people(store, *rows)
    await indexed(store, *range(11, 31))
    search = Search(words="tea")
    whole = [hit.at for hit in await store.finding.search(search, reader=0, limit=100)]
    assert len(whole) == 20
    assert whole == sorted(whole, reverse=True)
    assert whole[0].rank > whole[-1].rank

    paged: list[Rank] = []
    while page := await store.finding.search(search, reader=0, limit=3, **({"after": paged[-1]} if paged else {})):
        assert len(page) <= 3
        paged += [hit.at for hit in page]
    assert paged == whole


# -- languages


async def test_a_language_that_the_database_does_not_know_is_refused(store: Store) -> None:
    with pytest.raises(StoreRefused, match="klingon"):
        await store.finding.use_language("klingon")


async def test_another_language_finds_what_was_there_before_by_its_own_rules(postgres_rig: PostgresRig) -> None:
    store = postgres_rig.store
    await people(store, *posted(11, title="Kettles", head=2), comment(1, 11, body="It boiled", changed_offset=2))
    await indexed(store, 11)
    assert await hits(store, "kettle or boiling") == set()

    await store.finding.use_language("english")
    assert await hits(store, "kettle or boiling") == {(11, 0), (11, 1)}
    # What is too common to be kept.
    assert await hits(store, "the") == set()

    await store.finding.use_language("simple")
    assert await hits(store, "kettle or boiling") == set()
    assert await hits(store, "kettles or boiled") == {(11, 0), (11, 1)}
