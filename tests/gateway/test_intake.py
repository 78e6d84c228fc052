"""What other systems hand in becomes posts: once each, whatever fails on the way, or is rejected with the reason."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio
from prometheus_client.parser import text_string_to_metric_families

from store.exchange import Backlog, ExchangeUnavailable, Rejection
from store.memory import MemoryStore, ReplyLost, RequestLost
from store.memory_bus import Broker
from store.memory_exchange import MemoryExchange
from store.rows import PostRow
from tests.gateway.http_site import HttpSite, http_site
from tests.store.buses import RecordingCounts

WAIT_S = 10.0


@pytest.fixture
def exchange() -> MemoryExchange:
    return MemoryExchange(taken_again_s=0.2, wait_s=0.05)


@pytest_asyncio.fixture
async def handing_in(exchange: MemoryExchange) -> AsyncIterator[HttpSite]:
    """A gateway to which other systems hand in, with the member ``ann``."""
    async with http_site(exchange=exchange) as site:
        await site.api.member("ann")
        yield site


def submit(exchange: MemoryExchange, **fields: str | bytes) -> str:
    given = {"author": "ann", "title": "A post", **fields}
    return exchange.submit({
        name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in given.items()
    })  # fmt: skip


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not happened():
            await asyncio.sleep(0.01)


async def finished(exchange: MemoryExchange) -> None:
    async with asyncio.timeout(WAIT_S):
        while await exchange.backlog() != Backlog(0, 0):
            await asyncio.sleep(0.01)


def stored(site: HttpSite) -> list[str]:
    return sorted(row.title for row in site.store.rows(PostRow))


async def test_what_is_handed_in_is_a_post_of_its_author(handing_in: HttpSite, exchange: MemoryExchange) -> None:
    submit(exchange, title="Hello", body="Some *words*", tags="tea, Coffee", slug="greeting")
    await finished(exchange)
    post = (await handing_in.api.call("GET", "/v1/posts/by-slug/greeting")).json
    assert (post["title"], post["tags"], post["state"]) == ("Hello", ["tea", "coffee"], "published")
    assert post["author"]["handle"] == "ann"
    assert "<em>words</em>" in post["html"]
    assert exchange.rejected == []


async def test_posts_stand_in_the_order_in_which_they_were_handed_in(
    handing_in: HttpSite, exchange: MemoryExchange
) -> None:
    titles = [f"Post {number:02}" for number in range(40)]
    for title in titles:
        submit(exchange, title=title)
    await finished(exchange)
    listed = (await handing_in.api.call("GET", "/v1/users/ann/posts?limit=100")).json
    assert [post["title"] for post in listed] == titles[::-1]
    assert len({post["slug"] for post in listed}) == len(titles)


async def test_a_draft_and_what_is_published_later_wait(handing_in: HttpSite, exchange: MemoryExchange) -> None:
    submit(exchange, title="Draft", state="draft")
    exchange.submit({b"author": b"ann", b"json": b'{"title": "Later", "publish_at": "2999-01-01T00:00:00Z"}'})
    await finished(exchange)
    assert (await handing_in.api.call("GET", "/v1/posts")).json == []
    assert {row.title: row.state for row in handing_in.store.rows(PostRow)} == {"Draft": "draft", "Later": "scheduled"}


async def test_what_cannot_be_published_is_rejected_and_in_nobodys_way(
    handing_in: HttpSite, exchange: MemoryExchange
) -> None:
    api = handing_in.api
    gus = await api.guest("Gus")
    gone = await api.member("gone")
    await api.call("DELETE", "/v1/me", token=gone.access_token)
    submit(exchange, slug="taken")
    bad = {
        submit(exchange, author="nobody"): "account_not_found",
        submit(exchange, author="gone"): "account_not_found",
        submit(exchange, author=gus.account.handle): "account_not_found",
        submit(exchange, title=""): "invalid",
        submit(exchange, title=b"\xff"): "invalid",
        submit(exchange, colour="red"): "invalid",
    }
    await finished(exchange)
    bad[submit(exchange, slug="taken", title="Second")] = "slug_taken"
    submit(exchange, title="Good")
    await finished(exchange)
    assert {rejection.entry.id: rejection.code for rejection in exchange.rejected} == bad
    assert all(rejection.reason and "\n" not in rejection.reason for rejection in exchange.rejected)
    assert exchange.rejected[-1] == Rejection(exchange.rejected[-1].entry, "slug_taken", "the slug is taken")
    assert stored(handing_in) == ["A post", "Good"]


async def test_a_reason_is_one_short_line_whatever_a_field_is_called(
    handing_in: HttpSite, exchange: MemoryExchange
) -> None:
    submit(exchange, **{"a name\nERROR in the log": "x"})
    submit(exchange, **{"long" * 1_000: "x"})
    await finished(exchange)
    quoted, long = (rejection.reason for rejection in exchange.rejected)
    assert "a name ERROR in the log" in quoted
    assert len(long) == 200


@pytest.mark.parametrize("method", ["resolve", "claim_names", "commit", "load_post"])
@pytest.mark.parametrize("fault", [RequestLost, ReplyLost])
async def test_trouble_with_the_store_is_no_rejection_and_makes_no_second_post(
    handing_in: HttpSite, exchange: MemoryExchange, method: str, fault: Any
) -> None:
    await handing_in.fanned_out()
    handing_in.store.faults.extend(fault(method) for _ in range(3))
    for number in range(5):
        submit(exchange, title=f"Post {number}", slug=f"post-{number}")
    await finished(exchange)
    assert exchange.rejected == []
    assert stored(handing_in) == [f"Post {number}" for number in range(5)]
    assert handing_in.store.faults == []


async def test_what_was_published_and_could_not_be_told_so_is_not_published_again() -> None:
    exchange = DeafExchange(taken_again_s=0.2, wait_s=0.05)
    async with http_site(exchange=exchange) as site:
        token = (await site.api.member("ann")).access_token
        exchange.deaf = 2
        submit(exchange, title="Once")
        await until(lambda: exchange.deaf == 1)
        (post,) = site.store.rows(PostRow)
        # Its author has deleted it by the time that it comes again.
        assert (await site.api.call("DELETE", f"/v1/posts/{post.id}", token=token)).status == 204
        await finished(exchange)
        assert [(row.id, row.state) for row in site.store.rows(PostRow)] == [(post.id, "deleted")]
        assert exchange.rejected == []


class DeafExchange(MemoryExchange):
    """Does not hear of the next ``deaf`` times that something is finished."""

    deaf = 0

    async def finish(self, accepted: Sequence[str], rejected: Sequence[Rejection]) -> None:
        if accepted and self.deaf:
            self.deaf -= 1
            raise ExchangeUnavailable("deaf")
        await super().finish(accepted, rejected)


async def test_several_workers_share_what_is_handed_in(exchange: MemoryExchange) -> None:
    store, broker = MemoryStore(time.time), Broker()
    async with AsyncExitStack() as stack:
        sites = [
            await stack.enter_async_context(
                http_site(store=store, bus=broker.bus(name, RecordingCounts()), exchange=exchange, node=name)
            )
            for name in ("a", "b")
        ]
        await sites[0].api.member("ann")
        titles = [f"Post {number:03}" for number in range(200)]
        for title in titles:
            submit(exchange, title=title)
        await finished(exchange)
        assert stored(sites[0]) == titles
        accepted = [(await figures(site))["plaudit_submissions_total", "accepted"] for site in sites]
        assert sum(accepted) >= len(titles)
        assert all(accepted)


async def test_the_metrics_tell_of_what_is_handed_in(handing_in: HttpSite, exchange: MemoryExchange) -> None:
    handing_in.store.faults.append(RequestLost("claim_names"))
    for number in range(3):
        submit(exchange, title=f"Post {number}")
    submit(exchange, author="nobody")
    await finished(exchange)
    told = await figures(handing_in)
    assert {name: value for name, value in told.items() if "submissions" in name[0] and "created" not in name[0]} == {
        ("plaudit_submissions_total", "accepted"): 3,
        ("plaudit_submissions_total", "rejected"): 1,
        ("plaudit_submissions_total", "again"): 1,
        ("plaudit_submissions_waiting", ""): 0,
        ("plaudit_submissions_pending", ""): 0,
    }


async def test_while_nobody_can_be_reached_the_metrics_do_not_tell_what_was() -> None:
    exchange = MemoryExchange(wait_s=0.05)
    async with http_site(exchange=exchange) as site:
        exchange.away = True
        async with asyncio.timeout(WAIT_S):
            while not math.isnan((await figures(site))["plaudit_submissions_waiting", ""]):
                await asyncio.sleep(0.1)


async def figures(site: HttpSite) -> dict[tuple[str, str], float]:
    """What ``/metrics`` tells: (name, outcome) → value."""
    text = (await site.api.call("GET", "/metrics")).body.decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, sample.labels.get("outcome", "")): sample.value for sample in samples}
