"""Answers that are kept: they are what a handler would answer, never older than what was acknowledged, and bounded."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from actors.runtime.activation import Reply
from protocol.commands import Command, Person
from protocol.gateway.kept import BESIDE_BYTES, Kept, KeptAnswers, kept
from protocol.gateway.settings import Rate
from store.memory import Held
from tests.gateway.http_site import Answer, Api, HttpSite, http_site
from tests.gateway.recording import RecordingBackend

FOREIGN = "https://blog.example"
OF_ONE_REQUEST = ("x-request-id", "ratelimit-remaining", "ratelimit-reset", "date")
PIPELINED = 200
"""Requests at once; aiohttp takes no more than 32 before the first is answered."""


class Scene(NamedTuple):
    """A post with three comments."""

    site: HttpSite
    post: str
    author: str
    guest: str
    asked: list[str]
    """The methods of the commands that were asked since."""

    @property
    def api(self) -> Api:
        return self.site.api

    @property
    def paths(self) -> tuple[str, ...]:
        post = f"/v1/posts/{self.post}"
        return post, f"{post}/comments", f"{post}/comments?limit=2&order=oldest", f"{post}/comments/2"

    async def twice(self, path: str, headers: Mapping[str, str] | None = None) -> tuple[Answer, Answer]:
        """What a handler answers, and what was kept of it."""
        first = await self.api.call("GET", path, headers=headers)
        self.asked.clear()
        second = await self.api.call("GET", path, headers=headers)
        assert self.asked == [], "it was kept"
        return first, second


@asynccontextmanager
async def staged(**settings: Any) -> AsyncIterator[Scene]:
    async with http_site(**settings) as site:
        author, guest = await site.api.member("ada"), await site.api.guest()
        post = (await site.api.post(author.access_token, body="Words"))["id"]
        for number in range(3):
            await site.api.comment(guest.access_token, post, f"Comment {number}")
        asked: list[str] = []
        submit = site.node.submit

        def noting(key: str, command: Command, by: Person, op: str | None, reply: Reply) -> None:
            if not command.writes and by.role == "anonymous":
                asked.append(command.method)
            submit(key, command, by, op, reply)

        pytest.MonkeyPatch().setattr(site.node, "submit", noting)
        yield Scene(site, post, author.access_token, guest.access_token, asked)


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    async with staged() as scene:
        yield scene


def lasting(answer: Answer) -> dict[str, str]:
    """The headers that do not change from one request to the next."""
    assert all(name in answer.headers for name in OF_ONE_REQUEST)
    return {name.lower(): value for name, value in answer.headers.items() if name.lower() not in OF_ONE_REQUEST}


# -- the same as a handler's


@pytest.mark.parametrize("origin", [None, FOREIGN, "https://evil.example"])
async def test_what_was_kept_is_answered_as_a_handler_answers(origin: str | None) -> None:
    async with staged(allowed_origins=(FOREIGN,)) as scene:
        headers = {} if origin is None else {"Origin": origin}
        for path in scene.paths:
            first, second = await scene.twice(path, headers)
            assert (first.status, first.body) == (second.status, second.body)
            assert lasting(first) == lasting(second)
            assert first.headers["X-Request-Id"] != second.headers["X-Request-Id"]
            # From now on one may tell that it has it: by what was kept, and by a handler.
            known = {**headers, "If-None-Match": first.headers["ETag"]}
            at_once = await scene.api.call("GET", path, headers=known)
            taken = await scene.api.call(
                "GET", path, headers={**known, "If-None-Match": f'"x", {known["If-None-Match"]}'}
            )
            assert (at_once.status, at_once.body) == (taken.status, taken.body) == (304, b"")
            assert lasting(at_once) == lasting(taken)


async def test_a_tag_that_is_another_gets_the_whole_answer(scene: Scene) -> None:
    path = scene.paths[1]
    whole, _ = await scene.twice(path)
    for other in ('"another"', 'W/"another"', "nonsense"):
        assert (await scene.api.call("GET", path, headers={"If-None-Match": other})).body == whole.body
    assert (await scene.api.call("GET", path, headers={"If-None-Match": "*"})).status == 304


async def test_a_client_that_knows_the_answer_has_it_kept_for_all(scene: Scene) -> None:
    path = scene.paths[0]
    tag = (await scene.api.call("GET", path)).headers["ETag"]
    await scene.api.comment(scene.guest, scene.post)
    new = await scene.api.call("GET", path, headers={"If-None-Match": tag})
    assert new.status == 200
    scene.asked.clear()
    assert (await scene.api.call("GET", path, headers={"If-None-Match": new.headers["ETag"]})).status == 304
    assert (await scene.api.call("GET", path)).body == new.body
    assert scene.asked == []


async def test_who_is_signed_in_sees_what_is_theirs(scene: Scene) -> None:
    path = scene.paths[0]
    await scene.api.call("PUT", f"{path}/reactions/like", token=scene.guest)
    anyones, _ = await scene.twice(path)
    assert "mine" not in anyones.json
    assert (await scene.api.call("GET", path, token=scene.guest)).json["mine"] == ["like"]
    assert (await scene.api.call("GET", path, token="nonsense")).status == 401
    assert (await scene.api.call("GET", path)).body == anyones.body


async def test_a_head_is_answered_without_a_body(scene: Scene) -> None:
    path = scene.paths[0]
    await scene.api.call("HEAD", path)
    whole, _ = await scene.twice(path)
    head = await scene.api.call("HEAD", path)
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == str(len(whole.body))


async def test_refusals_are_not_kept(scene: Scene) -> None:
    path = f"/v1/posts/{scene.post}/comments/4"
    assert [(await scene.api.call("GET", path)).status for _ in range(2)] == [404, 404]
    await scene.api.comment(scene.guest, scene.post)
    assert (await scene.api.call("GET", path)).status == 200


# -- never too old


CHANGES: dict[str, Callable[[Scene], Awaitable[object]]] = {
    "comment": lambda scene: scene.api.comment(scene.guest, scene.post, "More"),
    "edit": lambda scene: scene.api.call("PATCH", scene.paths[3], {"body": "Better"}, token=scene.guest),
    "deletion": lambda scene: scene.api.call("DELETE", scene.paths[3], token=scene.guest),
    "reaction": lambda scene: scene.api.call("PUT", f"{scene.paths[3]}/reactions/like", token=scene.guest),
    "edit of the post": lambda scene: scene.api.call("PATCH", scene.paths[0], {"title": "New"}, token=scene.author),
    "name": lambda scene: scene.api.call("PATCH", "/v1/me", {"name": "Augusta"}, token=scene.guest),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
async def test_what_is_acknowledged_is_shown_by_the_next_answer(
    scene: Scene, change: Callable[[Scene], Awaitable[object]]
) -> None:
    before = [(await scene.twice(path))[1].body for path in scene.paths]
    await change(scene)
    after = [(await scene.api.call("GET", path)).body for path in scene.paths]
    assert before != after
    assert [(await scene.api.call("GET", path)).body for path in scene.paths] == after


async def test_a_deleted_post_is_gone_at_once(scene: Scene) -> None:
    await asyncio.gather(*(scene.twice(path) for path in scene.paths[:1]))
    await scene.api.call("DELETE", scene.paths[0], token=scene.author)
    assert (await scene.api.call("GET", scene.paths[0])).status == 404


# -- while others wait


class Pending:
    """Commits are held up, with a comment on its way; it counts how often anybody looks at what the post shows."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._key = f"post:{scene.post}"
        self._go = asyncio.Event()
        self._face = scene.site.node.face
        self._looks = 0
        self._tasks: list[asyncio.Task[Any]] = []
        pytest.MonkeyPatch().setattr(scene.site.node, "face", self._looking)

    def _looking(self, key: str) -> object | None:
        self._looks += 1
        return self._face(key)

    async def write(self, asked: Coroutine[Any, Any, Any]) -> None:
        """Return once the actor has taken it."""
        before = self._face(self._key)
        self._tasks.append(asyncio.create_task(asked))
        while self._face(self._key) is before:
            await asyncio.sleep(0.001)

    async def read(self, path: str) -> asyncio.Task[Answer]:
        """Return once a request has come to the handler."""
        looks = self._looks
        task = asyncio.create_task(self._scene.api.call("GET", path))
        self._tasks.append(task)
        while self._looks == looks:
            await asyncio.sleep(0.001)
        return task

    async def release(self) -> None:
        self._go.set()
        await asyncio.gather(*self._tasks)

    @classmethod
    @asynccontextmanager
    async def to(cls, scene: Scene) -> AsyncIterator["Pending"]:
        pending = cls(scene)
        scene.site.store.faults.append(Held("commit", pending._go))
        await pending.write(scene.api.comment(scene.guest, scene.post, "On its way"))
        scene.asked.clear()
        try:
            yield pending
        finally:
            await pending.release()


async def test_those_who_wait_for_the_same_are_answered_the_same(scene: Scene) -> None:
    async with Pending.to(scene) as pending:
        reads = [await pending.read(scene.paths[1]) for _ in range(10)]
        await pending.release()
        assert scene.asked == ["comment.list"]
        first, *others = [read.result() for read in reads]
    assert b"On its way" in first.body
    for other in others:
        assert (other.status, other.body, lasting(other)) == (200, first.body, lasting(first))


async def test_nobody_is_answered_what_another_asked_for_before_the_post_changed(scene: Scene) -> None:
    like = scene.api.call("PUT", f"{scene.paths[3]}/reactions/like", token=scene.guest)
    async with Pending.to(scene) as pending:
        before = await pending.read(scene.paths[1])
        await pending.write(like)
        after = await pending.read(scene.paths[1])
        await pending.release()
    assert scene.asked == ["comment.list", "comment.list"]
    assert [b'"like":1' in read.result().body for read in (before, after)] == [False, True]


async def test_those_who_wait_with_one_who_is_refused_ask_themselves(scene: Scene) -> None:
    async with Pending.to(scene) as pending:
        reads = [await pending.read(f"{scene.paths[0]}/comments/99") for _ in range(3)]
        await pending.release()
    assert [read.result().code for read in reads] == ["comment_not_found"] * 3


# -- counted as any other


async def test_what_was_kept_is_counted_against_the_address() -> None:
    async with staged(address_rate=Rate(0.01, 12)) as scene:
        first, second = await scene.twice(scene.paths[0])
        assert int(second.headers["RateLimit-Remaining"]) == int(first.headers["RateLimit-Remaining"]) - 1
        for _ in range(int(second.headers["RateLimit-Remaining"])):
            assert (await scene.api.call("GET", scene.paths[0])).status == 200
        assert (await scene.api.call("GET", scene.paths[0])).code == "too_many_requests"


async def test_what_was_kept_is_counted_by_the_metrics(scene: Scene) -> None:
    first, _ = await scene.twice(scene.paths[1])
    known = {"If-None-Match": first.headers["ETag"]}
    await scene.api.call("GET", scene.paths[1], headers=known)
    text = (await scene.api.call("GET", "/metrics")).body.decode()
    route, worker = 'route="/v1/posts/{id}/comments"', 'worker="test"'
    assert f'plaudit_http_requests_total{{method="GET",{route},status="200",{worker}}} 2.0' in text
    assert f'plaudit_http_requests_total{{method="GET",{route},status="304",{worker}}} 1.0' in text
    # With the three that were written before.
    assert f"plaudit_http_request_seconds_count{{{route},{worker}}} 6.0" in text
    assert f'plaudit_commands_total{{method="comment.list",{worker}}} 3.0' in text


# -- on the connection


class Connection:
    """Says bytes, and takes answers apart."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncIterator["Connection"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        yield cls(reader, writer)
        writer.close()
        await writer.wait_closed()

    def send(self, *requests: bytes) -> None:
        self._writer.write(b"".join(requests))

    async def answer(self) -> tuple[int, bytes]:
        status, _, body = await self.answer_and_connection()
        return status, body

    async def answer_and_connection(self) -> tuple[int, bytes, bytes]:
        """The status, what is said of the connection, and the body."""
        async with asyncio.timeout(10):
            head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
            length, connection = (_header(head, name) for name in (b"content-length", b"connection"))
            return int(head[9:12]), connection, await self._reader.readexactly(int(length))

    async def ended(self) -> bool:
        async with asyncio.timeout(10):
            return await self._reader.read() == b""


def _header(head: bytes, name: bytes) -> bytes:
    """What a head in lower case says of ``name``; empty if nothing."""
    return head.partition(b"\r\n%b: " % name)[2].partition(b"\r\n")[0]


def get(path: str, *headers: str, version: str = "1.1") -> bytes:
    return "\r\n".join([f"GET {path} HTTP/{version}", "Host: x", *headers, "", ""]).encode()


async def test_requests_that_come_at_once_are_answered_in_their_order(scene: Scene) -> None:
    post, page, *_ = scene.paths
    bodies = {path: (await scene.twice(path))[0].body for path in (post, page)}
    async with Connection.to(scene.site.port) as connection:
        # Every third takes a handler; that which comes in pieces is the last.
        mixed = [(post, page, "/healthz")[number % 3] for number in range(PIPELINED)]
        last = get(post)
        connection.send(*map(get, mixed), last[:20])
        for path in mixed:
            assert await connection.answer() == (200, bodies.get(path, b'{"status":"alive"}'))
        connection.send(last[20:])
        assert await connection.answer() == (200, bodies[post])


@pytest.mark.parametrize(
    "request_of",
    [
        lambda path: get(path, "Content-Length: 2") + b"{}",
        lambda path: get(path, "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    ],
    ids=["body", "chunked body"],
)
async def test_requests_that_say_more_take_a_handler(scene: Scene, request_of: Callable[[str], bytes]) -> None:
    path = scene.paths[0]
    body = (await scene.twice(path))[0].body
    async with Connection.to(scene.site.port) as connection:
        connection.send(request_of(path))
        assert await connection.answer() == (200, body)
        assert scene.asked == ["post.get"]
        connection.send(get(path))
        assert await connection.answer() == (200, body)


@pytest.mark.parametrize(
    ("headers", "version", "said", "ends"),
    [
        (("Connection: close",), "1.1", b"close", True),
        ((), "1.0", b"close", True),
        (("Connection: keep-alive",), "1.0", b"keep-alive", False),
        (("Connection: keep-alive",), "1.1", b"", False),
    ],
)
async def test_a_connection_is_ended_or_kept_as_the_client_asks(
    scene: Scene, headers: tuple[str, ...], version: str, said: bytes, ends: bool
) -> None:
    path = scene.paths[1]
    body = (await scene.twice(path))[0].body
    async with Connection.to(scene.site.port) as connection:
        connection.send(get(path, *headers, version=version))
        assert await connection.answer_and_connection() == (200, said, body)
        if ends:
            assert await connection.ended()
        else:
            connection.send(get(path))
            assert await connection.answer() == (200, body)
    assert scene.asked == []


async def test_all_requests_of_a_connection_are_answered_before_it_is_ended(scene: Scene) -> None:
    path = scene.paths[0]
    body = (await scene.twice(path))[0].body
    async with Connection.to(scene.site.port) as connection:
        connection.send(get(path), get(path, "Connection: close"))
        assert [await connection.answer() for _ in range(2)] == [(200, body), (200, body)]
        assert await connection.ended()


# -- the store of answers


def answer(body: bytes, face: object) -> Kept:
    response = web.Response(body=body, headers={"ETag": 'W/"1"'})
    return kept(response, actor="post:1", face=face, method="post.get", route="/v1/posts/{id}")


class Showing(RecordingBackend):
    """An actor that shows the same until a test says otherwise."""

    shown: object = None

    def shows(self, key: str, face: object, method: str) -> bool:
        return face is self.shown


def test_answers_are_kept_up_to_a_bound_those_that_were_not_asked_for_go_first() -> None:
    backend = Showing()
    answers = KeptAnswers(backend, bytes_max=3 * (BESIDE_BYTES + 1_000))
    one, two, three = (answer(bytes(900), None) for _ in range(3))
    for path, each in (("/1", one), ("/2", two), ("/3", three), ("/2", two)):
        answers.keep(path, each)
    assert answers.find("/1") is one
    assert answers.take("/1", one)
    answers.keep("/4", answer(bytes(900), None))
    assert [answers.find(path) is not None for path in ("/1", "/2", "/3", "/4")] == [True, True, False, True]
    answers.keep("/5", answer(bytes(10_000), None))
    assert answers.find("/5") is None
    assert answers.size_bytes == 0


def test_an_answer_of_another_face_is_not_given() -> None:
    backend = Showing()
    answers = KeptAnswers(backend)
    answers.keep("/1", answer(b"", None))
    backend.shown = object()
    old = answers.find("/1")
    assert old is not None
    assert not answers.take("/1", old)
    answers.keep("/1", answer(b"new", backend.shown))
    found = answers.find("/1")
    assert found is not None
    assert answers.take("/1", found)
    assert found.body == b"new"
