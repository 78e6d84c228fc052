"""Decides who is told what of the news of a post: once a second at most, with one message to each person."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from actors.actor import (
    CommentSaved,
    Decision,
    Event,
    Message,
    NewsNeeded,
    NewsTold,
    PostSaved,
    ReactionSaved,
)
from actors.keys import user_key
from actors.news import TOLD_MAX, Mention
from actors.poststate import PostState
from protocol.notifications import Kind, Notice, Notify, TakeBack
from protocol.views import Ack

NEWS_ALARM: Final = "news"
NEWS_AFTER_MS: Final = 1_000
"""So long news are gathered before anyone is told."""
TAKEN_BACK_AGAIN_MS: Final = 500
PEOPLE_MAX: Final = 100
"""People named in one notice; of more, the newest."""
OTHERS_MAX: Final = 20_000
"""People that are only counted, each of whom it is looked up of whether to; beyond that they are a number."""


def heard(state: PostState, events: tuple[Event, ...]) -> bool:
    """Whether ``events`` are news: if they are the first since people were told, the alarm is to be set."""
    return any(_may_be_news(state, event) for event in events)


def _may_be_news(state: PostState, event: Event) -> bool:
    match event:
        case CommentSaved(row):
            new = row.id > state.tree.last_id
            return row.source is None and (new or row.state != "visible" or not row.author_id or "@" in row.body)
        case ReactionSaved():
            return True
        case PostSaved(row):
            if row.state == "deleted":
                return row.published_ms is not None
            return "@" in row.body or "@" in row.title
        case _:
            return False


def needed(state: PostState) -> NewsNeeded | None:
    """What has to be read before people can be told, if anything has."""
    if state.news.post_gone:
        return NewsNeeded(gone=())
    answered = {*state.news.replies, *state.news.reactions, *(mention.parent for mention in state.news.mentions)}
    comments = tuple(id for id in answered if id not in state.recent and state.tree.has(id))
    handles = tuple(dict.fromkeys(handle for mention in state.news.mentions for handle in mention.handles))
    gone = tuple(state.news.gone)
    return NewsNeeded(comments=comments, handles=handles, gone=gone or None) if comments or handles or gone else None


def due(state: PostState, now_ms: int) -> Decision:
    messages = _taken_back(state)
    if state.found.told and (state.news.post_gone or len(state.found.told) >= TOLD_MAX):
        # Again, until nobody is left.
        return Decision(answer=Ack, messages=messages, alarms={NEWS_ALARM: now_ms + TAKEN_BACK_AGAIN_MS})
    notices = {} if state.news.post_gone else _Notices(state).of_people()
    about = tuple((person, notice.comment) for person, of_person in notices.items() for notice in of_person)
    told = (Message(user_key(person), Notify(notices=of_person)) for person, of_person in notices.items())
    return Decision(answer=Ack, events=(NewsTold(about),), messages=(*told, *messages), alarms={NEWS_ALARM: None})


def _taken_back(state: PostState) -> tuple[Message, ...]:
    """To everyone who was told about what is gone."""
    gone, post_gone = state.news.gone, state.news.post_gone
    telling = ((person, 0 if post_gone else comment) for person, comment in state.telling)
    of_people: dict[int, set[int]] = defaultdict(set)
    for person, comment in (*state.found.told, *(each for each in telling if post_gone or each[1] in gone)):
        of_people[person].update({comment} - {0})
    return tuple(
        Message(user_key(person), TakeBack(post=state.post_id, comments=sorted(comments)))
        for person, comments in sorted(of_people.items())
    )


class _Notices:
    """What each person is to be told of the news."""

    def __init__(self, state: PostState) -> None:
        self._state = state
        self._author = (state.post.author_id if state.post is not None else None) or 0
        self._of_people: dict[int, dict[tuple[Kind, int], Notice]] = defaultdict(dict)

    def of_people(self) -> dict[int, list[Notice]]:
        state, news = self._state, self._state.news
        self._tell(self._author, "comment", 0, news.comments, state.comments)
        for comment, people in news.replies.items():
            author = self._author_of(comment)
            # To the post's author every comment is one on the post.
            if author != self._author:
                self._tell(author, "reply", comment, people, state.comments)
        for comment, people in news.reactions.items():
            author = self._author_of(comment)
            self._tell(author, "reaction", comment, people, state.tallies.people(comment, beside=author))
        self._tell(self._author, "applause", 0, news.applause, state.applause.people(beside=self._author))
        for mention in news.mentions:
            self._mention(mention)
        return {person: list(notices.values()) for person, notices in self._of_people.items()}

    def _author_of(self, comment: int) -> int:
        """The account that a notice about the comment, or the post (0), is for; 0: nobody's."""
        if not comment:
            return self._author
        written = self._state.recent.get(comment)
        if written is None or written.comment.state != "visible" or written.comment.source is not None:
            return 0
        return written.comment.author_id or 0

    def _mention(self, mention: Mention) -> None:
        if mention.comment and not self._state.tree.visible(mention.comment):
            return
        # Each is told once of a comment.
        told = {self._author, self._author_of(mention.parent)} if mention.comment else set()
        for handle in mention.handles:
            person = self._state.found.handles.get(handle, 0)
            if person not in told:
                self._tell(person, "mention", mention.comment, {mention.by: 1}, 1)

    def _tell(self, person: int, kind: Kind, comment: int, people: Mapping[int, int], total: int) -> None:
        changes = [(id, change) for id, change in people.items() if id != person]
        if person and changes:
            change = sum(change for _, change in changes)
            changed = [(id, change) for id, change in changes if change]
            named, others = changed[-PEOPLE_MAX:], tuple(changed[:-PEOPLE_MAX][-OTHERS_MAX:])
            self._of_people[person][kind, comment] = Notice(
                kind, self._state.post_id, comment, change, total, named, others
            )
