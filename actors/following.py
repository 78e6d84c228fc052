"""Decisions about whom a person follows, blocks and mutes, and what other actors tell of theirs.

An edge is the follower's; it counts only while no block stands between the two. A block that crosses a follow is
settled by messages: the blocked one's actor takes its own edge back, and each edge that comes or goes is told to the
followee, who counts it. So the counts are right as soon as everything is delivered.
"""

from collections.abc import Callable

from msgspec.structs import replace

from actors import notifying, timelines
from actors.actor import (
    BlockEnded,
    BlockSaved,
    Decision,
    Event,
    FollowEnded,
    FollowersCounted,
    FollowRenewed,
    FollowSaved,
    Message,
    MuteEnded,
    MuteSaved,
    Need,
    NoticesNeeded,
    RelationsNeeded,
)
from actors.keys import user_key
from actors.userstate import UserState
from protocol.commands import Command, Person
from protocol.errors import Refused
from protocol.graph import (
    FOLLOWING_MAX,
    Block,
    DropFollow,
    Follow,
    FollowerGained,
    FollowerLost,
    GraphCommand,
    GraphMessage,
    Mute,
    ReadRelationships,
    Relationship,
    RemoveFollower,
    Unblock,
    Unfollow,
    Unmute,
)
from protocol.times import rfc3339_ms
from protocol.views import Ack
from store.graph import Relation
from store.rows import BlockRow, FollowRow, MuteRow


def needed(command: Command) -> Need | None:
    """The relations to read for ``command``: always anew, for others change their side without a word."""
    match command:
        case Block():
            return NoticesNeeded(ids=(int(command.account),), naming=(int(command.account),))
        case GraphCommand():
            return RelationsNeeded((int(command.account),))
        case ReadRelationships():
            return RelationsNeeded(tuple(map(int, command.accounts)))
        case DropFollow():
            return RelationsNeeded((command.account,))
        case _:
            return None


# -- what a person asks


def follow(state: UserState, command: Follow, by: Person, now_ms: int) -> Decision:
    other = _active(_other(state, command, by))
    if other.blocked_by:
        raise Refused("blocked")
    if other.blocking:
        raise Refused("blocking")
    if other.edge is not None:
        # The other may have had it dropped, which we have not heard of yet: this one is asked for after that.
        renewed = replace(other.edge, version=state.version)
        return _standing(state, other.id, now_ms, (FollowRenewed(renewed),))
    if state.following >= FOLLOWING_MAX:
        raise Refused("following_too_many")
    row = FollowRow(follower=state.account_id, followee=other.id, created_ms=now_ms, version=state.version)
    standing = _standing(state, other.id, now_ms, (FollowSaved(row),), (_told(state, other.id, FollowerGained),))
    return replace(standing, alarms=timelines.followed(state, now_ms))


def unfollow(state: UserState, command: Unfollow, by: Person, now_ms: int) -> Decision:
    other = _other(state, command, by)
    return _standing(state, other.id, now_ms, *_without_edge(state, other))


def block(state: UserState, command: Block, by: Person, now_ms: int) -> Decision:
    other = _other(state, command, by)
    if other.blocking:
        return _standing(state, other.id, now_ms)
    row = BlockRow(blocker=state.account_id, blocked=_active(other).id, created_ms=now_ms)
    ended, lost = _without_edge(state, other)
    # Also to who follows me not, as far as is stored: an edge may be on its way.
    dropped = _dropped(state, other)
    forgotten = notifying.forgotten(state, other.id, now_ms)
    return _standing(state, other.id, now_ms, (BlockSaved(row), *ended, *forgotten), (*lost, dropped))


def unblock(state: UserState, command: Unblock, by: Person, now_ms: int) -> Decision:
    other = _other(state, command, by)
    events = (BlockEnded(state.account_id, other.id),) if other.blocking else ()
    return _standing(state, other.id, now_ms, events)


def mute(state: UserState, command: Mute, by: Person, now_ms: int) -> Decision:
    other = _active(_other(state, command, by))
    if command.until is not None and command.until <= now_ms:
        raise Refused("invalid", "until: must be a time to come")
    if other.muting and other.muting_until_ms == command.until:
        return _standing(state, other.id, now_ms)
    row = MuteRow(muter=state.account_id, muted=other.id, until_ms=command.until, created_ms=now_ms)
    return _standing(state, other.id, now_ms, (MuteSaved(row),))


def unmute(state: UserState, command: Unmute, by: Person, now_ms: int) -> Decision:
    other = _other(state, command, by)
    events = (MuteEnded(state.account_id, other.id),) if other.muting else ()
    return _standing(state, other.id, now_ms, events)


def remove_follower(state: UserState, command: RemoveFollower, by: Person, now_ms: int) -> Decision:
    other = _other(state, command, by)
    messages = (_dropped(state, other),) if other.back is not None else ()
    # What is durable now is done soon.
    answer = relationship(replace(other, back=None), now_ms)
    return Decision(answer=lambda: answer, messages=messages)


def relationships(state: UserState, command: ReadRelationships, by: Person, now_ms: int) -> Decision:
    _check_asks(state, by)
    ids = [id for id in dict.fromkeys(map(int, command.accounts)) if id != state.account_id]

    def answer() -> list[Relationship]:
        standing = map(state.relations.to, ids)
        return [relationship(relation, now_ms) for relation in standing if relation.active]

    return Decision(answer=answer)


def relationship(relation: Relation, now_ms: int) -> Relationship:
    until_ms = relation.muting_until_ms
    muting = relation.muting and (until_ms is None or until_ms > now_ms)
    return Relationship(
        id=str(relation.id),
        following=relation.following,
        followed_by=relation.followed_by,
        blocking=relation.blocking,
        blocked_by=relation.blocked_by,
        muting=muting,
        muting_until=rfc3339_ms(until_ms) if muting and until_ms is not None else None,
    )


# -- what other actors tell


def gained(state: UserState, command: FollowerGained, now_ms: int) -> Decision:
    # Who was deleted while the edge was on its way is followed by nobody.
    messages = () if state.active else (_told(state, command.account, DropFollow),)
    return replace(_counted(state, command.account, 1, now_ms), messages=messages)


def lost(state: UserState, command: FollowerLost, now_ms: int) -> Decision:
    return _counted(state, command.account, -1, now_ms)


def _counted(state: UserState, account: int, change: int, now_ms: int) -> Decision:
    followers = state.followers + change
    decision, told = (
        timelines.counted(state, followers, now_ms),
        notifying.followers_changed(state, account, change, now_ms),
    )
    return replace(
        decision,
        events=(FollowersCounted(followers), *decision.events, *told.events),
        alarms={**decision.alarms, **told.alarms},
    )


def dropped(state: UserState, command: DropFollow) -> Decision:
    other = state.relations.to(command.account)
    asked_since = other.edge is not None and other.edge.version > command.version
    if asked_since and other.active and not other.blocked_by:
        return Decision(answer=Ack)
    events, messages = _without_edge(state, other)
    return Decision(answer=Ack, events=events, messages=messages)


# -- the end


def untied(state: UserState) -> Decision:
    """Undo what ties an erased account to others, as much as was read."""
    me, ties, not_ended = state.account_id, state.ties, state.relations.not_ended
    following = not_ended("edge", ties.following)
    return Decision(
        answer=Ack,
        events=(
            *(FollowEnded(me, id) for id in following),
            *(BlockEnded(me, id) for id in not_ended("blocking", ties.blocking)),
            *(MuteEnded(me, id) for id in not_ended("muting", ties.muting)),
        ),
        messages=(
            *(_told(state, id, FollowerLost) for id in following),
            *(_told(state, id, DropFollow) for id in ties.followers),
        ),
    )


# -- parts


def _other(state: UserState, command: GraphCommand, by: Person) -> Relation:
    """How the person stands to the account that ``command`` names."""
    _check_asks(state, by)
    id = int(command.account)
    if id == state.account_id:
        raise Refused("oneself")
    if not state.relations.knows(id):
        raise Refused("account_not_found")
    return state.relations.to(id)


def _check_asks(state: UserState, by: Person) -> None:
    """Only a member or a host's user, and only for oneself."""
    if by.id != state.account_id or state.active_account().kind == "guest":
        raise Refused("permission_denied")


def _active(relation: Relation) -> Relation:
    if not relation.active:
        raise Refused("account_not_found")
    return relation


def _without_edge(state: UserState, other: Relation) -> tuple[tuple[Event, ...], tuple[Message, ...]]:
    """What ends the edge to ``other``, if there is one."""
    if other.edge is None:
        return (), ()
    return (FollowEnded(state.account_id, other.id),), (_told(state, other.id, FollowerLost),)


def _dropped(state: UserState, other: Relation) -> Message:
    version = 0 if other.back is None else other.back.version
    return Message(user_key(other.id), DropFollow(account=state.account_id, version=version))


def _told(state: UserState, other: int, message: Callable[..., GraphMessage]) -> Message:
    return Message(user_key(other), message(account=state.account_id))


def _standing(
    state: UserState,
    other: int,
    now_ms: int,
    events: tuple[Event, ...] = (),
    messages: tuple[Message, ...] = (),
) -> Decision:
    """Answers how the two stand once ``events`` are applied."""
    return Decision(answer=lambda: relationship(state.relations.to(other), now_ms), events=events, messages=messages)
