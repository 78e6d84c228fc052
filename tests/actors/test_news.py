"""What happened on a post since people were told, and who is told what of it."""

import pytest
from msgspec.structs import replace

from actors.actor import RingAlarm
from actors.news import MENTIONS_MAX, TOLD_MAX, mentioned
from actors.post import PostActor
from actors.telling import PEOPLE_MAX
from protocol.commands import (
    Applaud,
    CreateComment,
    CreatePost,
    DeleteComment,
    DeletePost,
    EditComment,
    EditPost,
    EraseComments,
    ImportComment,
    Person,
    React,
)
from protocol.notifications import Notice, Notify, TakeBack
from store.rows import PostStateRow
from tests.actors.telling import ANN, BOB, CID, MOD, NOW, POST, Told, new_post, reloaded, snapshot_of

NOW_MS = int(NOW * 1000)
ID = str(POST)


@pytest.fixture
def told() -> Told:
    told = Told(new_post())
    told.ask(CreatePost(post=ID, title="A post"), ANN)
    return told


def say(body: str = "Hello", parent: int | None = None) -> CreateComment:
    return CreateComment(post=ID, body=body, parent=None if parent is None else str(parent))


def react(comment: int | None = None, *, kind: str = "like", on: bool = True) -> React:
    return React(post=ID, kind=kind, on=on, comment=None if comment is None else str(comment))


def ring(told: Told) -> dict[str, list[Notice] | TakeBack]:
    """What each actor is told when the alarm rings."""
    told.ask(RingAlarm(name="news"))
    sent: dict[str, list[Notice] | TakeBack] = {}
    for message in told.decision.messages:
        assert message.receiver not in sent
        command = message.command
        assert isinstance(command, Notify | TakeBack)
        sent[message.receiver] = command.notices if isinstance(command, Notify) else command
    return sent


def person(id: int) -> Person:
    return Person(id=id, handle=f"p{id}", name=f"P{id}")


def test_the_first_news_set_the_alarm_and_the_next_do_not_move_it(told: Told) -> None:
    told.ask(say())
    assert told.alarms == {"news": NOW_MS + 1_000}
    told.ask(say(), now=NOW + 0.5)
    assert told.alarms == {}
    ring(told)
    assert told.alarms == {"news": None}
    told.ask(react(), now=NOW + 1.1)
    assert told.alarms == {"news": NOW_MS + 2_100}


def test_the_author_is_told_once_of_all_comments_and_who_wrote_them(told: Told) -> None:
    for by in (BOB, CID, BOB, ANN):
        told.ask(say(), by)

    assert ring(told) == {"user:1": [Notice("comment", POST, 0, 3, 4, [(CID.id, 1), (BOB.id, 2)])]}
    assert not told.actor.decide(RingAlarm(name="news"), MOD, NOW).messages


def test_who_is_answered_on_the_post_of_another_is_told_of_a_reply(told: Told) -> None:
    told.ask(say(), BOB)
    ring(told)
    told.ask(say(parent=1), CID)
    told.ask(say(parent=1), BOB)
    told.ask(say(parent=1), ANN)

    assert ring(told) == {
        "user:1": [Notice("comment", POST, 0, 2, 4, [(CID.id, 1), (BOB.id, 1)])],
        "user:2": [Notice("reply", POST, 1, 2, 4, [(CID.id, 1), (ANN.id, 1)])],
    }


def test_the_author_of_the_post_is_told_of_an_answer_once(told: Told) -> None:
    told.ask(say(), ANN)
    told.ask(say("@ann, no", parent=1), BOB)

    assert ring(told) == {"user:1": [Notice("comment", POST, 0, 1, 2, [(BOB.id, 1)])]}


def test_people_who_react_are_told_of_as_people(told: Told) -> None:
    told.ask(say(), BOB)
    ring(told)
    for kind in ("like", "love"):
        told.ask(react(kind=kind), CID)
    told.ask(react(1), CID)
    told.ask(react(1), BOB)
    told.ask(react(), ANN)
    told.ask(Applaud(post=ID, total=3), CID)
    told.ask(Applaud(post=ID, total=30), CID)

    assert ring(told) == {
        "user:1": [
            Notice("reaction", POST, 0, 1, 1, [(CID.id, 1)]),
            Notice("applause", POST, 0, 1, 1, [(CID.id, 1)]),
        ],
        "user:2": [Notice("reaction", POST, 1, 1, 1, [(CID.id, 1)])],
    }
    told.ask(react(kind="love", on=False), CID)
    assert not ring(told)
    told.ask(react(on=False), CID)
    told.ask(Applaud(post=ID, total=0), CID)
    assert ring(told) == {
        "user:1": [
            Notice("reaction", POST, 0, -1, 0, [(CID.id, -1)]),
            Notice("applause", POST, 0, -1, 0, [(CID.id, -1)]),
        ]
    }


def test_of_a_crowd_the_newest_are_named(told: Told) -> None:
    for id in range(100, 100 + 3 * PEOPLE_MAX):
        told.ask(react(), person(id))

    (notices,) = ring(told).values()
    assert isinstance(notices, list)
    (notice,) = notices
    assert (notice.change, notice.total, len(notice.people)) == (3 * PEOPLE_MAX, 3 * PEOPLE_MAX, PEOPLE_MAX)
    assert notice.people[-1] == (99 + 3 * PEOPLE_MAX, 1)
    assert [*notice.others, *notice.people] == [(id, 1) for id in range(100, 100 + 3 * PEOPLE_MAX)]


def test_who_is_mentioned_is_told_once(told: Told) -> None:
    told.ask(say(), CID)
    ring(told)
    told.ask(say("@bob and @Bob, @cid, @ann, @nobody.here: look", parent=1), MOD)

    assert ring(told) == {
        "user:1": [Notice("comment", POST, 0, 1, 2, [(MOD.id, 1)])],
        "user:2": [Notice("mention", POST, 2, 1, 1, [(MOD.id, 1)])],
        "user:3": [Notice("reply", POST, 1, 1, 2, [(MOD.id, 1)])],
    }
    told.ask(EditComment(post=ID, comment="2", body="@mod and @bob"), MOD)
    assert ring(told) == {"user:2": [Notice("mention", POST, 2, 1, 1, [(MOD.id, 1)])]}


def test_a_post_mentions_people_when_it_is_published_or_edited() -> None:
    told = Told(new_post())
    told.ask(CreatePost(post=ID, title="To @bob", body="and @ann"), ANN)
    assert ring(told) == {"user:2": [Notice("mention", POST, 0, 1, 1, [(ANN.id, 1)])]}
    told.ask(EditPost(post=ID, tags=["a"]), ANN)
    assert not ring(told)
    told.ask(EditPost(post=ID, body="@cid"), ANN)
    assert set(ring(told)) == {"user:2", "user:3"}


def test_a_comment_that_is_deleted_before_anyone_was_told_is_no_news(told: Told) -> None:
    told.ask(say("@cid"), BOB)
    told.ask(DeleteComment(post=ID, comment="1"), BOB)

    assert ring(told) == {"user:1": [Notice("comment", POST, 0, 0, 0, [])]}


@pytest.mark.parametrize("words", [False, True])
def test_what_is_deleted_or_loses_its_author_is_taken_back(told: Told, words: bool) -> None:
    told.ask(say("@cid"), BOB)
    ring(told)
    told.told = [(CID.id, 1), (MOD.id, 2)]
    told.ask(EraseComments(post=ID, account=BOB.id, comments=[1], words=words))

    assert ring(told) == {
        "user:1": [Notice("comment", POST, 0, -1, 0 if words else 1, [(BOB.id, -1)])],
        "user:3": TakeBack(post=POST, comments=[1]),
    }


def test_everyone_who_was_told_about_a_deleted_post_has_it_taken_back_until_nobody_is_left(told: Told) -> None:
    told.ask(say(), BOB)
    told.told = [(ANN.id, 0), (CID.id, 0)]
    told.ask(DeletePost(post=ID), ANN)

    back = TakeBack(post=POST, comments=[])
    assert ring(told) == {"user:1": back, "user:3": back}
    assert told.alarms == {"news": NOW_MS + 500}
    told.told = []
    assert not ring(told)
    assert told.alarms == {"news": None}


def test_of_many_who_were_told_about_what_is_gone_some_are_told_at_a_time(told: Told) -> None:
    told.ask(say("hello"), BOB)
    ring(told)
    told.told = [(id, 1) for id in range(100, 100 + TOLD_MAX)]
    told.ask(DeleteComment(post=ID, comment="1"), BOB)

    assert len(ring(told)) == TOLD_MAX
    assert told.alarms == {"news": NOW_MS + 500}
    told.told = []
    assert ring(told) == {"user:1": [Notice("comment", POST, 0, -1, 0, [(BOB.id, -1)])]}
    assert told.alarms == {"news": None}


def test_what_is_imported_is_no_news(told: Told) -> None:
    told.ask(
        ImportComment(post=ID, source="wp:1", body="Old, @cid", created_at=NOW_MS, author=BOB),
        MOD,
    )
    assert told.alarms == {}
    assert not ring(told)


def test_untold_news_are_read_again_after_a_load(told: Told) -> None:
    told.ask(say(), BOB)
    ring(told)
    told.ask(say("@bob", parent=1), CID)
    told.ask(react(), CID)
    told.ask(react(), BOB)
    told.ask(react(on=False), BOB)
    told.ask(DeleteComment(post=ID, comment="1"), BOB)
    assert isinstance(told.actor, PostActor)
    again = reloaded(told, snapshot_of(told.actor))
    again.told = [(MOD.id, 1)]
    again.ask(Applaud(post=ID, total=1), CID)

    told_again = ring(again)
    assert again.decision.events
    assert told_again["user:1"] == [
        Notice("comment", POST, 0, 1, 1, [(CID.id, 1)]),
        Notice("reaction", POST, 0, 1, 1, [(CID.id, 1)]),
        Notice("applause", POST, 0, 1, 1, [(CID.id, 1)]),
    ]
    assert not ring(again)


def test_who_did_more_after_a_load_is_told_of_as_who_did_it_before(told: Told) -> None:
    told.ask(say(), BOB)
    told.ask(Applaud(post=ID, total=1), BOB)
    told.ask(react(), CID)
    again = reloaded(told, None)
    again.ask(EditComment(post=ID, comment="1", body="Better"), BOB)
    again.ask(Applaud(post=ID, total=50), BOB)
    again.ask(react(on=False), CID)

    assert ring(again)["user:1"] == [
        Notice("comment", POST, 0, 1, 1, [(BOB.id, 1)]),
        Notice("reaction", POST, 0, 0, 0, []),
        Notice("applause", POST, 0, 1, 1, [(BOB.id, 1)]),
    ]


def test_who_was_told_a_moment_ago_is_told_that_it_is_gone_though_nothing_is_stored(told: Told) -> None:
    told.ask(say(), BOB)
    told.ask(say(parent=1), CID)
    ring(told)
    told.ask(DeleteComment(post=ID, comment="1"), BOB)
    assert ring(told)["user:2"] == TakeBack(post=POST, comments=[1])
    told.ask(DeletePost(post=ID), ANN)
    back = TakeBack(post=POST, comments=[])
    assert ring(told) == {"user:1": back, "user:2": back}


def test_what_is_stored_of_whom_was_told_is_read_from_there(told: Told) -> None:
    told.ask(say(), BOB)
    ring(told)
    told.actor.trim()
    told.ask(DeletePost(post=ID), ANN)
    assert ring(told) == {}


def test_the_count_is_checked_if_a_comment_that_was_told_of_is_deleted_before_a_load(told: Told) -> None:
    told.ask(say(), BOB)
    ring(told)
    told.ask(DeleteComment(post=ID, comment="1"), BOB)

    assert ring(reloaded(told, None))["user:1"] == [Notice("comment", POST, 0, 0, 0, [])]


def test_a_post_that_was_told_of_all_reads_nothing_after_a_load(told: Told) -> None:
    told.ask(say(), BOB)
    ring(told)
    state = told.actor.state_row()
    assert isinstance(state, PostStateRow)
    assert state == replace(state, told=state.version)
    again = reloaded(told, None)
    again.ask(react(), CID)

    assert ring(again) == {"user:1": [Notice("reaction", POST, 0, 1, 1, [(CID.id, 1)])]}


def test_mentions_are_handles_that_stand_alone() -> None:
    text = "@ann, @Bob.c! (@d-e) me@example.org a@b /@path @x @@two @f.g. @" + "h" * 31 + " @_i"
    assert mentioned(text) == ("ann", "bob.c", "d-e", "f.g")
    assert len(mentioned(" ".join(f"@p{n}" for n in range(30)))) == MENTIONS_MAX
