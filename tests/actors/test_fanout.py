"""A post on its way into timelines: its place, its job, and what its author is told."""

from typing import Any

import pytest

from actors.actor import Message, RingAlarm
from actors.jobs import AGAIN_MS, ChunkPushed, PushChunk
from actors.keys import user_key
from protocol.commands import CreatePost, DeletePost, EditPost, Person, PublishPost
from protocol.timelines import PostPublished, PostWithdrawn
from store.rows import FanoutRow, PostRow
from tests.actors.telling import ANN, NOW, POST, Told, new_post

ID = str(POST)
NOW_MS = int(NOW * 1000)
NOBODY = Person(id=0, handle="", name="", role="admin")


def create(told: Told, by: Person = ANN, **values: Any) -> None:
    told.ask(CreatePost(**{"post": ID, "title": "A post", **values}), by)


@pytest.fixture
def published() -> Told:
    told = Told(new_post())
    create(told)
    return told


def place(told: Told) -> int:
    (row,) = told.of(PostRow)
    return int(row.published_id)


def test_a_post_that_is_published_at_once_stands_at_its_id(published: Told) -> None:
    assert place(published) == POST
    assert published.of(FanoutRow) == [FanoutRow(post_id=POST, author_id=ANN.id, published_id=POST)]
    assert published.alarms == {"fanout": NOW_MS, "finding": NOW_MS + 3_000}
    assert list(published.decision.messages) == [Message(user_key(ANN.id), PostPublished())]


def test_a_draft_stands_nowhere_until_it_is_published() -> None:
    told = Told(new_post())
    create(told, state="draft")
    assert (place(told), told.of(FanoutRow), told.decision.messages) == (0, [], ())
    told.ask(PublishPost(post=ID), ANN, now=NOW + 60)
    assert place(told) == (NOW_MS + 60_000) << 20 | POST
    assert told.of(FanoutRow) == [FanoutRow(post_id=POST, author_id=ANN.id, published_id=place(told))]
    assert list(told.decision.messages) == [Message(user_key(ANN.id), PostPublished())]
    told.ask(PublishPost(post=ID), ANN, now=NOW + 90)
    assert not told.decision.messages


def test_a_scheduled_post_stands_where_its_alarm_published_it() -> None:
    told = Told(new_post())
    create(told, publish_at=NOW_MS + 1_000)
    told.ask(RingAlarm(name="publish"), now=NOW + 2)
    assert place(told) == (NOW_MS + 2_000) << 20 | POST
    assert len(told.of(FanoutRow)) == 1


@pytest.mark.parametrize(("by", "values"), [(NOBODY, {}), (ANN, {"page_url": "https://example.org/a"})])
def test_what_has_no_author_and_what_embeds_a_page_is_pushed_to_nobody(by: Person, values: dict[str, Any]) -> None:
    told = Told(new_post())
    create(told, by, **values)
    assert (told.of(FanoutRow), told.alarms, told.decision.messages) == ([], {"finding": NOW_MS + 3_000}, ())
    told.ask(DeletePost(post=ID), Person(id=9, handle="mod", name="Mod", role="moderator"))
    assert not told.decision.messages


def test_the_job_goes_on_after_the_last_follower_until_there_are_no_more(published: Told) -> None:
    assert published.ask(RingAlarm(name="fanout")) == PushChunk(ANN.id, POST, 0)
    assert not published.decision.events
    assert published.ask(ChunkPushed(began=0, ended=40)) == PushChunk(ANN.id, POST, 40)
    assert [row.after_follower for row in published.of(FanoutRow)] == [40]
    assert published.alarms == {"fanout": NOW_MS + AGAIN_MS}
    # Its alarm rings if nothing more is heard.
    assert published.ask(RingAlarm(name="fanout")) == PushChunk(ANN.id, POST, 40)
    published.ask(ChunkPushed(began=40, ended=None))
    assert published.of(FanoutRow) == []
    assert published.alarms == {"fanout": None}


def test_a_chunk_that_was_pushed_twice_counts_once(published: Told) -> None:
    published.ask(ChunkPushed(began=0, ended=40))
    for stale in (ChunkPushed(began=0, ended=40), ChunkPushed(began=0, ended=None)):
        assert not isinstance(published.ask(stale), PushChunk)
        assert not published.decision.events
    assert [row.after_follower for row in published.of(FanoutRow)] == [40]


def test_the_job_changes_nothing_that_is_shown(published: Told) -> None:
    before = published.actor.version, published.actor.head
    published.ask(ChunkPushed(began=0, ended=40))
    published.ask(ChunkPushed(began=40, ended=None))
    assert (published.actor.version, published.actor.head) == before


def test_a_deleted_post_is_pushed_no_further_and_its_author_told(published: Told) -> None:
    published.ask(DeletePost(post=ID), ANN)
    assert published.of(FanoutRow) == []
    assert published.alarms == {"publish": None, "fanout": None, "news": NOW_MS + 1_000}
    assert list(published.decision.messages) == [Message(user_key(ANN.id), PostWithdrawn())]
    published.ask(ChunkPushed(began=0, ended=40))
    published.ask(RingAlarm(name="fanout"))
    assert published.of(FanoutRow) == []
    published.ask(DeletePost(post=ID), ANN)
    assert not published.decision.messages


def test_an_edit_neither_moves_a_post_nor_pushes_it_again(published: Told) -> None:
    published.ask(ChunkPushed(began=0, ended=None))
    published.ask(EditPost(post=ID, title="Another"), ANN, now=NOW + 60)
    assert (place(published), published.of(FanoutRow), published.decision.messages) == (POST, [], ())
