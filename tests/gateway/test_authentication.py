"""Sessions that have ended."""

from protocol.commands import Person
from protocol.gateway.authentication import Revoked
from protocol.gateway.identity import Identity

TTL_S = 900


class Hand:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 10_000.0

    def __call__(self) -> float:
        return self.now


def identity(account: int, session: str | None) -> Identity:
    return Identity(Person(account, "ada", "Ada"), session)


def test_an_ended_session_and_a_deleted_account_are_refused() -> None:
    revoked = Revoked(Hand(), TTL_S)
    revoked.add_session("s1")
    revoked.add_account(7)
    assert revoked.refuses(identity(1, "s1"))
    assert revoked.refuses(identity(7, "s2"))
    assert not revoked.refuses(identity(1, "s2"))
    assert not revoked.refuses(identity(1, None))


def test_what_ended_is_forgotten_when_no_token_of_it_can_be_alive() -> None:
    clock = Hand()
    revoked = Revoked(clock, TTL_S)
    for number in range(10):
        revoked.add_session(f"s{number}")
    clock.now += TTL_S
    revoked.add_session("last")
    assert len(revoked) == 1


def test_sessions_that_ended_before_the_start_are_loaded_with_their_time() -> None:
    clock = Hand()
    revoked = Revoked(clock, TTL_S)
    revoked.add_session("earlier", clock.now - 800)
    clock.now += 101
    revoked.add_session("later")
    assert not revoked.refuses(identity(1, "earlier"))


def test_who_listens_is_told_of_what_ends() -> None:
    told: list[str | int] = []
    revoked = Revoked(Hand(), TTL_S)
    revoked.session_ended = revoked.account_ended = told.append
    revoked.add_session("s1")
    revoked.add_account(7)
    assert told == ["s1", 7]
