"""The WebSocket's conversation, by value: what a client says, and what is to be done."""

import json
from typing import Any

import pytest
from msgspec import Raw

from protocol import session as conversation
from protocol.commands import ANONYMOUS, CreateComment, Person
from protocol.cursor import Cursor
from protocol.delivery import Attached, Presence, Present, Published, Subscription
from protocol.errors import DomainError, Refused, Unavailable
from protocol.session import (
    Action,
    Ask,
    Authenticate,
    Close,
    Limits,
    ListPresence,
    Ping,
    ReadHistory,
    Send,
    Session,
    Subscribe,
    Unsubscribe,
)
from protocol.views import Ack

ADA = Person(id=7, handle="ada", name="Ada")
BOB = Person(id=8, handle="bob", name="Bob")


class SilentSubscription:
    def start(self) -> None: ...

    def close(self) -> None: ...


SUBSCRIPTION: Subscription = SilentSubscription()


def opening(**limits: Any) -> Session:
    return Session("c1", Limits(**limits), 0.0, version="v")


def opened(*, ttl_s: float | None = None, **limits: Any) -> Session:
    session = opening(**limits)
    [request] = hear(session, {"id": 1, "connect": {"token": "t"}})
    assert request == Authenticate(1, "t", refresh=False)
    assert said(session.authenticated(request, ADA, ttl_s, 0.0))["id"] == 1
    return session


def hear(session: Session, *commands: Any, now: float = 0.0) -> list[Action]:
    return list(session.receive("\n".join(map(json.dumps, commands)).encode(), now))


def said(action: Action | bytes) -> Any:
    if isinstance(action, bytes):
        return json.loads(action)
    assert isinstance(action, Send), action
    return json.loads(action.reply)


def attached(*, offset: int = 0, recovered: bool = False, first: tuple[Published, ...] = ()) -> Attached:
    return Attached(SUBSCRIPTION, "e", offset, recovered, first, b'{"n":0}')


def subscribe(session: Session, **position: Any) -> Subscribe:
    [action] = hear(session, {"id": 2, "subscribe": {"channel": "post:1", **position}})
    assert isinstance(action, Subscribe)
    return action


# -- opening ----------------------------------------------------------------------------------------------------------


def test_the_first_command_asks_who_the_token_is() -> None:
    assert hear(opening(), {"id": 1, "connect": {}}) == [Authenticate(1, None, refresh=False)]


def test_what_follows_the_token_in_its_frame_is_heard_once_it_is_known() -> None:
    session = opening()
    actions = session.receive(b'{"id":1,"connect":{}}\n{"id":2,"ping":{}}', 0.0)
    request = next(actions)
    assert isinstance(request, Authenticate)
    session.authenticated(request, ANONYMOUS, None, 0.0)
    assert said(next(actions)) == {"id": 2, "ping": {}}


def test_the_connect_reply_says_when_the_token_ends_in_whole_seconds() -> None:
    session = opening(ping_interval_s=25.0)
    reply = said(session.authenticated(Authenticate(1, "t", refresh=False), ADA, 90.7, 0.0))
    assert reply["connect"] == {
        "client": "c1", "version": "v", "ping": 25, "pong": True, "expires": True, "ttl": 90,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (Refused("token_expired"), 109),
        (Unavailable(), 504),
        (Refused("unauthorized"), Close(3500, "invalid token")),
        (Refused("session_ended"), Close(3500, "invalid token")),
    ],
)
def test_a_token_that_is_nobodys_is_refused_or_ends_the_conversation(error: DomainError, expected: int | Close) -> None:
    result = opening().not_authenticated(Authenticate(1, "t", refresh=False), error)
    if isinstance(expected, Close):
        assert result == expected
    else:
        assert said(result)["error"]["code"] == expected


@pytest.mark.parametrize(
    "command",
    [{"id": 1, "ping": {}}, {"connect": {}}, {"id": 1}, {"id": 1, "rpc": {"method": "view"}}, {"id": 1, "refresh": {}}],
)
def test_nothing_but_connect_opens_a_conversation(command: Any) -> None:
    session = opening()
    assert hear(session, command, {"id": 2, "connect": {}}) == [Close(3501, "bad request")]
    assert session.wake(1_000.0) is None


def test_a_client_that_does_not_connect_in_time_is_stale() -> None:
    session = opening(connect_timeout_s=10.0)
    assert session.due == 10.0
    assert session.wake(9.9) is None
    assert session.wake(10.0) == Close(3502, "stale")


# -- open -------------------------------------------------------------------------------------------------------------


def test_a_second_connect_ends_the_conversation_and_what_follows_is_not_heard() -> None:
    assert hear(opened(), {"id": 2, "connect": {}}, {"id": 3, "ping": {}}) == [Close(3501, "bad request")]


def test_what_stands_before_a_malformed_line_is_done() -> None:
    done, closed = opened().receive(b'{"id":2,"ping":{}}\n{"id":', 0.0)
    assert said(done) == {"id": 2, "ping": {}}
    assert closed == Close(3501, "bad request")


def test_pings_that_come_faster_than_the_deadline_do_not_move_it() -> None:
    session = opened(ping_interval_s=5.0, pong_timeout_s=20.0)
    assert [session.wake(now) for now in (5.0, 10.0, 15.0, 20.0)] == [Ping()] * 4
    assert session.wake(25.0) == Close(3012, "no pong")


def test_an_rpc_asks_the_actor_that_it_names() -> None:
    data = {"post": "5", "body": "hi", "op": "o"}
    assert hear(opened(), {"id": 2, "rpc": {"method": "comment.create", "data": data}}) == [
        Ask(2, "post:5", CreateComment(post="5", body="hi"), "o")
    ]


def test_an_answer_is_a_view_or_ready_json_or_a_refusal() -> None:
    assert said(conversation.answer(2, Ack(id="9", offset=4))) == {"id": 2, "rpc": {"data": {"id": "9", "offset": 4}}}
    assert said(conversation.answer(2, b'{"a":1}')) == {"id": 2, "rpc": {"data": {"a": 1}}}
    assert said(conversation.answer(2, Raw(b"[]"))) == {"id": 2, "rpc": {"data": []}}
    assert said(conversation.answer(2, None)) == {"id": 2, "rpc": {"data": None}}
    assert said(conversation.answer(2, Refused("comment_not_found")))["error"]["code"] == 421


def test_a_client_at_its_rate_is_refused_until_a_token_is_back() -> None:
    session = opened(commands_per_s=1.0, commands_burst=1)
    [first, second] = hear(session, {"id": 2, "ping": {}}, {"id": 3, "ping": {}})
    assert "ping" in said(first)
    assert said(second)["error"] == {"code": 111, "message": "retry after 1.0 s", "temporary": True}
    [third] = hear(session, {"id": 4, "ping": {}}, now=1.0)
    assert "ping" in said(third)


def test_a_client_that_ignores_its_refusals_is_disconnected() -> None:
    session = opened(commands_per_s=0.001, commands_burst=1, refusals_max=2)
    actions = hear(session, *({"id": n, "ping": {}} for n in range(2, 10)))
    assert actions[3:] == [Close(3013, "too many requests")]


def test_answers_to_pings_cost_nothing() -> None:
    session = opened(commands_per_s=0.001, commands_burst=1)
    assert hear(session, {}, {}, {}) == []
    assert "ping" in said(hear(session, {"id": 2, "ping": {}})[0])


# -- streams ----------------------------------------------------------------------------------------------------------


def test_a_subscription_recovers_only_if_it_asks_to() -> None:
    assert subscribe(opened(), epoch="e", offset=4) == Subscribe(2, "post:1", None, must_recover=False)
    assert subscribe(opened(), recover=True, epoch="e", offset=4, flag=3) == Subscribe(
        2, "post:1", Cursor("e", 4), must_recover=True
    )


def test_the_reply_continues_from_the_clients_position_with_the_first_page() -> None:
    session = opened()
    request = subscribe(session, recover=True, epoch="e", offset=4)
    page = (Published(5, b"1"), Published(6, b"2"))
    assert said(session.subscribed(request, attached(offset=4, recovered=True, first=page), 2))["subscribe"] == {
        "epoch": "e",
        "offset": 4,
        "recoverable": True,
        "positioned": True,
        "was_recovering": True,
        "recovered": True,
        "publications": [{"data": 1, "offset": 5}, {"data": 2, "offset": 6}],
        "data": {"n": 0},
    }


def test_who_wants_no_gap_is_refused_a_subscription_that_has_one() -> None:
    session = opened()
    request = subscribe(session, recover=True, epoch="other", offset=4, flag=2)
    with pytest.raises(Refused) as refusal:
        session.subscribed(request, attached(offset=9), 0)
    assert refusal.value.code == "unrecoverable_position"
    assert isinstance(subscribe(session), Subscribe)


@pytest.mark.parametrize(
    "channel",
    ["", "post", "post:", "post:0", "post:01", "post:1\n", "post: 1", "post:9223372036854775808", "feeds:1", "x"],
)
def test_a_channel_that_cannot_be_is_unknown(channel: str) -> None:
    [reply] = hear(opened(), {"id": 2, "subscribe": {"channel": channel}})
    assert said(reply)["error"]["code"] == 102


def test_a_channel_is_taken_from_the_moment_that_it_is_asked_for() -> None:
    session = opened(subscriptions_max=1)
    subscribe(session)
    [again, other] = hear(session, *({"id": 3, "subscribe": {"channel": channel}} for channel in ("post:1", "post:2")))
    assert (said(again)["error"]["code"], said(other)["error"]["code"]) == (105, 106)
    session.unsubscribed("post:1")
    subscribe(session)
    [left] = hear(session, {"id": 4, "unsubscribe": {"channel": "post:1"}})
    assert left == Unsubscribe("post:1", b'{"id":4,"unsubscribe":{}}')
    subscribe(session)


def test_only_a_subscriber_sees_who_is_there_and_what_was() -> None:
    session = opened()
    asking = [{"id": 3, name: {"channel": "post:1", "limit": 2}} for name in ("presence", "presence_stats", "history")]
    assert [said(action)["error"]["code"] for action in hear(session, *asking)] == [103] * 3
    request = subscribe(session)
    assert [said(action)["error"]["code"] for action in hear(session, *asking)] == [103] * 3
    session.subscribed(request, attached(), 0)
    assert hear(session, *asking) == [
        ListPresence(3, "post:1", count_only=False),
        ListPresence(3, "post:1", count_only=True),
        ReadHistory(3, "post:1", Cursor("e", 0), 2),
    ]


def test_presence_lists_at_most_a_hundred() -> None:
    ask, count = ListPresence(2, "post:1", count_only=False), ListPresence(2, "post:1", count_only=True)
    few = Presence(100, 1, [Present(f"c{n}", BOB) for n in range(100)])
    assert len(said(conversation.present(ask, few))["presence"]["presence"]) == 100
    crowd = Presence(101, 1, [])
    assert said(conversation.present(ask, crowd))["error"]["code"] == 108
    assert said(conversation.present(count, crowd))["presence_stats"] == {"num_clients": 101, "num_users": 1}


# -- tokens and time --------------------------------------------------------------------------------------------------


def test_a_refreshed_token_moves_the_end() -> None:
    session = opened(ttl_s=10.0, ping_interval_s=1e6, expiry_grace_s=25.0)
    [request] = hear(session, {"id": 2, "refresh": {"token": "u"}}, now=12.0)
    assert request == Authenticate(2, "u", refresh=True)
    reply = said(session.authenticated(request, ADA, 10.0, 12.0))
    assert reply == {"id": 2, "refresh": {"client": "c1", "version": "v", "expires": True, "ttl": 10}}
    assert session.due == 47.0
    assert session.wake(46.9) is None
    assert session.wake(47.0) == Close(3005, "connection expired")


def test_a_conversation_does_not_change_hands() -> None:
    refresh = Authenticate(2, "u", refresh=True)
    assert opened().authenticated(refresh, BOB, None, 0.0) == Close(3500, "invalid token")
    assert opened().not_authenticated(refresh, Refused("token_expired")) == Close(3005, "connection expired")
    assert opened().not_authenticated(refresh, Refused("unauthorized")) == Close(3500, "invalid token")


def test_a_client_is_pinged_and_ended_if_it_does_not_answer() -> None:
    session = opened(ping_interval_s=25.0, pong_timeout_s=20.0)
    assert session.due == 25.0
    assert session.wake(25.0) == Ping()
    assert session.wake(25.0) is None
    assert session.due == 45.0
    hear(session, {}, now=44.0)
    assert session.due == 50.0
    assert session.wake(50.0) == Ping()
    assert session.wake(69.9) is None
    assert session.wake(70.0) == Close(3012, "no pong")


def test_a_client_that_was_not_read_from_is_not_called_silent() -> None:
    session = opened(ping_interval_s=25.0, pong_timeout_s=20.0)
    session.wake(25.0)
    session.heard()
    assert session.wake(45.0) is None


def test_what_has_ended_hears_nothing_and_wants_nothing() -> None:
    session = opened()
    session.end()
    assert hear(session, {"id": 2, "ping": {}}) == []
    assert session.wake(1e9) is None
