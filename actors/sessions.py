"""Decisions about the sessions of a user: who is signed in where."""

from msgspec.structs import replace

from actors.actor import Decision, SessionSaved
from actors.userstate import UserState
from protocol.accounts import REFRESH_GRACE_MS, CheckSession, EndSession, OpenSession, RotateSession, SessionState
from protocol.errors import Refused
from protocol.views import Ack
from store.rows import SessionRow

SESSIONS_MAX = 50
"""Sessions of one account; the oldest gives way."""


def open_(state: UserState, command: OpenSession, now_ms: int) -> Decision:
    state.active_account()
    row = SessionRow(
        id=command.session,
        account_id=state.account_id,
        generation=0,
        rotated_ms=now_ms,
        created_ms=now_ms,
        expires_ms=now_ms + command.ttl_ms,
    )
    events = [SessionSaved(row)]
    live = [session for session in state.sessions.values() if session.expires_ms > now_ms]
    if len(live) >= SESSIONS_MAX:
        events.append(SessionSaved(replace(live[0], revoked_ms=now_ms)))
    return Decision(answer=lambda: session_state(row), events=tuple(events))


def rotate(state: UserState, command: RotateSession, now_ms: int) -> Decision:
    state.active_account()
    session = state.sessions.get(command.session)
    if session is None or session.expires_ms <= now_ms:
        raise Refused("session_ended")
    if command.generation == session.generation:
        row = replace(
            session,
            generation=session.generation + 1,
            rotated_ms=now_ms,
            expires_ms=now_ms + command.ttl_ms,
        )
        return Decision(answer=lambda: session_state(row), events=(SessionSaved(row),))
    if command.generation == session.generation - 1 and now_ms - session.rotated_ms <= REFRESH_GRACE_MS:
        return Decision(answer=lambda: session_state(session))
    # A token that was exchanged long ago: somebody has a copy. Neither of the two can be told from the thief.
    stolen = SessionSaved(replace(session, revoked_ms=now_ms))

    def ended() -> SessionState:
        raise Refused("session_ended", "the refresh token was used before; sign in again")

    return Decision(answer=ended, events=(stolen,))


def check(state: UserState, command: CheckSession, now_ms: int) -> Decision:
    state.active_account()
    if command.session is not None:
        session = state.sessions.get(command.session)
        if session is None or session.expires_ms <= now_ms:
            raise Refused("session_ended")
    return Decision(answer=Ack)


def end(state: UserState, command: EndSession, now_ms: int) -> Decision:
    session = state.sessions.get(command.session)
    if session is None:
        return Decision(answer=Ack)
    return Decision(answer=Ack, events=(SessionSaved(replace(session, revoked_ms=now_ms)),))


def all_ended(state: UserState, now_ms: int) -> tuple[SessionSaved, ...]:
    """Sign out everywhere."""
    return tuple(SessionSaved(replace(session, revoked_ms=now_ms)) for session in state.sessions.values())


def session_state(row: SessionRow) -> SessionState:
    return SessionState(row.id, row.generation, row.expires_ms)
