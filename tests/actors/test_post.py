"""A post: every command, every refusal, and that it comes back from snapshot and rows as it was."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.actor import ReadHead, RingAlarm, ShowPost
from actors.post import PostActor
from actors.poststate import RECENT_MAX
from protocol.accounts import ReadAccount
from protocol.commands import (
    ANONYMOUS,
    APPLAUSE_MAX,
    BODY_CHARS_MAX,
    Applaud,
    ApproveComment,
    Command,
    CreateComment,
    CreatePost,
    DeleteComment,
    DeletePost,
    EditComment,
    EditPost,
    EraseComments,
    ImportComment,
    Person,
    PublishPost,
    React,
    ReadComment,
    ReadComments,
    ReadPost,
    View,
)
from protocol.errors import Refused
from protocol.views import Ack, CommentPage, PostView
from store.rows import Author, PostRow, ReactionRow, SnapshotRow
from tests.actors.telling import ANN, BOB, CID, MOD, NOW, POST, Told, events_of, new_post, reloaded, snapshot_of

ID = str(POST)
WINDOW_S = 900
NOW_MS = int(NOW * 1000)


def create(state: Any = "published", **values: Any) -> CreatePost:
    return CreatePost(**{"post": ID, "title": "A post", "body": "Words", "state": state, **values})


def say(body: str = "hello", parent: int | None = None) -> CreateComment:
    return CreateComment(post=ID, body=body, parent=None if parent is None else str(parent))


def edit(comment: int, body: str) -> EditComment:
    return EditComment(post=ID, comment=str(comment), body=body)


def delete(comment: int) -> DeleteComment:
    return DeleteComment(post=ID, comment=str(comment))


def approve(comment: int) -> ApproveComment:
    return ApproveComment(post=ID, comment=str(comment))


def react(on: bool = True, comment: int | None = None, kind: str = "like") -> React:
    return React(post=ID, kind=kind, on=on, comment=None if comment is None else str(comment))


def bring(source: str, **values: Any) -> ImportComment:
    eve = Person(id=0, handle="", name="Eve")
    return ImportComment(**{"post": ID, "source": source, "body": source, "created_at": 5, "author": eve, **values})


def page(told: Told, by: Person = BOB, **values: Any) -> CommentPage:
    answer = told.ask(ReadComments(**{"post": ID, "order": "oldest", "limit": 200, **values}), by)
    assert isinstance(answer, CommentPage)
    return answer


def comment(told: Told, id: int, by: Person = BOB) -> dict[str, Any]:
    view: dict[str, Any] = msgspec.json.decode(told.ask(ReadComment(post=ID, comment=str(id)), by))
    return view


def post(told: Told, by: Person = BOB) -> PostView:
    answer = told.ask(ReadPost(post=ID), by)
    assert isinstance(answer, PostView)
    return answer


@pytest.fixture
def told() -> Told:
    """A published post of Ann's."""
    told = Told(new_post())
    told.ask(create(), ANN)
    return told


@pytest.fixture
def draft() -> Told:
    told = Told(new_post())
    told.ask(create("draft"), ANN)
    return told


# -- the post itself


def test_a_post_is_created_published(told: Told) -> None:
    view = post(told)

    assert (view.state, view.title, view.slug, view.version, view.cursor) == ("published", "A post", None, 1, "epoch-1")
    assert view.created_at == view.published_at
    assert view.author is not None
    assert view.author.name == "Ann"


def test_the_same_author_creates_a_post_once(told: Told) -> None:
    assert told.ask(create(title="Another"), ANN) == Ack(id=ID, offset=1, version=1)
    assert not told.decision.events
    assert told.code(create(), BOB) == "already_exists"


def test_a_post_of_nobody_is_a_page(told: Told) -> None:
    page_ = Told(new_post())
    page_.ask(create(page_url="https://site.example/a"), ANONYMOUS)

    assert page_.ask(create(page_url="https://site.example/a"), ANONYMOUS).version == 1
    assert post(page_).author is None
    assert page_.code(EditPost(post=ID, title="Mine"), ANONYMOUS) == "not_author"
    page_.ask(EditPost(post=ID, title="Moderated"), MOD)
    assert post(page_).title == "Moderated"


def test_an_imported_post_keeps_its_time() -> None:
    told = Told(new_post())
    told.ask(create(created_at=1_000), ANN)

    assert post(told).published_at == "1970-01-01T00:00:01.000Z"


def test_an_edit_changes_what_is_given(told: Told) -> None:
    ack = told.ask(EditPost(post=ID, title="New", tags=["a"]), ANN, NOW + 5)

    assert ack == Ack(id=ID, offset=2, version=2)
    view = post(told)
    assert (view.title, view.body, view.tags, view.edited_at) == ("New", "Words", ["a"], "2026-02-02T02:40:05.000Z")


def test_an_edit_that_changes_nothing_is_no_event(told: Told) -> None:
    assert told.ask(EditPost(post=ID, title="A post"), ANN) == Ack(id=ID, offset=1, version=1)
    assert not told.decision.events


@pytest.mark.parametrize("command", [EditPost(post=ID, title="x"), PublishPost(post=ID), DeletePost(post=ID)])
def test_only_its_author_and_moderators_change_a_post(told: Told, draft: Told, command: Command) -> None:
    assert told.code(command, BOB) == "not_author"
    assert told.code(command, ANONYMOUS) == "not_author"
    # Who may not read a draft is not told of it.
    assert draft.code(command, BOB) == "post_not_found"
    told.ask(command, MOD)
    draft.ask(command, MOD)


EVERYTHING: tuple[Command, ...] = (
    ReadPost(post=ID),
    ReadComments(post=ID),
    ReadComment(post=ID, comment="1"),
    ReadHead(),
    EditPost(post=ID, title="x"),
    PublishPost(post=ID),
    say(),
    edit(1, "x"),
    delete(1),
    react(),
    Applaud(post=ID, total=1),
    View(post=ID),
)


@pytest.mark.parametrize("command", EVERYTHING)
def test_a_post_that_was_never_made_or_is_deleted_is_not_found(told: Told, command: Command) -> None:
    told.ask(say(), BOB)
    told.ask(DeletePost(post=ID), ANN)
    for by in (ANN, BOB, MOD, ANONYMOUS):
        assert Told(new_post()).code(command, by) == "post_not_found"
        assert told.code(command, by) == "post_not_found"


@pytest.mark.parametrize("command", EVERYTHING)
@pytest.mark.parametrize("by", [BOB, ANONYMOUS])
def test_a_draft_is_invisible_to_others(draft: Told, command: Command, by: Person) -> None:
    assert draft.code(command, by) == "post_not_found"


@pytest.mark.parametrize("command", [say(), react(), Applaud(post=ID, total=1), View(post=ID), edit(1, "x"), delete(1)])
def test_a_draft_takes_no_comments_and_reactions_of_its_author(draft: Told, command: Command) -> None:
    assert post(draft, ANN).state == "draft"
    assert draft.code(command, ANN) == "comments_closed"


def test_a_deleted_post_keeps_nothing_and_is_deleted_once(told: Told) -> None:
    told.ask(EditPost(post=ID, slug="a-slug", tags=["a"]), ANN)
    ack = told.ask(DeletePost(post=ID), ANN)

    (row,) = told.of(PostRow)
    assert (row.title, row.body, row.tags, row.slug, row.state) == ("", "", [], None, "deleted")
    assert told.ask(DeletePost(post=ID), ANN) == ack
    assert not told.decision.events
    assert told.code(DeletePost(post=ID), BOB) == "post_not_found"
    assert told.code(create(), ANN) == "already_exists"


def test_what_a_stream_shows_of_a_post_includes_its_deletion(told: Told) -> None:
    told.ask(DeletePost(post=ID), ANN)

    assert told.ask(ShowPost()).state == "deleted"
    assert Told(new_post()).code(ShowPost()) == "post_not_found"


# -- publication in time


def test_a_scheduled_post_is_published_by_its_alarm() -> None:
    told = Told(new_post())
    told.ask(create(publish_at=NOW_MS + 60_000), ANN)
    assert told.alarms == {"publish": NOW_MS + 60_000}
    assert (post(told, ANN).state, post(told, ANN).publish_at) == ("scheduled", "2026-02-02T02:41:00.000Z")
    assert told.code(ReadPost(post=ID), BOB) == "post_not_found"
    told.ask(RingAlarm(name="publish"), now=NOW + 59)
    assert told.alarms == {"publish": NOW_MS + 60_000}
    told.ask(RingAlarm(name="publish"), now=NOW + 60)

    assert told.alarms == {"publish": None, "fanout": NOW_MS + 60_000, "finding": NOW_MS + 63_000}
    assert (post(told).state, post(told).published_at, post(told).publish_at) == (
        "published",
        "2026-02-02T02:41:00.000Z",
        None,
    )
    told.ask(RingAlarm(name="publish"), now=NOW + 61)
    assert not told.decision.events


def test_a_time_that_is_over_publishes_now() -> None:
    told = Told(new_post())
    told.ask(create(publish_at=NOW_MS), ANN)

    assert post(told).state == "published"
    assert told.decisions[0].alarms == {"fanout": NOW_MS, "finding": NOW_MS + 3_000}


def test_a_draft_is_published_now_or_later(draft: Told) -> None:
    draft.ask(PublishPost(post=ID, at=NOW_MS + 1_000), ANN)
    assert draft.alarms == {"publish": NOW_MS + 1_000}
    draft.ask(PublishPost(post=ID), ANN)

    assert draft.alarms == {"publish": None, "fanout": NOW_MS, "finding": NOW_MS + 3_000}
    assert post(draft).state == "published"
    assert draft.ask(PublishPost(post=ID, at=NOW_MS + 1_000), ANN).version == draft.actor.version
    assert not draft.decision.events


def test_a_deleted_post_is_not_published_by_its_alarm() -> None:
    told = Told(new_post())
    told.ask(create(publish_at=NOW_MS + 60_000), ANN)
    told.ask(DeletePost(post=ID), ANN)
    assert told.alarms == {"publish": None}
    told.ask(RingAlarm(name="publish"), now=NOW + 60)

    assert not told.decision.events


def test_an_alarm_that_nobody_knows_is_cleared(told: Told) -> None:
    told.ask(RingAlarm(name="from an older version"))

    assert told.alarms == {"from an older version": None}


# -- comments


def test_a_comment_is_numbered_in_order(told: Told) -> None:
    assert told.ask(say(), BOB) == Ack(id="1", offset=2, version=2)
    assert told.ask(say("reply", parent=1), CID) == Ack(id="2", offset=3, version=3)

    view = comment(told, 2)
    assert (view["parent"], view["author"]["handle"], view["offset"]) == ("1", "cid", 3)
    assert [(node.depth, node.replies) for node in page(told).comments] == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("command", "by", "code"),
    [
        (say(""), BOB, "comment_empty"),
        (say(" \n\t"), BOB, "comment_empty"),
        (say("x" * (BODY_CHARS_MAX + 1)), BOB, "comment_too_long"),
        (say(parent=9), BOB, "parent_not_found"),
        (say(parent=2), BOB, "parent_not_found"),
        (say(parent=3), BOB, "parent_not_found"),
        (say(parent=10**18), BOB, "parent_not_found"),
        (say(), ANONYMOUS, "unauthorized"),
        (edit(1, ""), BOB, "comment_empty"),
        (edit(1, "x" * (BODY_CHARS_MAX + 1)), BOB, "comment_too_long"),
        (edit(1, "x"), CID, "not_author"),
        (edit(1, "x"), ANN, "not_author"),
        (edit(1, "x"), MOD, "not_author"),
        (edit(1, "x"), ANONYMOUS, "not_author"),
        (edit(2, "x"), BOB, "comment_not_found"),
        (edit(9, "x"), BOB, "comment_not_found"),
        (edit(10**18, "x"), BOB, "comment_not_found"),
        (delete(1), CID, "not_author"),
        (delete(1), ANONYMOUS, "not_author"),
        (delete(9), BOB, "comment_not_found"),
        (approve(3), BOB, "permission_denied"),
        (approve(3), ANONYMOUS, "permission_denied"),
        (approve(9), MOD, "comment_not_found"),
        (react(comment=9), BOB, "comment_not_found"),
        (react(comment=2), BOB, "comment_not_found"),
        (react(comment=3), BOB, "comment_not_found"),
        (react(kind="hate"), BOB, "unknown_reaction"),
        (react(kind="applause"), BOB, "unknown_reaction"),
        (react(), ANONYMOUS, "unauthorized"),
        (Applaud(post=ID, total=-1), BOB, "applause_out_of_range"),
        (Applaud(post=ID, total=APPLAUSE_MAX + 1), BOB, "applause_out_of_range"),
        (Applaud(post=ID, total=1), ANONYMOUS, "unauthorized"),
        (ReadComment(post=ID, comment="9"), BOB, "comment_not_found"),
        (ReadComment(post=ID, comment="3"), BOB, "comment_not_found"),
        (ReadComments(post=ID, parent="9"), BOB, "comment_not_found"),
        (ReadComments(post=ID, only="held"), BOB, "permission_denied"),
        (bring("wp:9"), BOB, "permission_denied"),
        (bring("wp:9", parent_source="wp:8"), MOD, "parent_not_found"),
        (bring("wp:9", body=""), MOD, "comment_empty"),
        (ReadAccount(account=1), MOD, "method_not_found"),
    ],
)
def test_a_command_is_refused(told: Told, command: Command, by: Person, code: str) -> None:
    """Of comments there are: 1 of Bob's, 2 of Bob's deleted, 3 held."""
    told.ask(say("a"), BOB)
    told.ask(say("b"), BOB)
    told.ask(delete(2), BOB)
    told.ask(bring("wp:1", held=True), MOD)

    assert told.code(command, by) == code


def test_a_comment_of_the_greatest_length_is_taken(told: Told) -> None:
    told.ask(say("x" * BODY_CHARS_MAX), BOB)


def test_closed_comments_take_no_new_ones(told: Told) -> None:
    told.ask(say(), BOB)
    told.ask(EditPost(post=ID, comments_open=False), ANN)

    assert told.code(say(), BOB) == "comments_closed"
    told.ask(edit(1, "still mine"), BOB)
    told.ask(EditPost(post=ID, comments_open=True), ANN)
    told.ask(say(), BOB)


def test_a_comment_may_be_edited_for_a_while(told: Told) -> None:
    told.ask(say(), BOB)
    assert told.ask(edit(1, "edited"), BOB, NOW + WINDOW_S) == Ack(id="1", offset=3, version=3)

    assert told.code(edit(1, "late"), BOB, NOW + WINDOW_S + 0.01) == "edit_window_over"
    assert (comment(told, 1)["body"], comment(told, 1)["edited_at"]) == ("edited", "2026-02-02T02:55:00.000Z")


def test_an_edit_to_the_same_text_is_no_event(told: Told) -> None:
    told.ask(say(), BOB)

    assert told.ask(edit(1, "hello"), BOB) == Ack(id="1", offset=2)
    assert not told.decision.events


@pytest.mark.parametrize("by", [BOB, ANN, MOD])
def test_a_deleted_comment_leaves_a_tombstone_with_its_replies(told: Told, by: Person) -> None:
    told.ask(say(), BOB)
    told.ask(say("reply", parent=1), CID)
    # There is no window for it.
    ack = told.ask(delete(1), by, NOW + 10 * WINDOW_S)

    assert ack == Ack(id="1", offset=4, version=4)
    assert (comment(told, 1)["state"], comment(told, 1)["body"], comment(told, 1)["author"]) == ("deleted", "", None)
    assert [node.depth for node in page(told).comments] == [0, 1]
    assert page(told).total == 1
    assert told.comments()[0].body == ""
    assert told.ask(delete(1), by) == Ack(id="1", offset=4)
    assert not told.decision.events


def test_a_held_comment_is_for_moderators_the_post_s_author_and_its_own(told: Told) -> None:
    told.ask(bring("wp:1", held=True, author=BOB), MOD)
    assert told.actor.head == 1
    assert told.actor.publication(told.decision.events[0]) is None

    for by in (ANN, MOD, BOB):
        assert comment(told, 1, by)["state"] == "held"
    assert told.code(ReadComment(post=ID, comment="1"), CID) == "comment_not_found"
    assert page(told).comments == []
    assert [node.depth for node in page(told, ANN, only="held").comments] == [0]
    assert post(told).counters.comments == 0


def test_an_approved_comment_is_shown_to_all(told: Told) -> None:
    told.ask(bring("wp:1", held=True), MOD)
    assert told.ask(approve(1), ANN) == Ack(id="1", offset=2, version=3)

    assert comment(told, 1, CID)["state"] == "visible"
    assert page(told).total == 1
    assert told.ask(approve(1), ANN) == Ack(id="1", offset=2)
    assert page(told, ANN, only="held").comments == []


def test_a_held_comment_may_be_deleted_and_then_has_its_place_as_a_tombstone(told: Told) -> None:
    told.ask(bring("wp:1", held=True), MOD)
    told.ask(delete(1), MOD)

    assert told.actor.head == 1
    assert post(told).counters.comments == 0
    assert told.code(approve(1), MOD) == "comment_not_found"


def test_an_import_is_done_once_by_its_source(told: Told) -> None:
    told.ask(bring("wp:1"), MOD)
    told.ask(bring("wp:2", parent_source="wp:1"), MOD)

    assert told.ask(bring("wp:1", body="other"), MOD) == Ack(id="1")
    assert not told.decision.events
    view = comment(told, 2)
    assert (view["parent"], view["created_at"], view["author"]["name"]) == ("1", "1970-01-01T00:00:00.005Z", "Eve")


def test_pingbacks_stand_apart(told: Told) -> None:
    told.ask(bring("wp:1", kind="pingback"), MOD)
    told.ask(say(), BOB)

    assert [node.comment is not None for node in page(told).comments] == [True]
    (node,) = page(told, only="pingbacks").comments
    assert msgspec.json.decode(node.comment)["kind"] == "pingback"
    assert post(told).counters.comments == page(told).total == 1


def test_comments_may_be_imported_into_a_draft(draft: Told) -> None:
    assert draft.ask(bring("wp:1"), MOD).id == "1"
    assert draft.code(bring("wp:2"), ANN) == "permission_denied"


def test_an_erased_author_leaves_the_words_or_only_a_place(told: Told) -> None:
    for _ in range(3):
        told.ask(say(), BOB)
    told.ask(say(), CID)
    told.ask(delete(2), BOB)
    told.ask(EraseComments(post=ID, account=BOB.id, comments=[1, 2, 4, 9], words=False), MOD)
    assert len(told.decision.events) == 2
    assert comment(told, 1)["author"] is None
    assert comment(told, 1)["body"] == "hello"
    assert comment(told, 4)["author"]["handle"] == "cid"
    told.ask(EraseComments(post=ID, account=BOB.id, comments=[1, 2, 3], words=True), MOD)

    assert [row.author_id for row in told.comments()] == [None, None, None, CID.id]
    assert [row.state for row in told.comments()] == ["visible", "deleted", "deleted", "visible"]
    offsets = [event.row.changed_offset for event in events_of(told)]
    assert offsets == list(range(1, len(offsets) + 1))
    assert told.actor.head == offsets[-1]
    told.ask(EraseComments(post=ID, account=BOB.id, comments=[1, 2, 3], words=True), MOD)
    assert not told.decision.events


# -- reactions


def test_a_reaction_is_given_once_and_taken_back(told: Told) -> None:
    assert told.ask(react(), BOB) == Ack(version=2)
    assert told.ask(react(), BOB) == Ack(version=2)
    assert not told.decision.events
    told.ask(react(), CID)
    told.ask(react(kind="love"), BOB)
    assert post(told, BOB).counters.reactions == {"like": 2, "love": 1}
    assert set(post(told, BOB).mine or ()) == {"like", "love"}
    assert told.ask(react(False), BOB).version == 5
    assert told.ask(react(False), BOB).version == 5
    assert not told.decision.events

    assert post(told).counters.reactions == {"like": 1, "love": 1}
    assert post(told, ANONYMOUS).mine is msgspec.UNSET


def test_reactions_to_a_comment_stand_beside_it(told: Told) -> None:
    told.ask(say(), BOB)
    told.ask(react(comment=1), CID)

    (node,) = page(told, CID).comments
    assert (node.reactions, node.mine) == ({"like": 1}, ["like"])
    (node,) = page(told, ANONYMOUS).comments
    assert (node.reactions, node.mine) == ({"like": 1}, msgspec.UNSET)
    assert post(told).counters.reactions == {}
    assert told.actor.numbers([1]).of_comments == {"1": {"like": 1}}  # type: ignore[union-attr]
    # A reaction is nothing that the stream shows by itself.
    assert told.actor.head == 2


def test_applause_is_the_total_of_each_person(told: Told) -> None:
    assert told.ask(Applaud(post=ID, total=10), BOB) == Ack(version=2, total=10)
    assert told.ask(Applaud(post=ID, total=10), BOB) == Ack(version=2, total=10)
    assert not told.decision.events
    told.ask(Applaud(post=ID, total=50), CID)
    assert post(told).counters.applause == 60
    told.ask(Applaud(post=ID, total=0), CID)

    assert (post(told, BOB).counters.applause, post(told, BOB).applause_mine) == (10, 10)


def test_a_view_counts_once_in_half_an_hour(told: Told) -> None:
    for by in (BOB, BOB, CID, ANONYMOUS):
        told.ask(View(post=ID), by)
    told.ask(View(post=ID), BOB, NOW + 1_800)

    assert (post(told).counters.views, post(told).counters.viewers) == (4, 3)
    assert told.actor.version == 1


def test_another_name_of_an_author_is_shown_in_what_is_in_memory(told: Told) -> None:
    for _ in range(3):
        told.ask(say(), BOB)
    told.actor.author_changed(BOB.id, Author(BOB.id, "bob", "Robert", None))
    told.actor.author_changed(ANN.id, Author(ANN.id, "ann", "Anna", None))

    assert {comment(told, id)["author"]["name"] for id in (1, 2, 3)} == {"Robert"}
    assert post(told).author.name == "Anna"  # type: ignore[union-attr]


# -- publications


def test_every_publication_has_the_next_offset(told: Told) -> None:
    for command, by in [
        (say(), BOB),
        (edit(1, "x"), BOB),
        (react(), CID),
        (bring("wp:1", held=True), MOD),
        (approve(2), MOD),
        (EditPost(post=ID, title="x"), ANN),
        (delete(1), BOB),
    ]:
        told.ask(command, by)
    publications = [told.actor.publication(event) for event in events_of(told)]

    assert [publication.offset for publication in publications if publication] == [1, 2, 3, 4, 5, 6]
    assert [publication is None for publication in publications] == [False, False, False, True, False, False, False]
    last = msgspec.json.decode(publications[-1].encode())  # type: ignore[union-attr]
    assert (last["type"], last["comment"]["state"]) == ("comment", "deleted")


def test_a_publication_shows_the_post_as_it_was_then(told: Told) -> None:
    told.ask(EditPost(post=ID, title="first"), ANN)
    publication = told.actor.publication(told.decision.events[0])
    told.ask(EditPost(post=ID, title="second"), ANN)

    assert publication is not None
    assert msgspec.json.decode(publication.encode())["post"]["title"] == "first"


# -- as it comes back

COMMANDS = st.one_of(
    st.builds(say, st.sampled_from(("a", "b")), st.one_of(st.none(), st.integers(1, 12))),
    st.builds(edit, st.integers(1, 12), st.sampled_from(("a", "b", "c"))),
    st.builds(delete, st.integers(1, 12)),
    st.builds(approve, st.integers(1, 12)),
    st.builds(react, st.booleans(), st.one_of(st.none(), st.integers(1, 12)), st.sampled_from(("like", "love"))),
    st.builds(lambda total: Applaud(post=ID, total=total), st.integers(-1, 51)),
    st.builds(
        lambda number, held, kind: bring(f"wp:{number}", held=held, kind=kind),
        st.integers(1, 6),
        st.booleans(),
        st.sampled_from(("comment", "comment", "pingback")),
    ),
    st.builds(lambda title: EditPost(post=ID, title=title), st.sampled_from(("x", "y"))),
    st.builds(
        lambda account, ids, words: EraseComments(post=ID, account=account, comments=ids, words=words),
        st.integers(2, 3),
        st.lists(st.integers(1, 12), max_size=4, unique=True),
        st.booleans(),
    ),
    st.just(View(post=ID)),
)
STEP = st.tuples(COMMANDS, st.sampled_from((ANN, BOB, BOB, CID, MOD, MOD, ANONYMOUS)))


def follow(told: Told, steps: list[tuple[Command, Person]]) -> None:
    for command, by in steps:
        with suppress(Refused):
            told.ask(command, by)


def everything_shown(told: Told) -> list[object]:
    shown: list[object] = [told.ask(ReadHead(), MOD)]
    for by in (ANN, BOB, CID, MOD, ANONYMOUS):
        shown.append(post(told, by))
        for order in ("newest", "oldest", "best"):
            shown += [page(told, by, order=order, view=view) for view in ("threads", "level")]
        shown.append(page(told, by, only="pingbacks"))
    shown.append(page(told, MOD, only="held"))
    return shown


@settings(max_examples=80, deadline=None)
@given(st.lists(STEP, min_size=30, max_size=60), st.integers(0, 60), st.lists(STEP, min_size=5, max_size=10))
def test_a_post_comes_back_from_any_snapshot_and_the_rows_after_it(
    steps: list[tuple[Command, Person]], cut: int, more: list[tuple[Command, Person]]
) -> None:
    told = Told(new_post())
    told.ask(create(), ANN)
    follow(told, steps[:cut])
    assert isinstance(told.actor, PostActor)
    snapshot: SnapshotRow | None = snapshot_of(told.actor) if cut else None
    follow(told, steps[cut:])
    again = reloaded(told, snapshot)

    assert everything_shown(again) == everything_shown(told)
    follow(told, more)
    follow(again, more)
    assert everything_shown(again) == everything_shown(told)
    assert again.rows == told.rows


@settings(max_examples=80, deadline=None)
@given(st.lists(STEP, min_size=20, max_size=60))
def test_counters_equal_what_the_rows_add_up_to(steps: list[tuple[Command, Person]]) -> None:
    told = Told(new_post())
    told.ask(create(), ANN)
    follow(told, steps)
    counters = post(told).counters
    reactions = [row for row in told.of(ReactionRow) if row.amount]

    comments = [row for row in told.comments() if row.kind == "comment"]
    assert counters.comments == sum(row.state == "visible" for row in comments)
    assert counters.applause == sum(row.amount for row in reactions if row.kind == "applause")
    kinds = [row.kind for row in reactions if row.comment_id == 0 and row.kind != "applause"]
    assert counters.reactions == {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    for node in page(told, only="comments").comments:
        id = int(msgspec.json.decode(node.comment)["id"])
        of_comment = [row.kind for row in reactions if row.comment_id == id]
        assert node.reactions == {kind: of_comment.count(kind) for kind in of_comment}
    versions = [row.version for row in (*told.comments(), *told.of(ReactionRow))]
    assert len(set(versions)) == len(versions)
    assert all(version <= told.actor.version for version in versions)


def test_what_is_kept_in_memory_shrinks_to_its_bound(told: Told) -> None:
    for number in range(2 * RECENT_MAX):
        told.ask(say(f"comment {number}"), BOB)
    told.actor.trim()
    assert isinstance(told.actor, PostActor)

    assert told.actor.needs(edit(2 * RECENT_MAX, "x")) is None
    assert told.actor.needs(edit(1, "x")) is not None
    assert told.actor.needs(edit(10_000, "x")) is None
    assert len(page(told).comments) == 200
    told.ask(edit(1, "edited"), BOB)
    assert comment(told, 1)["body"] == "edited"


@pytest.mark.parametrize("read", [lambda told: page(told), lambda told: comment(told, 1)])
def test_a_comment_whose_row_was_never_stored_is_left_out(told: Told, read: Callable[[Told], Any]) -> None:
    told.ask(say(), BOB)
    told.ask(say(), BOB)
    again = reloaded(told, None)
    fetch = again.actor.decide(ReadComments(post=ID, order="oldest"), BOB, NOW).answer()
    written = again.written()

    assert len(fetch.finish({2: written[2]}).comments) == 1
    assert read(again)
