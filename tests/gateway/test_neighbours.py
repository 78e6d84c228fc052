"""Several workers, each a gateway over actors of its own, behind which there is one store and one bus."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from actors.keys import SLOTS, slot_of, user_key
from actors.runtime.gateways import GATHER_S
from actors.runtime.metrics import BusFigures, Metrics
from protocol.cluster import ClusterView
from protocol.errors import FORCED
from protocol.gateway.scrape import SUBJECT
from store.memory import MemoryStore
from store.memory_bus import Broker
from tests.gateway.http_site import HOST_SECRET, HttpSite, host_token, http_site

PATIENCE_S = 10.0
REFRESH = "/v1/sessions/refresh"


@asynccontextmanager
async def cluster(**settings: Any) -> AsyncIterator[tuple[HttpSite, HttpSite, Broker]]:
    """Two workers, and what carries their messages."""
    store, broker = MemoryStore(time.time), Broker()
    figures = BusFigures(Metrics(CollectorRegistry()))
    async with (
        http_site(store=store, bus=broker.bus("a", figures), node="a", **settings) as a,
        http_site(store=store, bus=broker.bus("b", figures), node="b", **settings) as b,
    ):
        for site in (a, b):
            await eventually(partial(both_answer, site))
        yield a, b, broker


async def both_answer(site: HttpSite) -> bool:
    return len(await site.node.gather(SUBJECT)) == 2


async def shared(store: MemoryStore) -> bool:
    """Whether no slot has to move any more: each of the two has about half."""
    owners = await store.owners()
    shares = [sum(owner == worker.id for owner, _ in owners.slots.values()) for worker in owners.live]
    return sum(shares) == SLOTS and min(shares) > SLOTS // 3


async def owner(account: int, *sites: HttpSite) -> HttpSite:
    """The worker that has the account in its memory."""
    worker, _ = (await sites[0].store.owners()).slots[slot_of(user_key(account))]
    [found] = [site for site in sites if site.node.worker().id == str(worker)]
    return found


async def eventually(true: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def connected(site: HttpSite, token: str) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    """A WebSocket whose client is signed in."""
    url = f"{site.api.url}/connection/websocket"
    async with aiohttp.ClientSession() as client, client.ws_connect(url) as socket:
        await socket.send_json({"id": 1, "connect": {"token": token}})
        assert "connect" in await socket.receive_json()
        yield socket


async def closed(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    async with asyncio.timeout(PATIENCE_S):
        while (await socket.receive()).type is not aiohttp.WSMsgType.CLOSE:
            pass
    return socket.close_code


async def test_who_signs_out_on_one_worker_is_signed_out_on_the_other() -> None:
    async with cluster() as (a, b, _):
        ada = await a.api.member("ada")
        assert (await b.api.call("GET", "/v1/me", token=ada.access_token)).status == 200
        async with connected(b, ada.access_token) as socket:
            assert (await a.api.call("DELETE", "/v1/sessions/current", token=ada.access_token)).status == 204
            assert await closed(socket) == FORCED[0]
        assert (await b.api.call("GET", "/v1/me", token=ada.access_token)).code == "unauthorized"


async def test_what_ends_is_answered_once_every_worker_knows() -> None:
    async with cluster() as (a, b, broker):
        ada, bob, cid = [await a.api.member(name) for name in ("ada", "bob", "cid")]
        stolen = {"refresh_token": cid.refresh_token}
        latest = stolen
        for _ in range(2):
            answer = await a.api.call("POST", REFRESH, latest)
            latest = {"refresh_token": answer.json["refresh_token"]}
        await eventually(lambda: shared(a.store))

        broker.route = lambda sender, receiver, inbox, messages: (0.1,)
        assert (await a.api.call("DELETE", "/v1/sessions/current", token=ada.access_token)).status == 204
        assert (await b.api.call("GET", "/v1/me", token=ada.access_token)).code == "unauthorized"
        assert (await a.api.call("DELETE", "/v1/me", token=bob.access_token)).status == 204
        assert (await b.api.call("GET", "/v1/me", token=bob.access_token)).code == "unauthorized"
        assert (await a.api.call("POST", REFRESH, stolen)).code == "session_ended"
        assert (await b.api.call("GET", "/v1/me", token=cid.access_token)).code == "unauthorized"


async def test_who_does_not_hear_holds_up_a_sign_out_for_a_second_only() -> None:
    async with cluster() as (a, b, broker):
        ada = await a.api.member("ada")
        await eventually(lambda: shared(a.store))
        here = await owner(int(ada.account.id), a, b)
        broker.route = lambda sender, receiver, inbox, messages: () if sender != receiver else (0.0,)
        began = time.monotonic()
        assert (await here.api.call("DELETE", "/v1/sessions/current", token=ada.access_token)).status == 204
        assert time.monotonic() - began >= GATHER_S
        assert (await here.api.call("GET", "/v1/me", token=ada.access_token)).code == "unauthorized"


async def test_what_ends_while_the_bus_is_away_is_known_when_it_returns() -> None:
    async with cluster(host_jwt_secret=HOST_SECRET) as (a, b, broker):
        ada = await a.api.member("ada")
        bob = host_token({"id": "77", "username": "Bob"})
        for site in (a, b):
            assert (await site.api.call("GET", "/v1/me", token=bob)).status == 200
            assert (await site.api.call("GET", "/v1/me", token=ada.access_token)).status == 200

        await eventually(lambda: shared(a.store))
        adas, bobs = int(ada.account.id), int((await a.api.call("GET", "/v1/me", token=bob)).json["id"])
        async with connected(a, bob) as one, connected(b, bob) as other:
            for name in ("a", "b"):
                broker.cut(name)
            # Only the worker that has the account can end it now.
            signed_out = (await owner(adas, a, b)).api.call("DELETE", "/v1/sessions/current", token=ada.access_token)
            assert (await signed_out).status == 204
            assert (await (await owner(bobs, a, b)).api.call("DELETE", "/v1/me", token=bob)).status == 204
            for name in ("a", "b"):
                broker.heal(name)
            assert [await closed(each) for each in (one, other)] == [FORCED[0]] * 2
        for site in (a, b):
            assert (await site.api.call("GET", "/v1/me", token=ada.access_token)).code == "unauthorized"
            assert (await site.api.call("GET", "/v1/me", token=bob)).code == "unauthorized"


async def test_a_ticket_is_good_on_one_worker_only() -> None:
    async with cluster() as (a, b, _), aiohttp.ClientSession() as client:
        ada = await a.api.member("ada")
        post = (await a.api.post(ada.access_token))["id"]
        for _ in range(4):
            ticket = (await b.api.call("POST", "/v1/tickets", token=ada.access_token)).json["ticket"]
            path = f"/v1/posts/{post}/events?ticket={ticket}"

            async def status(site: HttpSite, path: str = path) -> int:
                async with client.get(site.api.url + path) as response:
                    return response.status

            assert sorted(await asyncio.gather(*map(status, (a, b, a, b)))) == [200, 401, 401, 401]


async def test_presence_counts_those_of_both_workers() -> None:
    async with cluster() as (a, b, _):
        ada, bob = await a.api.member("ada"), await b.api.member("bob")
        post = (await a.api.post(ada.access_token))["id"]
        channel = {"channel": f"post:{post}"}
        async with connected(a, ada.access_token) as one, connected(b, bob.access_token) as other:
            for socket in (one, other):
                await socket.send_json({"id": 2, "subscribe": channel})
                assert "subscribe" in await socket.receive_json()
            await one.send_json({"id": 3, "presence_stats": channel})
            while (reply := await one.receive_json()).get("id") != 3:
                pass
            assert reply["presence_stats"] == {"num_clients": 2, "num_users": 2}


async def test_either_worker_shows_the_figures_and_the_state_of_both() -> None:
    admin = host_token({"id": "1", "username": "Boss", "role": "admin"})
    async with cluster(host_jwt_secret=HOST_SECRET) as (a, b, broker):
        for site in (a, b):
            text = (await site.api.call("GET", "/metrics")).body.decode()
            found = {
                (sample.name, sample.labels.get("worker"))
                for family in text_string_to_metric_families(text)
                for sample in family.samples
            }
            assert {("plaudit_slots", "a"), ("plaudit_slots", "b"), ("plaudit_workers_silent", None)} <= found

        await eventually(lambda: shared(a.store))
        view = await seen(a, admin)
        states = [(worker.label, worker.state, worker.bus and worker.bus.state) for worker in view.workers]
        assert states == [("a", "ready", "up"), ("b", "ready", "up")]
        assert view.slots_without_owner == []
        broker.cut("b")
        assert [worker.state for worker in (await seen(a, admin)).workers] == ["ready", "silent"]
        answer = await b.api.call("GET", "/readyz")
        assert (answer.status, list(answer.json["failing"])) == (503, ["bus"])


async def seen(site: HttpSite, token: str) -> ClusterView:
    """What the cluster is; asked again, as an answer may tell one to, while the slot of the one who asks moves."""
    async with asyncio.timeout(PATIENCE_S):
        while (answer := await site.api.call("GET", "/v1/cluster", token=token)).status == 503:
            await asyncio.sleep(0.01)
    assert answer.status == 200, answer
    return msgspec.json.decode(answer.body, type=ClusterView)
