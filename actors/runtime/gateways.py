"""What the gateways of the workers tell and ask each other."""

import asyncio
import logging
from collections.abc import Callable
from itertools import count
from uuid import UUID

from actors.runtime.messages import Contribution, Question, Told, process_of
from actors.runtime.peers import Peers

log = logging.getLogger("plaudit.gateways")

GATHER_S = 1.0
"""For so long the answers of the others are waited for."""


class Gateways:
    """The subjects of this worker's gateway. A fault in what hears or answers is its own: it goes to the log."""

    def __init__(self, peers: Peers, *, live: Callable[[], list[UUID]]) -> None:
        self._peers = peers
        self._live = live
        self._hearers: dict[str, Callable[[bytes], None]] = {}
        self._answerers: dict[str, Callable[[bytes], bytes]] = {}
        self._numbers = count(1)
        self._gathering: dict[int, asyncio.Queue[bytes]] = {}
        peers.handle(Told, lambda _, message: self._told(message.subject, message.data))
        peers.handle(Question, self._asked)
        peers.handle(Contribution, self._contributed)

    def on_told(self, subject: str, hear: Callable[[bytes], None]) -> None:
        """See ``Backend.on_told``."""
        assert subject not in self._hearers, subject
        self._hearers[subject] = hear

    def tell(self, subject: str, data: bytes) -> None:
        """See ``Backend.tell``."""
        self._peers.send_all(Told(subject, data))

    def on_asked(self, subject: str, answer: Callable[[bytes], bytes]) -> None:
        """See ``Backend.on_asked``."""
        assert subject not in self._answerers, subject
        self._answerers[subject] = answer

    async def gather(self, subject: str, data: bytes = b"") -> list[bytes]:
        """See ``Backend.gather``."""
        mine = self._answer(subject, data)
        answers = [] if mine is None else [mine]
        others = {process_of(worker) for worker in self._live()} - {self._peers.process}
        number = next(self._numbers)
        coming = self._gathering[number] = asyncio.Queue()
        try:
            for process in others:
                self._peers.send(process, Question(number, subject, data))
            async with asyncio.timeout(GATHER_S):
                while len(answers) < len(others) + (mine is not None):
                    answers.append(await coming.get())
        except TimeoutError:
            log.info("not all %d other workers answered about %s", len(others), subject)
        finally:
            del self._gathering[number]
        return answers

    def _told(self, subject: str, data: bytes) -> None:
        """Another gateway tells; a subject that nobody here knows is of another version, and passed over."""
        hear = self._hearers.get(subject)
        if hear is None:
            return
        try:
            hear(data)
        except Exception:
            log.exception("what another worker told of %s was not understood", subject)

    def _asked(self, process: bytes, question: Question) -> None:
        answer = self._answer(question.subject, question.data)
        if answer is not None:
            self._peers.send(process, Contribution(question.id, answer))

    def _answer(self, subject: str, data: bytes) -> bytes | None:
        """What this gateway says; None if it has no answer."""
        answer = self._answerers.get(subject)
        if answer is None:
            return None
        try:
            return answer(data)
        except Exception:
            log.exception("what another worker asked of %s could not be answered", subject)
            return None

    def _contributed(self, _: bytes, message: Contribution) -> None:
        coming = self._gathering.get(message.id)
        if coming is not None:
            coming.put_nowait(message.data)
