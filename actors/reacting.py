"""Decisions about reactions, applause and views of a post."""

from functools import partial

from actors import finding
from actors.actor import Decision, ReactionSaved, Viewed
from actors.poststate import APPLAUSE, PostState
from protocol.commands import APPLAUSE_MAX, Applaud, Person, React
from protocol.errors import Refused
from protocol.views import Ack
from store.rows import ReactionRow


def react(state: PostState, command: React, by: Person) -> Decision:
    state.published(by)
    state.signed_in(by)
    if command.kind not in state.policy.reaction_kinds:
        raise Refused("unknown_reaction", f"kinds of reaction here: {', '.join(state.policy.reaction_kinds)}")
    comment = 0 if command.comment is None else int(command.comment)
    if comment and not state.tree.visible(comment):
        raise Refused("comment_not_found")
    if state.tallies.has(comment, command.kind, by.id) is command.on:
        return Decision(answer=partial(_ack, state))
    row = _reaction(state, comment, command.kind, by.id, int(command.on))
    return Decision(answer=partial(_ack, state), events=(ReactionSaved(row),))


def applaud(state: PostState, command: Applaud, by: Person) -> Decision:
    state.published(by)
    state.signed_in(by)
    if not 0 <= command.total <= APPLAUSE_MAX:
        raise Refused("applause_out_of_range")

    def ack() -> Ack:
        return Ack(version=state.version, total=command.total)

    if state.applause.of(by.id) == command.total:
        return Decision(answer=ack)
    row = _reaction(state, 0, APPLAUSE, by.id, command.total)
    return Decision(answer=ack, events=(ReactionSaved(row),))


def view(state: PostState, by: Person, now_ms: int) -> Decision:
    state.published(by)
    return Decision(answer=Ack, viewed=Viewed(by.viewer, now_ms), events=finding.watched(state))


def _reaction(state: PostState, comment: int, kind: str, person: int, amount: int) -> ReactionRow:
    return ReactionRow(
        post_id=state.post_id,
        comment_id=comment,
        kind=kind,
        user_id=person,
        amount=amount,
        version=state.version + 1,
    )


def _ack(state: PostState) -> Ack:
    return Ack(version=state.version)
