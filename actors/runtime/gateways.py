"""What the gateways of the workers tell and ask each other; here, of this one: who hears and who answers."""

import logging
from collections.abc import Callable

log = logging.getLogger("plaudit.gateways")


class Gateways:
    """The subjects of this worker's gateway. A fault in what hears or answers is its own: it goes to the log."""

    def __init__(self) -> None:
        self._hearers: dict[str, Callable[[bytes], None]] = {}
        self._answerers: dict[str, Callable[[bytes], bytes]] = {}
        self._catch_up: list[Callable[[], None]] = []

    def on_told(self, subject: str, hear: Callable[[bytes], None]) -> None:
        """See ``Backend.on_told``."""
        assert subject not in self._hearers, subject
        self._hearers[subject] = hear

    def on_interrupted(self, catch_up: Callable[[], None]) -> None:
        """See ``Backend.on_interrupted``."""
        self._catch_up.append(catch_up)

    def on_asked(self, subject: str, answer: Callable[[bytes], bytes]) -> None:
        """See ``Backend.on_asked``."""
        assert subject not in self._answerers, subject
        self._answerers[subject] = answer

    def told(self, subject: str, data: bytes) -> None:
        """Another gateway tells; a subject that nobody here knows is of another version, and passed over."""
        hear = self._hearers.get(subject)
        if hear is None:
            return
        try:
            hear(data)
        except Exception:
            log.exception("what another worker told of %s was not understood", subject)

    def asked(self, subject: str, data: bytes) -> bytes | None:
        """The answer of this gateway; None if it has none."""
        answer = self._answerers.get(subject)
        if answer is None:
            return None
        try:
            return answer(data)
        except Exception:
            log.exception("what another worker asked of %s could not be answered", subject)
            return None

    def interrupted(self) -> None:
        """Something that was told may have been lost."""
        for catch_up in self._catch_up:
            catch_up()
