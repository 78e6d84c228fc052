"""What is answered of a post and its comments. Texts that are not in memory are fetched after the gate."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

from msgspec import UNSET, Raw, UnsetType

from actors.actor import Decision, Fetch
from actors.poststate import PostState
from actors.tree import Page
from protocol.commands import Person, ReadComment, ReadComments
from protocol.errors import Refused
from protocol.views import CommentNode, CommentPage
from store.base import WrittenComment
from store.rows import CommentRow


def post(state: PostState, by: Person) -> Decision:
    state.readable(by)
    return Decision(answer=lambda: state.post_view(by))


def comment(state: PostState, command: ReadComment, by: Person) -> Decision:
    state.readable(by)
    id = int(command.comment)
    if not state.tree.has(id):
        raise Refused("comment_not_found")

    def finish(bodies: Mapping[int, WrittenComment]) -> Raw:
        written = bodies.get(id)
        if written is None or not _may_see(state, written.comment, by):
            raise Refused("comment_not_found")
        return Raw(state.encoder.comment(*written))

    return Decision(answer=lambda: _fetch(state, (id,), finish))


def comments(state: PostState, command: ReadComments, by: Person) -> Decision:
    state.readable(by)
    if command.only == "held" and not state.owns(by):
        raise Refused("permission_denied")
    parent = 0 if command.parent is None else int(command.parent)
    if parent and not state.tree.has(parent):
        raise Refused("comment_not_found")
    return Decision(answer=lambda: _page(state, command, parent, by))


def _may_see(state: PostState, row: CommentRow, by: Person) -> bool:
    return row.state != "held" or state.owns(by) or (by.id != 0 and row.author_id == by.id)


def _page(state: PostState, command: ReadComments, parent: int, by: Person) -> Any:
    page = _plan(state, command, parent)
    reactions = [state.tallies.counts(placed.id) for placed in page.placed]
    mine: list[list[str] | UnsetType] = [
        state.tallies.of(placed.id, by.id) if by.id else UNSET for placed in page.placed
    ]
    total, cursor = state.comments, state.cursor()

    def finish(bodies: Mapping[int, WrittenComment]) -> CommentPage:
        nodes = [
            CommentNode(
                comment=Raw(state.encoder.comment(*bodies[placed.id])),
                depth=placed.depth,
                replies=placed.replies,
                hidden=placed.hidden,
                reactions=counts,
                mine=own,
            )
            for placed, counts, own in zip(page.placed, reactions, mine, strict=True)
            if placed.id in bodies
        ]
        return CommentPage(comments=nodes, next=page.next, total=total, cursor=cursor)

    return _fetch(state, [placed.id for placed in page.placed], finish)


def _plan(state: PostState, command: ReadComments, parent: int) -> Page:
    match command.only:
        case "held":
            return state.tree.held(command.limit, command.after)
        case "pingbacks":
            return state.tree.pingbacks(command.limit, command.after)
        case "comments" if command.view == "level":
            return state.tree.level(parent, command.order, command.limit, command.after)
        case "comments":
            return state.tree.threads(parent, command.order, command.limit, command.after)
        case _:
            assert_never(command.only)


def _fetch(state: PostState, ids: Sequence[int], finish: Callable[[Mapping[int, WrittenComment]], Any]) -> Any:
    """The finished answer if all texts are in memory, else what is to be fetched for it."""
    known = {id: state.recent[id] for id in ids if id in state.recent}
    missing = [id for id in ids if id not in known]
    if not missing:
        return finish(known)
    return Fetch(missing, lambda read: finish({**known, **read}))
