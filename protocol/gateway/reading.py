"""Reads in which a reader is shown something else than everyone: over HTTP and WebSocket alike."""

import asyncio
from typing import Final

from protocol.apart import authors_of, without_words
from protocol.commands import Person, ReadComments
from protocol.errors import Unavailable
from protocol.gateway.backend import Backend
from protocol.views import CommentPage

HIDDEN_TIMEOUT_S: Final = 1.0
"""A page waits no longer to be told whose words it is to leave out."""


async def read_comments(backend: Backend, command: ReadComments, by: Person) -> CommentPage:
    """A page of comments, without the words of those of whom the reader sees nothing: see ``CommentNode.apart``.

    Who moderates is shown everything, as is who has what is held to decide on. The words are no secret: while the
    database does not say whose to leave out, the page has them all, as it is read from memory. Raises ``DomainError``.
    """
    page: CommentPage = await backend.ask(f"post:{command.post}", command, by)
    if not by.id or by.moderates or command.only == "held":
        return page
    authors = authors_of(page)
    others = {author for author in authors if author is not None} - {by.id}
    try:
        async with asyncio.timeout(HIDDEN_TIMEOUT_S):
            apart = await backend.hidden_from(by.id, sorted(others)) if others else ()
    except (Unavailable, TimeoutError):
        return page
    return without_words(page, authors, apart)
