"""What an operator is shown of the cluster: probes, the metrics of all workers, who holds what."""

import asyncio
import math
import re
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from typing import Literal

import aiohttp
import msgspec
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from actors.runtime.metrics import Metrics
from protocol.cluster import ActorLoad, BusView, ClusterView, Lease, Leases
from protocol.commands import Person
from protocol.errors import Unavailable
from protocol.gateway.app import make_app
from protocol.gateway.cluster import Status, cluster_view
from protocol.gateway.overview import ClusterUnreachable, fetch_cluster, overview
from protocol.gateway.scrape import FRESH_S, Scrape, merged
from protocol.gateway.settings import GatewaySettings
from protocol.gateway.tokens import Tokens
from tests.gateway.http_site import HttpSite
from tests.gateway.recording import Neighbours, RecordingBackend

SECRET = b"the secret of the cluster under test"


@asynccontextmanager
async def gateway(backend: RecordingBackend) -> AsyncIterator[str]:
    """A whole gateway over ``backend``; its address."""
    registry = CollectorRegistry()
    Metrics(registry)
    app = make_app(
        backend,
        GatewaySettings(secret=SECRET),
        clock=time.time,
        timer=time.monotonic,
        token_bytes=secrets.token_bytes,
        registry=registry,
    )
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def get(url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as client, client.get(url) as response:
        return response.status, await response.read()


def token(role: Literal["member", "moderator", "admin"] = "admin", secret: bytes = SECRET, id: int = 0) -> str:
    tokens = Tokens(secret, clock=time.time, token_bytes=secrets.token_bytes)
    return tokens.access(Person(id=id, handle="", name="", role=role), "s1", 60)[0]


def samples(exposition: bytes) -> dict[tuple[str, str | None], float]:
    """(name, worker) → value, of the series without other labels."""
    return {
        (sample.name, sample.labels.get("worker")): sample.value
        for family in text_string_to_metric_families(exposition.decode())
        for sample in family.samples
        if not sample.labels.keys() - {"worker"}
    }


# -- probes


async def test_readiness_names_each_part_that_cannot_serve() -> None:
    backend = RecordingBackend()
    async with gateway(backend) as url:
        assert await get(f"{url}/readyz") == (200, b'{"status":"ready","failing":{}}')
        backend.failing = {"bus": "not reached for 3 s", "slots": "4 are nobody's"}
        status, body = await get(f"{url}/readyz")
        assert (status, msgspec.json.decode(body)) == (503, {"status": "failing", "failing": backend.failing})
        assert (await get(f"{url}/healthz"))[0] == 200


# -- metrics


class Alone(RecordingBackend):
    """Its store is away."""

    async def leases(self) -> Leases:
        raise Unavailable


class Stalled(RecordingBackend):
    """Its store hangs."""

    async def leases(self) -> Leases:
        never: asyncio.Future[Leases] = asyncio.get_running_loop().create_future()
        return await never


class Timer:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def counting(backend: RecordingBackend, count: int, timer: Timer) -> tuple[Scrape, Counter]:
    registry = CollectorRegistry()
    counter = Counter("plaudit_things", "Things.", registry=registry)
    counter.inc(count)
    return Scrape(backend, registry, timer), counter


async def test_one_scrape_shows_the_figures_of_all_workers() -> None:
    neighbours, timer = Neighbours(), Timer()
    scrape, _ = counting(RecordingBackend(neighbours=neighbours), 1, timer)
    counting(RecordingBackend(neighbours=neighbours), 2, timer)
    text = await scrape.text()
    assert text.count(b"# TYPE plaudit_things_total counter") == 1
    found = samples(text)
    assert found["plaudit_things_total", "host:1/0"] == 1
    assert found["plaudit_things_total", "host:1/1"] == 2
    assert found["plaudit_workers_silent", None] == 0


async def test_a_worker_that_does_not_answer_is_missing_and_counted() -> None:
    neighbours, timer = Neighbours(), Timer()
    scrape, _ = counting(RecordingBackend(neighbours=neighbours), 1, timer)
    counting(RecordingBackend(neighbours=neighbours), 2, timer)
    neighbours.cut = True
    found = samples(await scrape.text())
    assert ("plaudit_things_total", "host:1/1") not in found
    assert found["plaudit_workers_silent", None] == 1


@pytest.mark.parametrize("backend", [Alone, Stalled])
async def test_while_the_database_is_away_nobody_knows_who_is_silent(backend: type[RecordingBackend]) -> None:
    scrape, _ = counting(backend(), 1, Timer())
    found = samples(await scrape.text())
    assert found["plaudit_things_total", "host:1/0"] == 1
    assert math.isnan(found["plaudit_workers_silent", None])


async def test_the_workers_are_asked_at_most_once_a_second() -> None:
    timer = Timer()
    scrape, counter = counting(RecordingBackend(), 1, timer)
    first = await scrape.text()
    counter.inc()
    assert await scrape.text() == first
    timer.now += FRESH_S
    assert samples(await scrape.text())["plaudit_things_total", "host:1/0"] == 2


def test_nobody_shows_nothing_but_that() -> None:
    assert samples(merged([], 2)) == {("plaudit_workers_silent", None): 2}


async def test_every_figure_that_was_promised_is_there(site: HttpSite) -> None:
    text = (await site.api.call("GET", "/metrics")).body.decode()
    families = {family.name for family in text_string_to_metric_families(text)}
    promised = """actors_resident activations mailbox_depth mailbox_age_seconds gate_wait_seconds batch_rows commits
        fenced handoffs retries gaps resyncs bus_lag_seconds connections disconnects recoveries broadcast_seconds"""
    assert {f"plaudit_{name}" for name in promised.split()} <= families
    assert 'plaudit_actors_resident{worker="test"}' in text


# -- who holds what


async def test_admins_are_shown_the_cluster_and_nobody_else() -> None:
    neighbours = Neighbours()
    here, there = RecordingBackend(neighbours=neighbours), RecordingBackend(neighbours=neighbours)
    here.loads = [ActorLoad("post:1", 2.0, 3, 0), ActorLoad("post:2", 0.0, 9, 0)]
    there.loads = [ActorLoad("post:3", 40.0, 1, 2)]
    there.failing = {"bus": "silent"}
    async with gateway(here) as url, gateway(there):
        view = await fetch_cluster(url, token())
        for wrong in (token("moderator", id=7), token(secret=b"another"), "x"):
            with pytest.raises(ClusterUnreachable, match="another secret"):
                await fetch_cluster(url, wrong)
        assert (await get(f"{url}/v1/cluster"))[0] == 401

        assert [(each.label, each.state, each.slots) for each in view.workers] == [
            ("host:1/0", "ready", 128),
            ("host:1/1", "failing", 128),
        ]
        assert [(each.key, each.worker) for each in view.busiest] == [
            ("post:3", "host:1/1"),
            ("post:1", "host:1/0"),
            ("post:2", "host:1/0"),
        ]
        assert view.slots_without_owner == []
        neighbours.cut = True
        assert [each.state for each in (await fetch_cluster(url, token())).workers] == ["ready", "silent"]


@pytest.mark.parametrize("backend", [Alone, Stalled])
async def test_without_the_database_the_workers_still_tell_of_themselves(backend: type[RecordingBackend]) -> None:
    async with gateway(backend()) as url:
        view = await fetch_cluster(url, token())
    [worker] = view.workers
    assert (worker.state, worker.lease_s, worker.slots, worker.actors) == ("ready", None, None, 0)
    assert view.slots_without_owner is None
    assert "the database cannot be read" in printed(view)


async def test_what_is_no_server_is_said_in_one_line(site: HttpSite) -> None:
    for url in ("http://127.0.0.1:1", "ftp://127.0.0.1", f"{site.api.url}/nothing"):
        with pytest.raises(ClusterUnreachable) as caught:
            await fetch_cluster(url, token())
        assert "\n" not in str(caught.value)


def printed(view: ClusterView) -> str:
    text = StringIO()
    Console(file=text, width=140, markup=False).print(overview(view))
    return text.getvalue()


def test_a_cluster_in_trouble_reads_as_one() -> None:
    leases = Leases([Lease("a", "host:1/0", -0.5, 0), Lease("b", "host:1/1", 2.0, 200)], list(range(56)))
    bus = BusView(state="down", lag_s=0.0125, dropped=7)
    failing = {"bus": "[/x] refused"}
    status = Status(id="b", label="host:1/1", failing=failing, actors=1, connections=2, bus=bus, busiest=[])
    text = printed(cluster_view([status], leases))
    assert "failing; bus: [/x] refused" in text
    assert re.search(r"2\.0 +200 +1 +2 +down +12\.5 +7", text)
    assert "silent" in text
    assert "Slots without an owner: 56 (0, 1, 2," in text
    assert "No actor is busy." in text
