"""Decides how a post is found: its heat, and when what changed on it is let be searched.

Both are done by one alarm, some seconds after a change: no commit of a comment or a reaction carries any of it. Heat is
a moment, not a number that fades: that of the publication, and the later the more people were moved. So whoever is
overtaken is overtaken by what is newer, and nothing has to be computed anew as time passes.
"""

from math import log2
from typing import Final

from actors.actor import Decision, Event, FindingSaved, Stirred
from actors.jobs import AGAIN_MS, INDEX_CHUNK, IndexPost, PostIndexed
from actors.keys import ID_LOW_BITS
from actors.poststate import PostState
from protocol.views import Ack
from store.rows import FindingRow

FINDING_ALARM: Final = "finding"
FINDING_AFTER_MS: Final = 3_000
"""So long changes gather."""
DOUBLING_MS: Final = 14_400_000
"""Twice the score is worth as much as having been published so much later. It stands in migration 7 too."""
VIEWERS_TOLD_MIN: Final = 10
"""Looks alone are written down when they have doubled, and are that many more."""


def stirred(state: PostState, events: tuple[Event, ...]) -> bool:
    """Whether ``events`` are the first that matter since the alarm has rung: it is to be set."""
    return not state.stirred and any(state.stirs(event) for event in events)


def watched(state: PostState) -> tuple[Event, ...]:
    """What a look leads to: now and then, that the heat is taken anew."""
    if state.stirred or not _listed(state) or state.viewers.viewers < 2 * state.viewers_told + VIEWERS_TOLD_MIN:
        return ()
    return (Stirred(),)


def due(state: PostState, now_ms: int) -> Decision:
    if state.post is None:
        return Decision(answer=Ack, alarms={FINDING_ALARM: None})
    after = state.finding.indexed_offset
    if state.head > after:
        return Decision(answer=lambda: IndexPost(state.post_id, after))
    return _saved(state, after, now_ms)


def indexed(state: PostState, command: PostIndexed, now_ms: int) -> Decision:
    """What changed up to an offset can be searched; all that changed by then, unless it was too much at once."""
    through = max(command.through, state.finding.indexed_offset)
    if command.through - command.began < INDEX_CHUNK or state.head <= through:
        return _saved(state, through, now_ms)
    row = FindingRow(post_id=state.post_id, heat=heat(state), indexed_offset=through)
    return Decision(
        answer=lambda: IndexPost(state.post_id, through),
        events=(FindingSaved(row),),
        alarms={FINDING_ALARM: now_ms + AGAIN_MS},
    )


def _saved(state: PostState, through: int, now_ms: int) -> Decision:
    row = FindingRow(post_id=state.post_id, heat=heat(state), indexed_offset=through)
    # What changed meanwhile set no alarm: this one was set.
    again_ms = now_ms + FINDING_AFTER_MS if state.head > through else None
    events = (FindingSaved(row),) if row != state.finding or state.stirred else ()
    return Decision(answer=Ack, events=events, alarms={FINDING_ALARM: again_ms})


def heat(state: PostState) -> int:
    """The place of the post among the hot ones; 0 for one that is in no list."""
    if state.post is None or not _listed(state):
        return 0
    score = (
        1 + 3 * state.comments + 2 * state.tallies.score(0) + state.applause.total // 5 + state.viewers.viewers // 10
    )
    moment_ms = (state.post.published_id >> ID_LOW_BITS) + round(DOUBLING_MS * log2(score))
    return moment_ms << ID_LOW_BITS | state.post_id & ((1 << ID_LOW_BITS) - 1)


def _listed(state: PostState) -> bool:
    return state.post is not None and state.post.state == "published" and state.post.page_url is None
