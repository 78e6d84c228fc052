"""What is done around every request: CORS, limits, ids, problems, probes, metrics, the description."""

import logging
import re
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from protocol.gateway.addresses import Proxies
from protocol.gateway.kept import KeptAnswers
from protocol.gateway.limits import Limits
from protocol.gateway.metrics import HttpMetrics
from protocol.gateway.middleware import Edge
from protocol.gateway.origins import Origins
from protocol.gateway.settings import GatewaySettings, Rate
from protocol.routes import ENDPOINTS
from store.memory import ReplyLost, RequestLost
from store.rows import CommentRow
from tests.gateway.http_site import Api, HttpSite, http_site
from tests.gateway.recording import RecordingBackend

FOREIGN = "https://blog.example"
EVIL = "https://evil.example"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}


# -- CORS


async def test_an_allowed_origin_may_read_answers_and_errors() -> None:
    async with http_site(allowed_origins=(FOREIGN,)) as site:
        for path in ("/v1/posts", "/v1/posts/999", "/nothing", "/v1/me"):
            answer = await site.api.call("GET", path, headers={"Origin": FOREIGN})
            assert answer.headers["Access-Control-Allow-Origin"] == FOREIGN
            assert "Retry-After" in answer.headers["Access-Control-Expose-Headers"]
            assert "Origin" in answer.headers["Vary"]
            assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", [EVIL, "null", "https://blog.example.evil.example", "http://blog.example", "https://blog.example:444", ""]
)
async def test_another_origin_may_not(origin: str) -> None:
    async with http_site(allowed_origins=(FOREIGN,)) as site:
        answer = await site.api.call("GET", "/v1/posts", headers={"Origin": origin})
        assert answer.status == 200
        assert "Access-Control-Allow-Origin" not in answer.headers
        write = await site.api.call("POST", "/v1/guests", {"name": "Gus"}, headers={"Origin": origin})
        assert write.code == "origin_not_allowed"
        preflight = await site.api.call("OPTIONS", "/v1/guests", headers={"Origin": origin, **PREFLIGHT})
        assert preflight.code == "origin_not_allowed"
        assert "Access-Control-Allow-Origin" not in preflight.headers


async def test_the_servers_own_pages_are_always_allowed() -> None:
    async with http_site(public_url="https://talk.example/x") as site:
        for own in (site.api.url, "https://talk.example"):
            answer = await site.api.call("POST", "/v1/guests", {"name": "Gus"}, headers={"Origin": own})
            assert answer.status == 201


async def test_any_origin_may_be_allowed() -> None:
    async with http_site(allowed_origins=("*",)) as site:
        answer = await site.api.call("POST", "/v1/guests", {"name": "Gus"}, headers={"Origin": EVIL})
        assert answer.headers["Access-Control-Allow-Origin"] == EVIL


async def test_a_preflight_is_answered_without_asking_who() -> None:
    async with http_site(allowed_origins=(FOREIGN,)) as site:
        answer = await site.api.call("OPTIONS", "/v1/posts/7/comments", headers={"Origin": FOREIGN, **PREFLIGHT})
        assert (answer.status, answer.body) == (204, b"")
        assert "PATCH" in answer.headers["Access-Control-Allow-Methods"]
        for header in ("Authorization", "Content-Type", "Idempotency-Key"):
            assert header in answer.headers["Access-Control-Allow-Headers"]


# -- limits


async def test_an_address_that_asks_too_often_is_told_when_to_come_back() -> None:
    async with http_site(address_rate=Rate(0.01, 2), allowed_origins=(FOREIGN,)) as site:
        first = await site.api.call("GET", "/v1/posts")
        limits = {name: first.headers[f"RateLimit-{name}"] for name in ("Limit", "Remaining", "Reset")}
        assert limits == {"Limit": "2", "Remaining": "1", "Reset": "100"}
        await site.api.call("GET", "/v1/posts")
        refused = await site.api.call("GET", "/v1/posts", headers={"Origin": FOREIGN})
        assert (refused.status, refused.code) == (429, "too_many_requests")
        assert 90 <= int(refused.headers["Retry-After"]) <= 100
        assert refused.json["retry_after"] == int(refused.headers["Retry-After"])
        assert refused.headers["RateLimit-Remaining"] == "0"
        assert refused.headers["Access-Control-Allow-Origin"] == FOREIGN
        # Pages and probes are not counted.
        for path in ("/", "/healthz", "/readyz", "/metrics", "/docs"):
            assert (await site.api.call("GET", path)).status == 200


async def test_an_event_source_that_comes_back_too_often_is_told_to_try_again() -> None:
    async with http_site(address_rate=Rate(0.01, 1)) as site:
        await site.api.call("GET", "/v1/posts")
        back = {"Accept": "text/event-stream", "Last-Event-ID": "e-1"}
        again = await site.api.call("GET", "/v1/feed/events", headers=back)
        assert (again.status, again.headers["Content-Type"]) == (200, "text/event-stream")
        assert 90_000 <= int(again.body.removeprefix(b"retry: ")) <= 100_000
        assert (await site.api.call("HEAD", "/v1/feed/events", headers=back)).status == 429


async def test_pages_that_ask_an_actor_are_counted_for_their_address() -> None:
    for path in ("/p/hello", "/@ada", "/@ada/followers"):
        async with http_site(address_rate=Rate(0.01, 1)) as site:
            assert [(await site.api.call("GET", path)).status for _ in range(2)] == [404, 429]


async def test_an_account_has_an_allowance_of_writes() -> None:
    async with http_site(account_rate=Rate(0.01, 2)) as site:
        ada, bob = await site.api.member("ada"), await site.api.member("bob")
        post = await site.api.post(ada.access_token)
        path = f"/v1/posts/{post['id']}/reactions/like"
        assert (await site.api.call("PUT", path, token=ada.access_token)).headers["RateLimit-Remaining"] == "0"
        assert (await site.api.call("PUT", path, token=ada.access_token)).code == "too_many_requests"
        assert (await site.api.call("GET", f"/v1/posts/{post['id']}", token=ada.access_token)).status == 200
        assert (await site.api.call("PUT", path, token=bob.access_token)).status == 200


async def test_sign_ins_of_an_address_are_few() -> None:
    async with http_site(sign_in_rate=Rate(0.01, 2)) as site:
        guess = {"login": "ada", "password": "guess"}
        codes = [(await site.api.call("POST", "/v1/sessions", guess)).code for _ in range(3)]
        assert codes == ["wrong_credentials", "wrong_credentials", "too_many_requests"]
        assert (await site.api.call("POST", "/v1/guests", {"name": "Gus"})).code == "too_many_requests"
        assert (await site.api.call("GET", "/v1/posts")).status == 200


async def test_a_forwarded_address_is_only_believed_of_a_trusted_proxy() -> None:
    once = Rate(0.01, 1)
    for proxies, codes in (((), ["", "too_many_requests"]), (("127.0.0.0/8",), ["", ""])):
        async with http_site(address_rate=once, trusted_proxies=proxies) as site:
            answers = [
                await site.api.call("GET", "/v1/posts", headers={"X-Forwarded-For": address})
                for address in ("192.0.2.1", "192.0.2.2")
            ]
            assert [answer.code for answer in answers] == codes


# -- problems


async def test_every_answer_bears_the_id_of_its_request(api: Api) -> None:
    answers = [await api.call("GET", path) for path in ("/v1/posts", "/v1/posts/999", "/nothing")]
    ids = [answer.headers["X-Request-Id"] for answer in answers]
    assert len(set(ids)) == 3
    assert answers[1].json["request"] == ids[1]


async def test_a_wrong_method_is_told_the_right_ones(api: Api) -> None:
    answer = await api.call("PUT", "/v1/posts")
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert set(answer.headers["Allow"].split(",")) >= {"GET", "POST"}


async def test_a_mistake_of_ours_is_logged_in_full_and_tells_nothing(
    caplog: pytest.LogCaptureFixture, aiohttp_client: Any
) -> None:
    settings = GatewaySettings(secret=b"")
    limits = Limits(settings, lambda: 0.0)
    answers, metrics = KeptAnswers(RecordingBackend()), HttpMetrics(CollectorRegistry())
    edge = Edge(
        Origins((FOREIGN,), None), limits, Proxies([]), metrics, answers,
        token_bytes=lambda count: b"\x01" * count, timer=lambda: 0.0,
    )  # fmt: skip

    async def broken(_: web.Request) -> web.Response:
        raise ZeroDivisionError("the secret is in the message")

    app = web.Application()
    edge.install(app)
    app.router.add_get("/broken", broken)
    client = await aiohttp_client(app)
    with caplog.at_level(logging.ERROR):
        response = await client.get("/broken", headers={"Origin": FOREIGN})
    assert response.status == 500
    assert response.headers["Access-Control-Allow-Origin"] == FOREIGN
    body = await response.text()
    assert '"code":"internal"' in body
    assert "secret" not in body
    assert "0101010101010101" in caplog.text
    assert "ZeroDivisionError" in caplog.text


async def test_a_store_that_is_away_makes_a_request_retryable() -> None:
    async with http_site(allowed_origins=(FOREIGN,)) as site:
        ada = await site.api.member()
        site.store.faults.append(RequestLost("posts"))
        answer = await site.api.call("GET", "/v1/posts", token=ada.access_token, headers={"Origin": FOREIGN})
        assert (answer.status, answer.code) == (503, "unavailable")
        assert int(answer.headers["Retry-After"]) >= 1
        assert answer.headers["Access-Control-Allow-Origin"] == FOREIGN
        assert (await site.api.call("GET", "/v1/posts", token=ada.access_token)).status == 200


async def test_a_write_whose_answer_is_lost_is_done_once_when_it_is_repeated() -> None:
    async with http_site() as site:
        ada = await site.api.member()
        post = await site.api.post(ada.access_token)
        await site.fanned_out()
        site.store.faults.append(ReplyLost("commit"))
        path, body = f"/v1/posts/{post['id']}/comments", {"body": "once"}
        lost = await site.api.call("POST", path, body, token=ada.access_token, op="c-1")
        assert (lost.status, lost.code) == (503, "unavailable")
        again = await site.api.call("POST", path, body, token=ada.access_token, op="c-1")
        assert again.status == 201
        assert len(site.store.rows(CommentRow)) == 1


async def test_nothing_tells_what_the_server_is_made_of(api: Api) -> None:
    for path in ("/v1/posts", "/nothing", "/"):
        answer = await api.call("GET", path)
        assert answer.headers["Server"] == "Plaudit"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


# -- probes and metrics


async def test_probes_and_metrics_are_served(site: HttpSite) -> None:
    assert (await site.api.call("GET", "/healthz")).json == {"status": "alive"}
    assert (await site.api.call("GET", "/readyz")).json == {"status": "ready", "failing": {}}
    for _ in range(3):
        await site.api.call("GET", "/v1/posts/12345")
    await site.api.call("GET", "/wp-login.php")
    text = (await site.api.call("GET", "/metrics")).body.decode()
    assert 'plaudit_http_requests_total{method="GET",route="/v1/posts/{id}",status="404",worker="test"} 3.0' in text
    assert 'route="unmatched"' in text
    assert "wp-login" not in text
    assert "plaudit_actors_resident" in text


# -- the description


async def test_the_description_is_served_for_programs_and_for_people(api: Api) -> None:
    document = await api.call("GET", "/v1/openapi.json")
    assert document.json["openapi"] == "3.1.0"
    page = await api.call("GET", "/docs")
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    unchanged = await api.call("GET", "/docs", headers={"If-None-Match": page.headers["ETag"]})
    assert unchanged.status == 304


async def test_the_page_shows_every_endpoint_and_its_links_lead_somewhere(api: Api) -> None:
    html = (await api.call("GET", "/docs")).body.decode()
    anchors = re.findall(r'id="([^"]+)"', html)
    assert len(anchors) == len(set(anchors))
    assert {endpoint.name for endpoint in ENDPOINTS} <= set(anchors)
    assert {"websocket", "sse", "errors", "rpc-comment.create", "error-slug_taken"} <= set(anchors)
    links = set(re.findall(r'href="#([^"]+)"', html))
    assert links <= set(anchors), links - set(anchors)
    assert "{{" not in html
    assert "http://" not in html.replace("http://127", "")
    assert '<a class="wordmark" href="/">' in html
