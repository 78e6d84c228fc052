"""The WebSocket, as a client without an SDK meets it."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType

from protocol.commands import CreateComment, Person
from protocol.delivery import Presence
from protocol.errors import Refused, Unavailable
from protocol.gateway.identity import Identity
from protocol.gateway.settings import Rate
from protocol.gateway.websocket import IN_FLIGHT_MAX
from protocol.session import Limits
from tests.gateway.recording import COUNTERS, Neighbours
from tests.gateway.serving import Site, dialled, serving

Socket = aiohttp.ClientWebSocketResponse


async def say(socket: Socket, *commands: Any) -> None:
    await socket.send_str("\n".join(json.dumps(command) for command in commands))


class Conversation:
    """Reads replies one by one, whatever frames they come in."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self._lines: list[str] = []
        self.frames = 0

    async def next(self) -> Any:
        while not self._lines:
            message = await self.socket.receive(timeout=5)
            assert message.type is WSMsgType.TEXT, (message, self.socket.close_code)
            self.frames += 1
            self._lines = str(message.data).split("\n")
        return json.loads(self._lines.pop(0))

    async def closed(self) -> tuple[int | None, str]:
        while True:
            message = await self.socket.receive(timeout=5)
            if message.type is WSMsgType.CLOSE:
                return message.data, message.extra or ""
            assert message.type is WSMsgType.TEXT, message


async def connected(socket: Socket, token: str | None = "ada") -> Conversation:
    conversation = Conversation(socket)
    await say(socket, {"id": 1, "connect": {} if token is None else {"token": token}})
    assert "connect" in await conversation.next()
    return conversation


async def subscribed(socket: Socket, **position: Any) -> tuple[Conversation, Any]:
    conversation = await connected(socket)
    await say(socket, {"id": 2, "subscribe": {"channel": "post:1", **position}})
    return conversation, (await conversation.next())["subscribe"]


# -- connecting -------------------------------------------------------------------------------------------------------


async def test_a_client_learns_its_id_and_how_often_it_is_pinged() -> None:
    async with serving() as site, dialled(site) as socket:
        await say(socket, {"id": 1, "connect": {"token": "ada", "name": "js", "data": {"any": 1}}})
        assert await Conversation(socket).next() == {
            "id": 1,
            "connect": {"client": "c1", "version": "plaudit", "ping": 25, "pong": True},
        }


async def test_the_subprotocol_is_accepted_when_offered_and_else_there_is_none() -> None:
    async with serving() as site:
        async with dialled(site, protocols=["centrifuge-json"]) as socket:
            assert socket.protocol == "centrifuge-json"
        async with dialled(site, protocols=["centrifuge-protobuf"]) as socket:
            assert socket.protocol is None
        async with dialled(site, compress=15) as socket:
            assert not socket.compress


async def test_subscriptions_sent_along_with_the_token_wait_for_who_it_is() -> None:
    async with serving() as site, dialled(site) as socket:
        await say(socket, {"id": 1, "connect": {"token": "ada"}}, {"id": 2, "subscribe": {"channel": "post:1"}})
        conversation = Conversation(socket)
        assert "connect" in await conversation.next()
        assert "subscribe" in await conversation.next()
        assert (await site.backend.presence("post:1")).listed[0].by.handle == "ada"


@pytest.mark.parametrize(
    ("first", "code"),
    [
        ({"id": 1, "rpc": {"method": "post.get", "data": {"post": "1"}}}, 3501),
        ({"id": 1, "subscribe": {"channel": "post:1"}}, 3501),
        ({"id": 1, "connect": {"token": "forged"}}, 3500),
        ({"connect": {}}, 3501),
    ],
)
async def test_whoever_does_not_begin_by_connecting_is_disconnected(first: Any, code: int) -> None:
    async with serving() as site, dialled(site) as socket:
        await say(socket, first)
        assert (await Conversation(socket).closed())[0] == code


async def test_an_expired_token_is_an_error_and_the_next_one_connects() -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = Conversation(socket)
        await say(socket, {"id": 1, "connect": {"token": "expired"}})
        assert (await conversation.next())["error"]["code"] == 109
        await say(socket, {"id": 2, "connect": {"token": "ada"}})
        assert "connect" in await conversation.next()


async def test_authentication_that_is_unavailable_may_be_tried_again() -> None:
    async with serving() as site, dialled(site) as socket:
        await say(socket, {"id": 1, "connect": {"token": "overload"}})
        assert (await Conversation(socket).next())["error"] == {
            "code": 504,
            "message": "temporarily unavailable; retry with the same operation id",
            "temporary": True,
        }


async def test_a_page_of_another_origin_is_refused_before_the_handshake() -> None:
    async with serving() as site:
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            async with dialled(site, origin="https://evil.example"):
                pass
        assert refusal.value.status == 403


async def test_an_address_has_only_so_many_connections() -> None:
    async with serving(connections_per_address_max=1) as site, dialled(site) as first:
        await connected(first)
        async with dialled(site) as second:
            assert await Conversation(second).closed() == (3504, "connection limit")
        await first.close()
        while len(site.sockets.connections):
            await asyncio.sleep(0)
        async with dialled(site) as third:
            await connected(third)


# -- bad frames -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "frame",
    [
        b"{",
        b"[]",
        b"5",
        b'{"id":"1"}',
        b'{"id":-1,"ping":{}}',
        b'{"id":4294967296,"ping":{}}',
        b'{"id":2,"rpc":{"method":"\xff"}}',
        b'{"id":2,"rpc":{"method":"m","data":' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
        b'{"id":2,"connect":{}}',
        b'{"ping":{}}',
        b'{"send":{"data":1}}',
    ],
)
async def test_a_malformed_frame_ends_the_connection(frame: bytes) -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = await connected(socket)
        await socket.send_frame(frame, WSMsgType.TEXT)
        assert await conversation.closed() == (3501, "bad request")


@pytest.mark.parametrize(
    "command",
    [
        b'{"id":2,"rpc":{"method":7}}',
        b'{"id":2,"rpc":{"method":"\\ud800"}}',
        b'{"rpc":{"method":"comment.create","data":{"post":"1","body":"\\ud83d"}},"id":2}',
        b'{"id":2,"subscribe":{"channel":"post:1","offset":-1}}',
    ],
)
async def test_a_command_that_cannot_be_read_is_refused_and_harms_no_other(command: bytes) -> None:
    async with serving() as site, dialled(site) as socket:
        await connected(socket)
        await socket.send_frame(b'{"id":1,"ping":{}}\n' + command + b'\n{"id":3,"ping":{}}', WSMsgType.TEXT)
        replies = [json.loads(line) for line in (await socket.receive_str(timeout=5)).split("\n")]
        assert [reply["id"] for reply in replies] == [1, 2, 3]
        assert replies[1]["error"]["code"] == 107


async def test_a_binary_frame_ends_the_connection() -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = await connected(socket)
        await socket.send_bytes(b"{}")
        assert await conversation.closed() == (3501, "bad request")


async def test_a_frame_over_64_kib_ends_the_connection_with_1009() -> None:
    async with serving() as site:
        async with dialled(site) as socket:
            await connected(socket)
            await socket.send_str('{"id":2,"ping":{},"_":"' + "x" * 65_536 + '"}')
            message = await socket.receive(timeout=5)
            assert (message.type, message.data) == (WSMsgType.CLOSE, 1009)
        async with dialled(site) as socket:
            conversation = await connected(socket)
            fits = '{"id":2,"ping":{},"_":"%s"}'
            await socket.send_str(fits % ("x" * (65_536 - len(fits) + 2)))
            assert await conversation.next() == {"id": 2, "ping": {}}


# -- commands ---------------------------------------------------------------------------------------------------------


async def test_an_rpc_reaches_the_actor_with_its_person_and_operation_id() -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = await connected(socket)
        data = {"post": "1", "body": "hello\r\n", "op": "a1"}
        await say(socket, {"id": 9, "rpc": {"method": "comment.create", "data": data}})
        assert await conversation.next() == {"id": 9, "rpc": {"data": {"method": "comment.create"}}}
        key, command, by, op = site.backend.asked[0]
        assert (key, command, by.id, op) == ("post:1", CreateComment(post="1", body="hello"), 7, "a1")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({"rpc": {"method": "nothing", "data": {}}}, 104),
        ({"rpc": {"method": "comment.import", "data": {}}}, 104),
        ({"rpc": {"method": "comment.create"}}, 400),
        ({"rpc": {"method": "comment.create", "data": None}}, 400),
        ({"rpc": {"method": "comment.create", "data": {"post": 1, "body": "x"}}}, 400),
        ({"rpc": {"method": "comment.create", "data": {"post": "01", "body": "x"}}}, 400),
        ({"rpc": {"method": "comment.create", "data": {"post": "1", "body": "a\0b"}}}, 400),
        ({"rpc": {"method": "comment.create", "data": {"post": "1", "body": " \n"}}}, 430),
        ({"rpc": {"method": "comment.create", "data": {"post": "1", "body": "x" * 10_001}}}, 431),
        ({"rpc": {"method": "comment.create", "data": {"post": "1", "body": "x", "op": ""}}}, 400),
        ({"rpc": {"method": "post.get", "data": {"post": "1", "extra": 1}}}, 400),
        ({"subscribe": {"channel": "room:1"}}, 102),
        ({"subscribe": {"channel": "post:x"}}, 102),
        ({"subscribe": {"channel": "post:404"}}, 420),
        ({"presence": {"channel": "post:1"}}, 103),
        ({"presence_stats": {"channel": "post:1"}}, 103),
        ({"history": {"channel": "post:1", "limit": 5}}, 103),
        ({"publish": {"channel": "post:1", "data": {}}}, 103),
        ({"sub_refresh": {"channel": "post:1", "token": "t"}}, 108),
        ({"send": {"data": 1}}, 108),
        ({"fly": {}}, 104),
    ],
)
async def test_a_command_that_is_refused_is_answered_and_the_next_one_served(command: Any, code: int) -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = await connected(socket)
        await say(socket, {"id": 2, **command}, {"id": 3, "ping": {}})
        replies = [await conversation.next(), await conversation.next()]
        assert {"id": 3, "ping": {}} in replies
        assert [reply["error"]["code"] for reply in replies if reply["id"] == 2] == [code]
        assert not site.backend.asked


async def test_a_refusal_of_the_actor_is_the_reply_and_says_whether_to_retry() -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = await connected(socket)
        for error, expected in [
            (Refused("not_author"), {"code": 433, "message": "only its author may do this"}),
            (Unavailable("try again"), {"code": 504, "message": "try again", "temporary": True}),
        ]:
            site.backend.answers["post.get"] = error
            await say(socket, {"id": 2, "rpc": {"method": "post.get", "data": {"post": "1"}}})
            assert await conversation.next() == {"id": 2, "error": expected}


async def test_replies_that_are_ready_together_leave_as_one_frame() -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = await connected(socket)
        frames = conversation.frames
        read = {"method": "post.get", "data": {"post": "1"}}
        await say(socket, *({"id": 2 + n, "rpc": read} for n in range(50)))
        assert [(await conversation.next())["id"] for _ in range(50)] == list(range(2, 52))
        assert conversation.frames == frames + 1


async def test_the_socket_is_read_no_further_while_too_many_commands_are_in_flight() -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = await connected(socket)
        site.backend.held = []
        read = {"method": "post.get", "data": {"post": "1"}}
        await say(socket, *({"id": 2 + n, "rpc": read} for n in range(IN_FLIGHT_MAX + 1)))
        while len(site.backend.asked) < IN_FLIGHT_MAX:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert len(site.backend.asked) == IN_FLIGHT_MAX
        held, site.backend.held = site.backend.held, None
        for answer in held:
            answer()
        for n in range(IN_FLIGHT_MAX + 1):
            assert (await conversation.next())["id"] == 2 + n


async def test_a_socket_that_asks_too_often_is_refused_and_in_the_end_disconnected() -> None:
    async with serving(socket_rate=Rate(0.1, 2)) as site, dialled(site) as socket:
        conversation = await connected(socket)
        await say(socket, *({"id": 2 + n, "ping": {}} for n in range(3)))
        assert "ping" in await conversation.next()
        assert "ping" in await conversation.next()
        error = (await conversation.next())["error"]
        assert (error["code"], error["temporary"]) == (111, True)
        await say(socket, *({"id": 5 + n, "ping": {}} for n in range(1_000)))
        assert await conversation.closed() == (3013, "too many requests")


async def test_an_account_that_writes_too_often_is_refused_and_may_still_read() -> None:
    async with serving(account_rate=Rate(0.1, 1)) as site, dialled(site) as socket:
        conversation = await connected(socket)
        write = {"method": "react", "data": {"post": "1", "kind": "like"}}
        await say(
            socket,
            {"id": 2, "rpc": write},
            {"id": 3, "rpc": write},
            {"id": 4, "rpc": {"method": "post.get", "data": {"post": "1"}}},
        )
        replies = {reply["id"]: reply for reply in [await conversation.next() for _ in range(3)]}
        assert "rpc" in replies[2]
        assert replies[3]["error"]["code"] == 111
        assert "rpc" in replies[4]


# -- streams ----------------------------------------------------------------------------------------------------------


async def test_a_subscription_begins_at_the_head_with_the_counters_and_then_gets_what_is_published() -> None:
    async with serving() as site, dialled(site) as socket:
        site.backend.stream("post:1").publish(b'{"n":1}')
        conversation, reply = await subscribed(socket)
        assert reply == {
            "epoch": "e1",
            "offset": 1,
            "recoverable": True,
            "positioned": True,
            "data": json.loads(COUNTERS),
        }
        site.backend.stream("post:1").publish(b'{"n":2}')
        assert await conversation.next() == {"push": {"channel": "post:1", "pub": {"data": {"n": 2}, "offset": 2}}}
        site.backend.stream("post:1").signal(b'{"type":"typing","people":[]}')
        assert await conversation.next() == {
            "push": {"channel": "post:1", "pub": {"data": {"type": "typing", "people": []}}}
        }


async def test_a_recovery_starts_at_the_clients_own_position_and_continues_page_by_page() -> None:
    async with serving(page=3) as site, dialled(site) as socket:
        for n in range(1, 9):
            site.backend.stream("post:1").publish(b'{"n":%d}' % n)
        conversation, reply = await subscribed(socket, recover=True, epoch="e1", offset=1)
        assert (reply["recovered"], reply["was_recovering"], reply["offset"], reply["epoch"]) == (True, True, 1, "e1")
        assert [item["offset"] for item in reply["publications"]] == [2, 3, 4]
        assert [(await conversation.next())["push"]["pub"]["offset"] for _ in range(4)] == [5, 6, 7, 8]


@pytest.mark.parametrize("position", [{"epoch": "other", "offset": 1}, {"epoch": "e1", "offset": 5}, {"epoch": ""}])
async def test_a_position_that_cannot_be_recovered_is_told_so(position: Any) -> None:
    async with serving() as site, dialled(site) as socket:
        site.backend.stream("post:1").publish(b"{}")
        _, reply = await subscribed(socket, recover=True, **position)
        assert reply["was_recovering"]
        assert "recovered" not in reply
        assert reply["offset"] == 1


async def test_a_client_that_wants_no_gap_is_refused_instead() -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = await connected(socket)
        position = {"channel": "post:1", "recover": True, "epoch": "other", "offset": 3, "flag": 2}
        await say(socket, {"id": 2, "subscribe": position})
        assert (await conversation.next())["error"]["code"] == 112
        assert (await site.backend.presence("post:1")).clients == 0
        await say(socket, {"id": 3, "subscribe": {"channel": "post:1"}})
        assert "subscribe" in await conversation.next()


async def test_what_does_not_fit_into_the_reply_follows_as_publications() -> None:
    async with serving(page=6) as site, dialled(site) as socket:
        for n in range(6):
            site.backend.stream("post:1").publish(json.dumps(f"{n}{60_000 * 'x'}").encode())
        conversation, reply = await subscribed(socket, recover=True, epoch="e1", offset=0)
        assert [item["offset"] for item in reply["publications"]] == [1, 2, 3, 4]
        assert [(await conversation.next())["push"]["pub"]["offset"] for _ in range(2)] == [5, 6]


async def test_a_channel_is_subscribed_once_and_again_after_unsubscribing() -> None:
    async with serving() as site, dialled(site) as socket:
        conversation, _ = await subscribed(socket)
        await say(socket, {"id": 3, "subscribe": {"channel": "post:1"}})
        assert (await conversation.next())["error"]["code"] == 105
        await say(socket, {"id": 4, "unsubscribe": {"channel": "post:1"}})
        assert await conversation.next() == {"id": 4, "unsubscribe": {}}
        site.backend.stream("post:1").publish(b"{}")
        await say(socket, {"id": 5, "subscribe": {"channel": "post:1"}})
        assert (await conversation.next())["id"] == 5


async def test_unsubscribing_at_once_leaves_nothing_subscribed() -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = await connected(socket)
        channel = {"channel": "post:1"}
        await say(socket, {"id": 2, "subscribe": channel}, {"id": 3, "unsubscribe": channel})
        assert [(await conversation.next())["id"], (await conversation.next())["id"]] == [2, 3]
        assert (await site.backend.presence("post:1")).clients == 0


async def test_a_connection_has_only_so_many_subscriptions() -> None:
    async with serving(subscriptions_max=1) as site, dialled(site) as socket:
        conversation, _ = await subscribed(socket)
        await say(socket, {"id": 3, "subscribe": {"channel": "post:2"}})
        assert (await conversation.next())["error"]["code"] == 106


async def test_presence_lists_few_and_counts_many() -> None:
    async with serving() as site, dialled(site) as socket, dialled(site) as other:
        conversation, _ = await subscribed(socket)
        second = await connected(other, token=None)
        await say(other, {"id": 2, "subscribe": {"channel": "post:1"}})
        await second.next()
        await say(socket, {"id": 3, "presence": {"channel": "post:1"}})
        assert (await conversation.next())["presence"]["presence"] == {
            "c1": {"user": "7", "client": "c1", "conn_info": {"handle": "ada", "name": "Ada"}},
            "c2": {"user": "", "client": "c2"},
        }
        crowd = Presence(102, 1, [])
        questions: list[asyncio.Future[Presence]] = []
        site.backend.presences = questions
        await say(
            socket,
            {"id": 4, "presence": {"channel": "post:1"}},
            {"id": 5, "presence_stats": {"channel": "post:1"}},
            {"id": 6, "rpc": {"method": "post.get", "data": {"post": "1"}}},
        )
        assert (await conversation.next())["id"] == 6
        assert len(questions) == 1
        questions[0].set_result(crowd)
        assert (await conversation.next())["error"]["code"] == 108
        questions[1].set_result(crowd)
        assert (await conversation.next())["presence_stats"] == {"num_clients": 102, "num_users": 1}


async def test_presence_lists_those_on_other_workers() -> None:
    neighbours = Neighbours()
    async with (
        serving(neighbours=neighbours) as one,
        serving(neighbours=neighbours, first_client=10) as two,
        dialled(one) as socket,
        dialled(two) as other,
    ):
        conversation, _ = await subscribed(socket)
        await subscribed(other)
        await say(socket, {"id": 3, "presence": {"channel": "post:1"}})
        assert (await conversation.next())["presence"]["presence"].keys() == {"c1", "c10"}


async def test_history_is_a_page_of_changes_after_a_position() -> None:
    async with serving() as site, dialled(site) as socket:
        for n in range(1, 6):
            site.backend.stream("post:1").publish(b"%d" % n)
        conversation, _ = await subscribed(socket)
        history = {"channel": "post:1"}
        await say(
            socket,
            {"id": 3, "history": history},
            {"id": 4, "history": {**history, "limit": 2, "since": {"offset": 1, "epoch": "e1"}}},
            {"id": 5, "history": {**history, "limit": -1}},
            {"id": 6, "history": {**history, "limit": 2, "since": {"offset": 1, "epoch": "other"}}},
            {"id": 7, "history": {**history, "limit": 2, "reverse": True}},
        )
        replies = {reply["id"]: reply for reply in [await conversation.next() for _ in range(5)]}
        assert replies[3]["history"] == {"publications": [], "epoch": "e1", "offset": 5}
        assert replies[4]["history"] == {
            "publications": [{"data": 2, "offset": 2}, {"data": 3, "offset": 3}],
            "epoch": "e1",
            "offset": 3,
        }
        assert len(replies[5]["history"]["publications"]) == 5
        assert replies[6]["error"]["code"] == 112
        assert replies[7]["error"]["code"] == 108


# -- time -------------------------------------------------------------------------------------------------------------


async def test_a_silent_client_is_pinged_and_then_disconnected() -> None:
    async with serving(limits=Limits(ping_interval_s=0.2, pong_timeout_s=0.1)) as site, dialled(site) as socket:
        conversation = await connected(socket)
        assert await conversation.next() == {}
        await socket.send_str("{}")
        assert await conversation.next() == {}
        assert await conversation.closed() == (3012, "no pong")


async def test_a_client_that_never_connects_is_stale() -> None:
    async with serving(limits=Limits(connect_timeout_s=0.05)) as site, dialled(site) as socket:
        assert await Conversation(socket).closed() == (3502, "stale")


def expiring(site: Site, in_s: float, person: int = 7) -> Identity:
    return Identity(Person(id=person, handle="ada", name="Ada"), expires_at_s=site.sockets.wall_clock() + in_s)


async def test_a_token_is_refreshed_on_the_open_connection() -> None:
    async with serving() as site, dialled(site) as socket:
        site.authenticator.identities.update(short=expiring(site, 60.5), longer=expiring(site, 600.5))
        conversation = Conversation(socket)
        await say(socket, {"id": 1, "connect": {"token": "short"}})
        reply = await conversation.next()
        assert (reply["connect"]["expires"], reply["connect"]["ttl"]) == (True, 60)
        await say(socket, {"id": 2, "refresh": {"token": "longer"}})
        assert await conversation.next() == {
            "id": 2,
            "refresh": {"client": "c1", "version": "plaudit", "expires": True, "ttl": 600},
        }


@pytest.mark.parametrize(("token", "code"), [("expired", 3005), ("forged", 3500), ("bob", 3500)])
async def test_a_refresh_with_another_token_ends_the_connection(token: str, code: int) -> None:
    async with serving() as site, dialled(site) as socket:
        conversation = await connected(socket)
        await say(socket, {"id": 2, "refresh": {"token": token}})
        assert (await conversation.closed())[0] == code


async def test_a_connection_whose_token_ran_out_is_ended() -> None:
    async with serving(limits=Limits(expiry_grace_s=0.05)) as site, dialled(site) as socket:
        site.authenticator.identities["short"] = expiring(site, 0.05)
        conversation = Conversation(socket)
        await say(socket, {"id": 1, "connect": {"token": "short"}})
        assert await conversation.closed() == (3005, "connection expired")


# -- the end ----------------------------------------------------------------------------------------------------------


async def test_a_shutdown_tells_every_client_to_come_back() -> None:
    async with serving() as site, dialled(site) as one, dialled(site) as two:
        conversations = [await connected(one), await connected(two)]
        ending = asyncio.create_task(site.sockets.shut_down())
        for conversation in conversations:
            assert await conversation.closed() == (3001, "shutdown")
        await ending
        assert not len(site.sockets.connections)
        async with dialled(site) as late:
            assert await Conversation(late).closed() == (3001, "shutdown")


async def test_open_connections_and_the_codes_they_were_closed_with_are_counted() -> None:
    async with serving() as site, dialled(site) as one, dialled(site) as two:
        conversations = [await connected(one), await connected(two)]
        registry = site.sockets.metrics.registry
        assert registry.get_sample_value("plaudit_connections") == 2
        await site.sockets.shut_down()
        for conversation in conversations:
            await conversation.closed()
        assert registry.get_sample_value("plaudit_connections") == 0
        assert registry.get_sample_value("plaudit_disconnects_total", {"code": "3001"}) == 2


async def test_the_connections_of_a_session_that_was_ended_are_closed() -> None:
    async with serving() as site, dialled(site) as one, dialled(site) as two:
        ada, bob = await connected(one, "ada"), await connected(two, "bob")
        site.sockets.connections.end_session("s7")
        assert await ada.closed() == (3503, "disconnected")
        await say(two, {"id": 2, "ping": {}})
        assert await bob.next() == {"id": 2, "ping": {}}


async def test_a_client_that_goes_away_leaves_nothing_subscribed() -> None:
    async with serving() as site:
        async with dialled(site) as socket:
            await subscribed(socket)
            stream = site.backend.stream("post:1")
            stream.changed.clear()
        await asyncio.wait_for(stream.changed.wait(), 5)
        assert not stream.subscriptions


@asynccontextmanager
async def unread(site: Site) -> AsyncIterator[socket.socket]:
    """A client that has shaken hands and then does nothing by itself."""
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, ("127.0.0.1", site.port))
        handshake = (
            b"GET /connection/websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
        )
        await loop.sock_sendall(raw, handshake)
        assert (await loop.sock_recv(raw, 4096)).startswith(b"HTTP/1.1 101")
        yield raw


async def test_a_client_that_does_not_answer_the_close_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocol.gateway.websocket.CLOSE_GRACE_S", 0.05)
    loop = asyncio.get_running_loop()
    async with serving(limits=Limits(connect_timeout_s=0.05)) as site, unread(site) as raw:
        assert await loop.sock_recv(raw, 4096) == b"\x88\x07\x0d\xaestale"
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(loop.sock_recv(raw, 4096), 5) == b""


async def test_a_client_that_takes_no_replies_is_read_no_further_and_then_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("protocol.gateway.websocket.CLOSE_GRACE_S", 0.05)
    monkeypatch.setattr("protocol.gateway.websocket.DRAIN_TIMEOUT_S", 0.2)
    loop = asyncio.get_running_loop()
    async with serving() as site, unread(site) as raw:
        site.backend.answers["post.get"] = "x" * 500_000
        await loop.sock_sendall(raw, masked({"id": 1, "connect": {}}))
        read = {"id": 2, "rpc": {"method": "post.get", "data": {"post": "1"}}}
        with suppress(ConnectionError):
            for _ in range(50):
                await loop.sock_sendall(raw, masked(read))
                await asyncio.sleep(0.005)
        assert 0 < len(site.backend.asked) < 20
        while len(site.sockets.connections):
            await asyncio.sleep(0.01)


async def test_a_client_that_pings_and_takes_no_pongs_is_read_no_further() -> None:
    pings, sent = 500 * (b"\x89\xfd\0\0\0\0" + bytes(125)), 0
    async with serving() as site, unread(site) as raw:
        with suppress(BlockingIOError):
            while sent < 64 << 20:
                for _ in range(100):
                    # The server has the same loop: what it reads makes room.
                    await asyncio.sleep(0)
                    with suppress(BlockingIOError):
                        sent += raw.send(pings)
                        break
                else:
                    raise BlockingIOError
        assert sent < 64 << 20


def masked(command: Any) -> bytes:
    """A text frame as clients send it, with the mask that changes nothing."""
    payload = json.dumps(command).encode()
    assert len(payload) < 126
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload
