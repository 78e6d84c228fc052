"""Decisions about a user's timeline, and about the timelines that the user's posts are pushed into.

Whose posts are pushed is decided edge by edge, in the actor of who reads. An author's side only says whether the author
is a celebrity, and closes the edges of one who has become one. After "Feeding Frenzy" (Silberstein et al., SIGMOD 2010)
``adaptive`` pushes along an edge where that costs less than to look for posts: where the reader comes more often than
the author posts.
"""

from msgspec.structs import replace

from actors.actor import Decision, Habits, HabitsChanged
from actors.jobs import AGAIN_MS, CloseEdges, EdgesClosed, TendTimeline, TimelineTended
from actors.rates import HALF_LIFE_MS, raised
from actors.userstate import UserState
from protocol.errors import Refused
from protocol.timelines import NoteReads
from protocol.views import Ack
from store.timelines import Wishes

TIMELINE_ALARM = "timeline"
CLOSE_ALARM = "close edges"
DAY_MS = 86_400_000
TEND_EVERY_MS = DAY_MS
TEND_SPREAD_MS = DAY_MS // 4
"""Nobody's turn comes with everybody's, though all may have come at once, as with an import."""
TEND_SOON_MS = 1_000
"""Who follows someone often follows others as well."""
AWAY_MS = 14 * DAY_MS
"""To whom has not come for so long, adaptive pushes nothing."""
CELEBRITY_UNTIL = 0.8
"""Of the followers that make a celebrity: who has fewer is none any more."""


# -- the reader


def followed(state: UserState, now_ms: int) -> dict[str, int | None]:
    """The alarms to set when the user has begun to follow someone."""
    return {} if state.policy.timelines == "pull" else {TIMELINE_ALARM: now_ms + TEND_SOON_MS}


def read(state: UserState, command: NoteReads, now_ms: int) -> Decision:
    if not state.active or command.reads < 1:
        raise Refused("account_not_found")
    before = state.habits
    habits = replace(before, reading=raised(before.reading, now_ms, command.reads), seen_ms=now_ms)
    alarms = {TIMELINE_ALARM: now_ms} if _out_of_date(state, habits, now_ms) else {}
    return Decision(answer=Ack, events=(HabitsChanged(habits),), alarms=alarms)


def _out_of_date(state: UserState, habits: Habits, now_ms: int) -> bool:
    """Whether the edges should be arranged anew, now that the user has come and has ``habits``."""
    if habits.arranged != state.policy.timelines:
        return True
    # Someone who was away, or comes twice as often as when the edges were arranged.
    oftener = habits.reading >= habits.arranged_for + HALF_LIFE_MS
    return state.policy.timelines == "adaptive" and (oftener or not _here(state.habits, now_ms))


def due(state: UserState, now_ms: int) -> Decision:
    return Decision(answer=lambda: TendTimeline(state.account_id, _wishes(state, now_ms)))


def tended(state: UserState, command: TimelineTended, now_ms: int) -> Decision:
    if command.tended.unfinished and state.active:
        job = TendTimeline(state.account_id, command.wishes)
        return Decision(answer=lambda: job, alarms={TIMELINE_ALARM: now_ms + AGAIN_MS})
    arranged = replace(state.habits, arranged=command.wishes.strategy, arranged_for=command.wishes.reading)
    next_ms = next_tending(state.account_id, now_ms)
    return Decision(
        answer=Ack,
        events=() if arranged == state.habits else (HabitsChanged(arranged),),
        alarms={TIMELINE_ALARM: next_ms if command.tended.open else None},
    )


def next_tending(account_id: int, now_ms: int) -> int:
    """When a timeline is to be tended that needs it no sooner."""
    return now_ms + TEND_EVERY_MS + account_id * 1_000 % TEND_SPREAD_MS


def _wishes(state: UserState, now_ms: int) -> Wishes:
    return Wishes(
        # Of whom is gone nothing is kept.
        strategy=state.policy.timelines if state.active else "pull",
        here=_here(state.habits, now_ms),
        reading=state.habits.reading,
        margin=HALF_LIFE_MS,
    )


def _here(habits: Habits, now_ms: int) -> bool:
    return habits.seen_ms is not None and now_ms - habits.seen_ms < AWAY_MS


# -- the author


def published(state: UserState, now_ms: int) -> Decision:
    _check_exists(state)
    before = state.habits
    habits = replace(before, posts=before.posts + 1, posting=raised(before.posting, now_ms))
    return _author(state, habits, state.followers, now_ms)


def withdrawn(state: UserState) -> Decision:
    _check_exists(state)
    return Decision(answer=Ack, events=(HabitsChanged(replace(state.habits, posts=state.habits.posts - 1)),))


def _check_exists(state: UserState) -> None:
    if not state.exists:
        raise Refused("account_not_found")


def counted(state: UserState, followers: int, now_ms: int) -> Decision:
    """The user has so many followers now."""
    return _author(state, state.habits, followers, now_ms)


def _author(state: UserState, habits: Habits, followers: int, now_ms: int) -> Decision:
    limit = state.policy.celebrity_followers
    celebrity = followers >= limit * (CELEBRITY_UNTIL if habits.celebrity else 1)
    habits = replace(habits, celebrity=celebrity)
    pulled = celebrity and state.policy.timelines in ("hybrid", "adaptive")
    # Also with every post: what was left open costs most then, and looking costs little.
    return Decision(
        answer=Ack,
        events=() if habits == state.habits else (HabitsChanged(habits),),
        alarms={CLOSE_ALARM: now_ms} if pulled and habits != state.habits else {},
    )


def close_due(state: UserState) -> Decision:
    if not state.habits.celebrity or state.policy.timelines not in ("hybrid", "adaptive"):
        return Decision(answer=Ack, alarms={CLOSE_ALARM: None})
    return Decision(answer=lambda: CloseEdges(state.account_id))


def closed(state: UserState, command: EdgesClosed, now_ms: int) -> Decision:
    if command.left and state.habits.celebrity:
        return Decision(answer=lambda: CloseEdges(state.account_id), alarms={CLOSE_ALARM: now_ms + AGAIN_MS})
    return Decision(answer=Ack, alarms={CLOSE_ALARM: None})
