"""Sessions and accounts that have ended, on one worker and on the others."""

import asyncio
from contextlib import suppress

from protocol.commands import Person
from protocol.errors import Unavailable
from protocol.gateway import revoked as module
from protocol.gateway.identity import Identity
from protocol.gateway.revoked import OVERLAP_S, Revoked
from tests.gateway.recording import Neighbours, RecordingBackend

TTL_S = 900


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 10_000.0

    def __call__(self) -> float:
        return self.now


class Worker:
    """The part of a gateway that is about what has ended, and whom it told."""

    def __init__(self, clock: Hand, neighbours: Neighbours | None = None) -> None:
        self.backend = RecordingBackend(neighbours=neighbours)
        self.revoked = Revoked(self.backend, clock, TTL_S)
        self.ended: list[str | int] = []
        self.revoked.session_ended = self.revoked.account_ended = self.ended.append


def identity(account: int, session: str | None) -> Identity:
    return Identity(Person(account, "ada", "Ada"), session)


async def test_an_ended_session_and_a_deleted_account_are_refused() -> None:
    revoked = Worker(Hand()).revoked
    await revoked.end_session("s1")
    await revoked.end_account(7)
    assert revoked.refuses(identity(1, "s1"))
    assert revoked.refuses(identity(7, "s2"))
    assert not revoked.refuses(identity(1, "s2"))
    assert not revoked.refuses(identity(1, None))


async def test_what_ended_is_forgotten_when_no_token_of_it_can_be_alive() -> None:
    clock = Hand()
    revoked = Worker(clock).revoked
    for number in range(10):
        await revoked.end_session(f"s{number}")
    clock.now += TTL_S
    await revoked.end_session("last")
    assert len(revoked) == 1


async def test_what_ended_before_the_start_is_refused_for_the_rest_of_its_time() -> None:
    clock, neighbours = Hand(), Neighbours()
    neighbours.sessions = [("long ago", 9_000_000), ("earlier", 9_200_000), ("just now", 9_999_000)]
    neighbours.accounts = [(7, 9_500_000)]
    revoked = Worker(clock, neighbours).revoked
    await revoked.read()
    assert len(revoked) == 3
    assert revoked.refuses(identity(7, "another"))
    clock.now += 101
    await revoked.end_session("later")
    assert not revoked.refuses(identity(1, "earlier"))
    assert revoked.refuses(identity(1, "just now"))


async def test_who_listens_is_told_of_what_ends_here_and_on_other_workers() -> None:
    clock, neighbours = Hand(), Neighbours()
    here, there = Worker(clock, neighbours), Worker(clock, neighbours)
    await here.revoked.end_session("s1")
    await there.revoked.end_session("s2")
    await here.revoked.end_account(7)
    for worker in (here, there):
        assert worker.ended == ["s1", "s2", 7]
        assert worker.revoked.refuses(identity(1, "s1"))
        assert worker.revoked.refuses(identity(7, None))


async def test_what_ended_already_is_not_told_again() -> None:
    clock, neighbours = Hand(), Neighbours()
    here, there = Worker(clock, neighbours), Worker(clock, neighbours)
    await there.revoked.end_session("s1")
    del neighbours.backends[1].told[module.SESSION_ENDED]
    await here.revoked.end_session("s1")
    assert here.ended == ["s1"]


async def test_what_was_told_in_vain_is_read_as_soon_as_the_loss_is_known() -> None:
    clock, neighbours = Hand(), Neighbours()
    here, there = Worker(clock, neighbours), Worker(clock, neighbours)
    await there.revoked.read()
    reading = asyncio.create_task(there.revoked.keep_reading())
    seen = asyncio.Event()
    there.revoked.account_ended = lambda _: seen.set()

    neighbours.cut = True
    clock.now += 5
    await here.revoked.end_session("s1")
    await here.revoked.end_account(7)
    # The rows bear a time a little before the last look.
    neighbours.sessions = [("s1", int((clock.now - OVERLAP_S / 2) * 1000))]
    neighbours.accounts = [(7, int((clock.now - OVERLAP_S / 2) * 1000))]
    assert there.ended == []
    neighbours.heal()
    await asyncio.wait_for(seen.wait(), 5)

    assert there.ended == ["s1"]
    assert there.revoked.refuses(identity(1, "s1"))
    assert there.revoked.refuses(identity(7, None))
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading


class AwayBackend(RecordingBackend):
    """A store that does not answer at first."""

    def __init__(self) -> None:
        super().__init__()
        self.asked_times = 0
        self.answered = asyncio.Event()

    async def revoked_sessions(self, since_ms: int) -> list[tuple[str, int]]:
        self.asked_times += 1
        if self.asked_times < 3:
            raise Unavailable
        self.answered.set()
        return []


async def test_a_store_that_is_away_is_asked_again() -> None:
    backend = AwayBackend()
    revoked = Revoked(backend, Hand(), TTL_S)
    reading = asyncio.create_task(revoked.keep_reading())
    for catch_up in backend.catch_up:
        catch_up()
    await asyncio.wait_for(backend.answered.wait(), 10)
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading
