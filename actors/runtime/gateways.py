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
"""For so long the answers of the others are waited for; or that they say that they have heard."""


class Gathering:
    """The answers of others to one message: of each the first, should one come twice."""

    def __init__(self, others: set[bytes]) -> None:
        self.waits_for = others
        self.answers: list[bytes] = []
        self.complete = asyncio.Event()
        self._look()

    def add(self, process: bytes, answer: bytes) -> None:
        if process in self.waits_for:
            self.waits_for.discard(process)
            self.answers.append(answer)
            self._look()

    def _look(self) -> None:
        if not self.waits_for:
            self.complete.set()


class Gateways:
    """The subjects of this worker's gateway. A fault in what hears or answers is its own: it goes to the log."""

    def __init__(self, peers: Peers, *, live: Callable[[], list[UUID]]) -> None:
        self._peers = peers
        self._live = live
        self._hearers: dict[str, Callable[[bytes], None]] = {}
        self._answerers: dict[str, Callable[[bytes], bytes]] = {}
        self._numbers = count(1)
        self._gathering: dict[int, Gathering] = {}
        peers.handle(Told, self._told)
        peers.handle(Question, self._asked)
        peers.handle(Contribution, self._contributed)

    def on_told(self, subject: str, hear: Callable[[bytes], None]) -> None:
        """See ``Backend.on_told``."""
        assert subject not in self._hearers, subject
        self._hearers[subject] = hear

    async def tell(self, subject: str, data: bytes) -> None:
        """See ``Backend.tell``."""
        await self._answers(Told(next(self._numbers), subject, data))

    def on_asked(self, subject: str, answer: Callable[[bytes], bytes]) -> None:
        """See ``Backend.on_asked``."""
        assert subject not in self._answerers, subject
        self._answerers[subject] = answer

    async def gather(self, subject: str, data: bytes = b"") -> list[bytes]:
        """See ``Backend.gather``."""
        mine = self._answer(subject, data)
        answers = await self._answers(Question(next(self._numbers), subject, data))
        return [*([] if mine is None else [mine]), *answers]

    async def _answers(self, message: Told | Question) -> list[bytes]:
        """What the others answer in time."""
        others = {process_of(worker) for worker in self._live()} - {self._peers.process}
        gathering = self._gathering[message.id] = Gathering(set(others))
        try:
            # To those as well that came just now, and are not waited for.
            self._peers.send_all(message)
            async with asyncio.timeout(GATHER_S):
                await gathering.complete.wait()
        except TimeoutError:
            waiting, subject = len(gathering.waits_for), message.subject
            log.info("%d of %d other workers did not answer about %s", waiting, len(others), subject)
        finally:
            del self._gathering[message.id]
        return gathering.answers

    def _told(self, process: bytes, message: Told) -> None:
        """Another gateway tells; a subject that nobody here knows is of another version, and passed over."""
        hear = self._hearers.get(message.subject)
        if hear is None:
            return
        try:
            hear(message.data)
        except Exception:
            log.exception("what another worker told of %s was not understood", message.subject)
        else:
            self._peers.send(process, Contribution(message.id, b""))

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

    def _contributed(self, process: bytes, message: Contribution) -> None:
        gathering = self._gathering.get(message.id)
        if gathering is not None:
            gathering.add(process, message.data)
