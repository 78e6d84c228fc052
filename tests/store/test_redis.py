"""The bus over a real Redis: every way to lose it, what it refuses to use, and what it passes over."""

import asyncio
import os
import signal
import ssl
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from redis.asyncio import Redis

from store.bus import EVERYONE, BusUnavailable
from store.embedded_redis import EmbeddedRedis
from store.redis import MAGIC, RECEIVED_BYTES_MAX, Frame, RedisBus, Senders, packed, unpacked
from tests.faults.proxy import BOTH, Proxy
from tests.store.buses import DEADLINE_S, INTERRUPTED, RecordingCounts, RecordingListener, until_down


class Member(RecordingListener):
    def __init__(self, url: str, inbox: str, cluster: str) -> None:
        super().__init__()
        self.inbox = inbox
        self.counts = RecordingCounts()
        self.bus = RedisBus(url, self.counts, cluster=cluster)


@asynccontextmanager
async def member(url: str, inbox: str = "w:1", cluster: str = "test") -> AsyncIterator[Member]:
    member = Member(url, inbox, cluster)
    async with member.bus.joined(inbox, member):
        yield member


async def refusal(url: str) -> str:
    with pytest.raises(BusUnavailable) as caught:
        async with member(url):
            pass
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest_asyncio.fixture
async def redis() -> AsyncIterator[EmbeddedRedis]:
    """A server that the test may ruin."""
    with tempfile.TemporaryDirectory(prefix="pl-") as directory:
        async with EmbeddedRedis(Path(directory) / "data") as redis:
            yield redis


@asynccontextmanager
async def client(url: str) -> AsyncIterator[Redis]:
    client = Redis.from_url(url, protocol=2)
    try:
        yield client
    finally:
        await client.aclose()


# -- losing it


async def test_a_redis_that_was_killed_is_reached_again_once_it_is_back(redis: EmbeddedRedis) -> None:
    async with member(redis.url) as a:
        os.kill(redis.pid, signal.SIGKILL)
        assert "cannot be reached" in await until_down(a.bus)
        await a.until_heard(INTERRUPTED)
        assert a.bus.down() is None
        a.bus.send("w:1", b"after")
        await a.until_heard(b"after")
    assert a.heard == [INTERRUPTED, b"after"]


@pytest.mark.parametrize("kind", ["pubsub", "normal"])
async def test_either_connection_ended_by_redis_is_an_interruption(redis: EmbeddedRedis, kind: str) -> None:
    async with member(redis.url) as a, client(redis.url) as admin:
        await admin.client_kill_filter(_type=kind, skipme=True)
        # The connection that publishes is missed at the next probe or message.
        a.bus.send("w:1", b"perhaps lost")
        await a.until_heard(INTERRUPTED)
        a.bus.send("w:1", b"after")
        await a.until_heard(b"after")


async def test_who_is_too_slow_for_redis_is_interrupted(redis: EmbeddedRedis) -> None:
    async with Proxy(redis.url) as proxy, member(proxy.url) as slow, client(redis.url) as admin:
        await admin.config_set("client-output-buffer-limit", "pubsub 1mb 1mb 1")
        proxy.hold(["replies"])
        for _ in range(32):
            await admin.publish("plaudit:test:w:1", packed(Frame("w:2", 1, [bytes(1 << 20)])))
        await admin.config_set("client-output-buffer-limit", "pubsub 64mb 64mb 1")
        proxy.release()
        await slow.until_heard(INTERRUPTED)
        slow.bus.send("w:1", b"after")
        await slow.until_heard(b"after")


async def test_a_redis_that_stalls_is_given_up_within_the_time_and_what_waits_is_dropped(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.redis.ANSWER_TIMEOUT_S", 0.1)
    monkeypatch.setattr("store.redis.OPEN_TIMEOUT_S", 0.2)
    async with Proxy(redis_url) as proxy, member(proxy.url, uuid4().hex) as a:
        proxy.hold(BOTH)
        a.bus.send("w:2", b"stuck")
        assert "does not answer" in await until_down(a.bus)
        assert a.counts.messages_dropped == 1
        proxy.release()
        await a.until_heard(INTERRUPTED)
        assert a.bus.down() is None


@pytest.mark.parametrize("way", BOTH)
async def test_a_silence_is_tried_by_a_probe(redis_url: str, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr("store.redis.PROBE_EVERY_S", 0.05)
    monkeypatch.setattr("store.redis.ANSWER_TIMEOUT_S", 0.1)
    async with Proxy(redis_url) as proxy, member(proxy.url, uuid4().hex) as a:
        while len(a.counts.lags_s) < 3:
            await asyncio.sleep(0.01)
        assert a.bus.down() is None
        assert all(0 <= lag_s < 5 for lag_s in a.counts.lags_s)
        proxy.hold(["requests" if way == "requests" else "replies"])
        assert "does not answer" in await until_down(a.bus)
        proxy.release()
        await a.until_heard(INTERRUPTED)
    assert a.heard == [INTERRUPTED]


async def test_a_slow_link_that_still_moves_is_kept(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.redis.PROBE_EVERY_S", 0.05)
    monkeypatch.setattr("store.redis.ANSWER_TIMEOUT_S", 0.4)
    async with Proxy(redis_url) as proxy, member(proxy.url, uuid4().hex) as a:
        proxy.narrow(4 << 20)
        # A round of 4 MiB takes a second, and comes back as slowly.
        for _ in range(16):
            a.bus.send(a.inbox, bytes(256 << 10))
        await a.until(lambda: len(a.heard) >= 16)
        while a.bus.down() is None and len(a.counts.lags_s) < 3:
            await asyncio.sleep(0.01)
        assert a.bus.down() is None
        assert max(a.counts.lags_s) > 0.4
    assert INTERRUPTED not in a.heard
    assert a.counts.messages_dropped == 0


async def test_a_slow_link_is_given_up_once_it_is_too_far_behind(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.redis.BEHIND_MAX_S", 0.8)
    monkeypatch.setattr("store.redis.ANSWER_TIMEOUT_S", 0.4)
    async with Proxy(redis_url) as proxy, member(proxy.url, uuid4().hex) as a:
        proxy.narrow(1 << 20)
        for _ in range(16):
            a.bus.send(a.inbox, bytes(256 << 10))
        assert "does not answer" in await until_down(a.bus)
        assert a.counts.messages_dropped == 16


async def test_what_a_given_up_connection_had_sent_does_not_arrive_after_what_came_later(redis_url: str) -> None:
    cluster = uuid4().hex
    async with (
        Proxy(redis_url) as proxy,
        member(proxy.url, "w:2", cluster) as b,
        member(redis_url, "w:1", cluster) as a,
    ):
        b.bus.send("w:1", b"old")
        await a.until_heard(b"old")
        proxy.cut()
        await b.until_heard(INTERRUPTED)
        b.bus.send("w:1", b"new")
        await a.until_heard(b"new")
        async with client(redis_url) as network:
            await network.publish(f"plaudit:{cluster}:w:1", packed(Frame("w:2", 1, [b"held back"])))
        b.bus.send("w:1", b"newer")
        await a.until_heard(b"newer")
    assert a.heard == [b"old", b"new", b"newer"]


def test_a_sender_that_has_connected_anew_is_forgotten_once_nothing_old_of_it_can_come() -> None:
    senders = Senders()
    assert senders.in_order("w:1", 1, now=0.0)
    assert senders.in_order("w:2", 2, now=0.0)
    assert senders.in_order("w:3", 2, now=1.0)
    assert not senders.in_order("w:3", 1, now=2.0)
    assert len(senders) == 2
    senders.forget_silent(since=1.0)
    assert len(senders) == 1
    assert not senders.in_order("w:3", 1, now=3.0)
    senders.forget_silent(since=4.0)
    assert len(senders) == 0


async def test_senders_that_come_and_go_leave_nothing_behind(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("store.redis.PROBE_EVERY_S", 0.02)
    monkeypatch.setattr("store.redis.ANSWER_TIMEOUT_S", 0.2)
    monkeypatch.setattr("store.redis.SILENCE_MAX_S", 0.1)
    async with member(redis_url, cluster="gone") as a, client(redis_url) as network:
        for sender in range(10):
            await network.publish("plaudit:gone:w:1", packed(Frame(f"w:{sender}", 2, [b"last"])))
        await a.until(lambda: len(a.heard) == 10)
        async with asyncio.timeout(DEADLINE_S):
            while len(a.bus._senders):
                await asyncio.sleep(0.01)


async def test_a_listener_that_fails_is_told_to_begin_anew(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    def fail(heard: bytes | None) -> None:
        assert heard != b"bad"

    listener = RecordingListener(fail)
    bus = RedisBus(redis_url, RecordingCounts(), cluster=uuid4().hex)
    async with bus.joined("w:1", listener):
        bus.send("w:1", b"bad")
        await listener.until_heard(INTERRUPTED)
        bus.send("w:1", b"good")
        await listener.until_heard(b"good")
    assert "a message could not be handled" in caplog.text


# -- what it refuses to use


async def test_what_is_not_there_is_said_in_one_line(redis: EmbeddedRedis) -> None:
    with tempfile.TemporaryDirectory() as directory:
        assert f"Redis at {directory}/s cannot be reached" in await refusal(f"unix://{directory}/s")
    async with Proxy(redis.url) as proxy:
        pass
    assert f"Redis at 127.0.0.1:{proxy.port} cannot be reached" in await refusal(proxy.url)


@pytest.mark.parametrize("url", ["http://x", "redis://h:cret/", "redis://h/?c=cret", "unix://"])
async def test_an_url_that_is_none_is_said_in_one_line_without_the_password(url: str) -> None:
    message = await refusal(url)
    assert "the URL of Redis cannot be used" in message
    assert "cret" not in message


async def test_a_login_is_used_and_a_wrong_or_missing_one_is_told(redis: EmbeddedRedis) -> None:
    async with Proxy(redis.url) as proxy, client(redis.url) as admin:
        await admin.acl_setuser(
            "bus",
            enabled=True,
            passwords="+se:cret",
            commands=["+subscribe", "+publish"],
            reset_channels=True,
            channels=["plaudit:*"],
        )
        await admin.config_set("requirepass", "other")
        for url in (proxy.url, redis.url):
            place = url.replace("//", "//{}@", 1)
            async with member(place.format("bus:se%3Acret") + "?db=3") as a:
                a.bus.send(EVERYONE, b"hello")
                await a.until_heard(b"hello")
            async with member(place.format(":other")):
                pass
            assert "refuses the login: invalid username-password" in await refusal(place.format("bus:wrong"))
            assert "wants a login" in await refusal(url)


async def test_a_login_that_may_not_subscribe_is_told(redis: EmbeddedRedis) -> None:
    async with Proxy(redis.url) as proxy, client(redis.url) as admin:
        await admin.acl_setuser("bus", enabled=True, passwords="+cret", reset_channels=True, categories=["+@all"])
        message = await refusal(proxy.url.replace("//", "//bus:cret@"))
    assert "refuses: " in message
    assert "cret" not in message


PROTECTED = (
    b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the "
    b"default user. In this mode connections are only accepted from the loopback interface.\r\n"
)
HELLO = b"*14\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n%s\r\n$5\r\nproto\r\n:2\r\n$2\r\nid\r\n:3\r\n"
HELLO += b"$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"-ERR unknown command `HELLO`, with args beginning with: `2`, \r\n", "is version 5 or older; 6.2 or newer"),
        (HELLO % b"6.0.16", "is version 6.0.16; 6.2 or newer is needed"),
        (PROTECTED, "is in protected mode"),
        (b"-ERR max number of clients reached\r\n", "max number of clients reached"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", "is no Redis"),
        (b"+OK\r\n", "is no Redis"),
        (b"$many\r\n", "is no Redis"),
        (b"*2\r\n*0\r\n*1\r\n:1\r\n", "is no Redis"),
        (b"*2\r\n$7\r\nversion\r\n$3\r\nnew\r\n", "is version new"),
        (b"", "cannot be reached"),
    ],
)
async def test_a_server_that_will_not_do_is_told_in_one_line(answer: bytes, said: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        message = await refusal(f"redis://127.0.0.1:{port}")
    assert said in message
    assert f"127.0.0.1:{port}" in message


async def test_a_server_that_says_nothing_is_waited_for_only_so_long(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("store.redis.OPEN_TIMEOUT_S", 0.1)
    async with Proxy(redis_url) as proxy:
        proxy.hold(BOTH)
        assert "does not answer" in await refusal(proxy.url)


async def test_an_encrypted_connection_is_one_too(redis_url: str, tmp_path: Path) -> None:
    async with encrypted(redis_url, tmp_path) as port:
        async with member(f"rediss://127.0.0.1:{port}?ssl_ca_certs={tmp_path}/cert.pem", uuid4().hex) as a:
            a.bus.send(EVERYONE, b"hello")
            await a.until_heard(b"hello")
        assert "certificate verify failed" in await refusal(f"rediss://127.0.0.1:{port}")
        assert await refusal(f"redis://127.0.0.1:{port}")


@asynccontextmanager
async def encrypted(url: str, directory: Path) -> AsyncIterator[int]:
    """Where TLS clients reach the Redis of a Unix socket."""

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        redis_reader, redis_writer = await asyncio.open_unix_connection(url.removeprefix("unix://"))
        await asyncio.gather(copy(reader, redis_writer), copy(redis_reader, writer))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(directory / "cert.pem"))
    async with await asyncio.start_server(forward, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
    writer.close()


def self_signed(path: Path) -> Path:
    """A key and its certificate for 127.0.0.1, written to ``path``."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path.write_bytes(key.private_bytes(pem, *plain) + certificate.public_bytes(pem))
    return path


# -- what it passes over


async def test_what_none_of_us_wrote_is_counted_and_passed_over(redis: EmbeddedRedis) -> None:
    async with member(redis.url) as a, client(redis.url) as stranger:
        whole = packed(Frame("w:2", 1, [b"message"]))
        foreign = (
            b"",
            b"hello",
            MAGIC,
            MAGIC + b"\xc1",
            MAGIC + b"\x91\x01",
            whole[:-1],
            whole + b"x",
            b"\0" * 100_000,
        )
        for message in foreign:
            await stranger.publish("plaudit:test:w:1", message)
        a.bus.send("w:1", b"ours")
        await a.until_heard(b"ours")
    assert a.heard == [b"ours"]
    assert a.counts.malformed_heard == len(foreign)


def test_what_is_too_large_is_not_even_looked_at() -> None:
    frame = Frame("w:1", 1, [b""])
    beyond = RECEIVED_BYTES_MAX + 1 - len(packed(frame))
    assert unpacked(packed(frame)) == frame
    assert unpacked(packed(Frame("w:1", 1, [bytes(beyond)]))) is None


async def test_two_clusters_on_one_redis_do_not_hear_each_other(redis_url: str) -> None:
    async with member(redis_url, cluster="one") as a, member(redis_url, cluster="two") as b:
        for one, other in ((a, b), (b, a)):
            one.bus.send(EVERYONE, b"ours")
            one.bus.send("w:1", b"mine")
            await one.until_heard(b"ours", b"mine")
            assert other.heard in ([], [b"ours", b"mine"], [b"mine", b"ours"])
        assert len(a.heard) == len(b.heard) == 2


# -- in bulk


async def test_messages_of_one_turn_and_inbox_are_one_message_of_redis(redis_url: str) -> None:
    async with member(redis_url, cluster="turn") as a, client(redis_url) as stranger, stranger.pubsub() as pubsub:
        await pubsub.subscribe("plaudit:turn:w:1")
        await pubsub.get_message(timeout=5)
        for number in range(10):
            a.bus.send("w:1", f"{number}".encode())
            a.bus.send("w:2", b"other")
        heard = await pubsub.get_message(ignore_subscribe_messages=True, timeout=5)
    assert heard is not None
    assert unpacked(heard["data"]) == Frame("w:1", 1, [f"{number}".encode() for number in range(10)])


async def test_a_hundred_thousand_messages_keep_their_order(redis_url: str) -> None:
    sent = [f"{number:06}".encode() * 8 for number in range(100_000)]
    async with member(redis_url, cluster="bulk") as a:
        for position in range(0, len(sent), 5000):
            for message in sent[position : position + 5000]:
                a.bus.send("w:1", message)
            await asyncio.sleep(0)
        await a.until(lambda: len(a.heard) == len(sent))
    assert a.heard == sent
    assert a.counts.messages_sent == len(sent)
