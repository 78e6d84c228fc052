"""The exchange over Redis: a channel, and a stream with a consumer group.

An entry that is finished is taken off the stream, so that what stands on it is what waits. Questions that wait for an
entry have a connection of their own.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from store.exchange import (
    GROUP,
    PUBLISHED,
    REJECTED,
    REJECTED_MAX,
    SUBMITTED,
    TAKEN_AGAIN_S,
    WAIT_S,
    Backlog,
    Entry,
    ExchangeUnavailable,
    Rejection,
)
from store.redis import RedisQuestions, RedisRefusal, RedisUnavailable

Command = tuple[str | bytes | int, ...]
FIRST: Final = b"0-0"
"""Before all entries."""

log = logging.getLogger("plaudit.exchange")


class RedisExchange:
    """See ``store.exchange.Exchange``; of one worker. Make it with ``open_exchange``."""

    def __init__(self, asking: RedisQuestions, taking: RedisQuestions, *, taken_again_s: float, wait_s: float) -> None:
        self._asking = asking
        self._taking = taking
        self._taken_again_ms = int(taken_again_s * 1000)
        self._wait_s = wait_s
        self._looked_through: bytes = FIRST
        """Up to here, those that were taken were looked through for such as are to be taken again."""
        self._trouble: dict[RedisQuestions, str] = {}
        """What was met last, and said."""

    async def announce(self, messages: Sequence[bytes]) -> None:
        await self._ask(self._asking, *(("PUBLISH", PUBLISHED, message) for message in messages))

    async def take(self, limit: int) -> list[Entry]:
        try:
            again = await self._take_again(limit)
            return again or await self._take_new(limit)
        except RedisRefusal as refusal:
            if not str(refusal).startswith("NOGROUP"):
                raise self._failed(self._taking, refusal) from refusal
        await self._make_group()
        return []

    async def finish(self, accepted: Sequence[str], rejected: Sequence[Rejection]) -> None:
        if accepted or rejected:
            # Together: a rejection that cannot be kept is in the way of nothing else.
            await self._ask(self._asking, *_taken_off(accepted), *map(_kept, rejected))
        if rejected:
            # Only now, so that none is lost.
            await self._ask(self._asking, *_taken_off([rejection.entry.id for rejection in rejected]))

    async def backlog(self) -> Backlog:
        waiting, groups = await self._ask(self._asking, ("XLEN", SUBMITTED), ("XPENDING", SUBMITTED, GROUP))
        return Backlog(waiting, groups[0])

    # -- the stream

    async def _take_again(self, limit: int) -> list[Entry]:
        claim = ("XAUTOCLAIM", SUBMITTED, GROUP, GROUP, self._taken_again_ms, self._looked_through, "COUNT", limit)
        ((self._looked_through, found, *_),) = await self._answers(self._taking, claim)
        return _entries(found)

    async def _take_new(self, limit: int) -> list[Entry]:
        block = ("COUNT", limit, "BLOCK", int(self._wait_s * 1000))
        read = ("XREADGROUP", "GROUP", GROUP, GROUP, *block, "STREAMS", SUBMITTED, ">")
        (found,) = await self._answers(self._taking, read, wait_s=self._wait_s)
        return _entries(found[0][1]) if found else []

    async def _make_group(self) -> None:
        """From the first entry on: what was handed in before anybody came is taken too."""
        try:
            await self._answers(self._taking, ("XGROUP", "CREATE", SUBMITTED, GROUP, FIRST, "MKSTREAM"))
        except RedisRefusal as refusal:
            # Another worker was first.
            if not str(refusal).startswith("BUSYGROUP"):
                raise self._failed(self._taking, refusal) from refusal

    # -- asking

    async def _ask(self, questions: RedisQuestions, *commands: Command) -> list[Any]:
        try:
            return await self._answers(questions, *commands)
        except RedisRefusal as refusal:
            raise self._failed(questions, refusal) from refusal

    async def _answers(self, questions: RedisQuestions, *commands: Command, wait_s: float = 0.0) -> list[Any]:
        try:
            answers = await questions.ask(*commands, wait_s=wait_s)
        except RedisUnavailable as trouble:
            raise self._failed(questions, trouble) from trouble
        self._trouble.pop(questions, None)
        return answers

    def _failed(self, questions: RedisQuestions, trouble: Exception) -> ExchangeUnavailable:
        """Say it once, however often it is met in a row."""
        if self._trouble.get(questions) != str(trouble):
            self._trouble[questions] = str(trouble)
            what = "nothing is taken from" if questions is self._taking else "nothing is told to"
            log.warning("%s other systems at present: %s", what, trouble)
        return ExchangeUnavailable(str(trouble))


@asynccontextmanager
async def open_exchange(
    url: str, *, taken_again_s: float = TAKEN_AGAIN_S, wait_s: float = WAIT_S
) -> AsyncIterator[RedisExchange]:
    """The exchange of the Redis, and the database of it, that ``url`` names; reached when it is first asked."""
    asking, taking = RedisQuestions(url), RedisQuestions(url)
    try:
        yield RedisExchange(asking, taking, taken_again_s=taken_again_s, wait_s=wait_s)
    finally:
        await taking.close()
        await asking.close()


def _entries(found: Sequence[Any]) -> list[Entry]:
    """Without those that somebody has deleted since they were taken, of which an older Redis shows nothing."""
    entries = (each for each in found if each is not None and each[1] is not None)
    return [Entry(id.decode(), tuple(zip(said[::2], said[1::2], strict=True))) for id, said in entries]


def _taken_off(ids: Sequence[str]) -> tuple[Command, ...]:
    """The commands after which nobody takes these entries again."""
    return (("XACK", SUBMITTED, GROUP, *ids), ("XDEL", SUBMITTED, *ids)) if ids else ()


def _kept(rejection: Rejection) -> Command:
    """The command that keeps a rejected entry. What we say of it stands last, where no field of its own hides it."""
    (id, said), code, reason = rejection
    verdict = ("id", id, "code", code, "reason", reason)
    return ("XADD", REJECTED, "MAXLEN", "~", REJECTED_MAX, "*", *(part for field in said for part in field), *verdict)
