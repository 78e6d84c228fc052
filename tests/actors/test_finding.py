"""How a post is found: its heat, and what is let be searched when."""

from typing import Any

import pytest

from actors.actor import RingAlarm
from actors.finding import DOUBLING_MS, FINDING_AFTER_MS, FINDING_ALARM, heat
from actors.jobs import AGAIN_MS, INDEX_CHUNK, IndexPost, PostIndexed
from actors.post import PostActor
from protocol.commands import (
    Applaud,
    CreateComment,
    CreatePost,
    DeleteComment,
    DeletePost,
    EditComment,
    EditPost,
    Person,
    PublishPost,
    React,
    View,
)
from store.rows import FindingRow
from tests.actors.telling import ANN, BOB, CID, NOW, POST, Told, new_post, reloaded, snapshot_of

NOW_MS = int(NOW * 1000)
ID = str(POST)


@pytest.fixture
def told() -> Told:
    """A published post that has been brought up to date."""
    told = Told(new_post())
    told.ask(CreatePost(post=ID, title="A post", created_at=NOW_MS), ANN)
    catch_up(told)
    return told


def ring(told: Told) -> Any:
    return told.ask(RingAlarm(name=FINDING_ALARM))


def catch_up(told: Told) -> None:
    """Ring, and do what that leads to."""
    job = ring(told)
    if isinstance(job, IndexPost):
        told.ask(PostIndexed(began=job.after, through=told.actor.head))
    assert told.alarms == {FINDING_ALARM: None}


def row(told: Told) -> FindingRow:
    (row,) = told.of(FindingRow)
    assert isinstance(row, FindingRow)
    return row


def alarm(told: Told) -> int | None:
    """What the last decision set the alarm to; None: it did not."""
    return told.alarms.get(FINDING_ALARM)


def say(told: Told, body: str = "Hello", by: Person = BOB) -> None:
    told.ask(CreateComment(post=ID, body=body), by)


def later_ms(told: Told) -> int:
    """By how much the post is hotter than one on which nothing has happened."""
    assert isinstance(told.actor, PostActor)
    assert told.actor.post is not None
    return (row(told).heat >> 20) - (told.actor.post.published_id >> 20)


# -- when


def test_the_first_change_sets_an_alarm_and_those_that_follow_do_not_move_it(told: Told) -> None:
    say(told)
    assert alarm(told) == NOW_MS + FINDING_AFTER_MS
    say(told)
    assert FINDING_ALARM not in told.alarms
    told.ask(React(post=ID, kind="like"))
    assert FINDING_ALARM not in told.alarms

    catch_up(told)

    told.ask(React(post=ID, kind="love"))
    assert alarm(told) == NOW_MS + FINDING_AFTER_MS


@pytest.mark.parametrize(
    "command",
    [
        EditComment(post=ID, comment="1", body="Other words"),
        DeleteComment(post=ID, comment="1"),
        React(post=ID, kind="like"),
        Applaud(post=ID, total=3),
    ],
)
def test_what_changes_how_a_post_is_found_sets_the_alarm(told: Told, command: Any) -> None:
    say(told)
    catch_up(told)
    told.ask(command)
    assert alarm(told) == NOW_MS + FINDING_AFTER_MS


def test_a_reaction_to_a_comment_changes_nothing_of_that(told: Told) -> None:
    say(told)
    catch_up(told)
    told.ask(React(post=ID, comment="1", kind="like"))
    assert FINDING_ALARM not in told.alarms


def test_a_draft_is_not_found_until_it_is_published() -> None:
    told = Told(new_post())
    told.ask(CreatePost(post=ID, title="A draft", state="draft"), ANN)
    told.ask(EditPost(post=ID, title="Another"), ANN)
    assert FINDING_ALARM not in told.alarms
    told.ask(PublishPost(post=ID), ANN)
    assert alarm(told) == NOW_MS + FINDING_AFTER_MS
    assert ring(told) == IndexPost(POST, 0)


def test_no_commit_of_a_comment_writes_how_it_is_found(told: Told) -> None:
    before = row(told)
    say(told)
    assert row(told) == before


# -- what is indexed


def test_what_is_newer_than_the_last_offset_is_indexed(told: Told) -> None:
    up_to = told.actor.head
    say(told)
    say(told)
    assert ring(told) == IndexPost(POST, up_to)
    assert told.alarms == {}, "it rings again if the job fails"

    told.ask(PostIndexed(began=up_to, through=told.actor.head))

    assert row(told).indexed_offset == told.actor.head
    assert told.alarms == {FINDING_ALARM: None}


def test_what_changes_while_it_is_indexed_is_left_to_the_next_alarm(told: Told) -> None:
    up_to = told.actor.head
    say(told)
    ring(told)
    through = told.actor.head
    say(told)
    told.ask(PostIndexed(began=up_to, through=through))
    assert told.alarms == {FINDING_ALARM: NOW_MS + FINDING_AFTER_MS}
    say(told)
    assert FINDING_ALARM not in told.alarms
    assert ring(told) == IndexPost(POST, through)


def test_of_much_that_changed_one_chunk_follows_another_at_once(told: Told) -> None:
    up_to = told.actor.head
    for _ in range(INDEX_CHUNK + 1):
        say(told)
    ring(told)
    more = told.ask(PostIndexed(began=up_to, through=up_to + INDEX_CHUNK))
    assert more == IndexPost(POST, up_to + INDEX_CHUNK)
    assert told.alarms == {FINDING_ALARM: NOW_MS + AGAIN_MS}

    assert told.ask(PostIndexed(began=up_to + INDEX_CHUNK, through=told.actor.head)) is not more
    assert told.alarms == {FINDING_ALARM: None}


def test_what_was_indexed_twice_is_not_taken_back(told: Told) -> None:
    up_to = told.actor.head
    say(told)
    ring(told)
    told.ask(PostIndexed(began=up_to, through=told.actor.head))
    told.ask(PostIndexed(began=0, through=1))
    assert row(told).indexed_offset == told.actor.head


def test_an_alarm_that_rings_for_nothing_is_cleared_and_nothing_is_written(told: Told) -> None:
    ring(told)
    assert told.alarms == {FINDING_ALARM: None}
    assert told.decision.events == ()
    nobody = Told(new_post())
    ring(nobody)
    assert (nobody.alarms, nobody.decision.events) == ({FINDING_ALARM: None}, ())


def test_a_loaded_post_goes_on_where_it_stood(told: Told) -> None:
    say(told)
    actor = told.actor
    assert isinstance(actor, PostActor)
    again = reloaded(told, snapshot_of(actor))
    assert ring(again) == IndexPost(POST, row(told).indexed_offset)
    catch_up(again)
    assert row(again).indexed_offset == actor.head


# -- heat


def test_a_post_on_which_nothing_happened_is_as_hot_as_it_is_new(told: Told) -> None:
    assert row(told).heat == heat_of(told)
    assert later_ms(told) == 0


def heat_of(told: Told) -> int:
    assert isinstance(told.actor, PostActor)
    return heat(told.actor)


def test_each_time_that_the_score_doubles_makes_a_post_as_hot_as_one_four_hours_newer(told: Told) -> None:
    say(told)
    catch_up(told)
    assert later_ms(told) == 2 * DOUBLING_MS, "a comment counts for three, beside the one that every post has"
    told.ask(React(post=ID, kind="like"), BOB)
    told.ask(React(post=ID, kind="love"), CID)
    catch_up(told)
    assert later_ms(told) == 3 * DOUBLING_MS, "and a reaction for two"


def test_what_is_taken_back_cools_it_down(told: Told) -> None:
    told.ask(React(post=ID, kind="like"))
    told.ask(Applaud(post=ID, total=50))
    catch_up(told)
    assert later_ms(told) > 3 * DOUBLING_MS
    told.ask(React(post=ID, kind="like", on=False))
    told.ask(Applaud(post=ID, total=0))
    catch_up(told)
    assert later_ms(told) == 0


def test_a_deleted_post_and_one_that_embeds_a_page_are_in_no_list(told: Told) -> None:
    told.ask(DeletePost(post=ID), ANN)
    catch_up(told)
    assert row(told).heat == 0
    page = Told(new_post())
    page.ask(CreatePost(post=ID, title="A page", page_url="https://example.org/"), ANN)
    catch_up(page)
    assert row(page).heat == 0


def test_looks_are_told_of_when_they_have_doubled(told: Told) -> None:
    told_at = []
    for viewer in range(1, 101):
        told.ask(View(post=ID), Person(id=0, handle="", name="", role="anonymous", viewer=viewer * 7_919))
        if FINDING_ALARM in told.alarms:
            told_at.append(viewer)
            catch_up(told)
    assert told_at == [11, 33, 77]
    assert later_ms(told) > 0
    assert told.actor.version == 1, "a look changes nothing that is shown with a version"
