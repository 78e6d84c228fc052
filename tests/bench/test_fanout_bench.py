"""The benchmark of fan-out: that its watchers miss nothing, and what is said to servers and of them."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from time import monotonic_ns

import msgspec
import pytest

from protocol.centrifuge import decode_commands
from protocol.delivery import Published
from protocol.gateway.frames import Writer, text_frame, text_frames
from protocol.gateway.sse import SseForm
from protocol.gateway.websocket import WebSocketForm
from tests.bench import wires
from tests.bench.conftest import Programs
from tests.bench.contestants import FLOOR, OURS, OURS_SSE, contestants
from tests.bench.fanout import GROWING, Measured, Phase, measure, ratios, report, shortcomings
from tests.bench.measuring import Spread, cpu_s
from tests.bench.watchers import Incomplete, Report, Watchers, check, watching

DUE_US = 1_234_567


def measured(per_cpu_s: float) -> Measured:
    return Measured(
        per_cpu_s=per_cpu_s, p50_ms=1.0, p99_ms=101.0, joined=1.0, others=0.0, bytes_each=700.0, server=0.5,
        generator=0.5, ceiling=1e6,
    )  # fmt: skip


# -- what is said -----------------------------------------------------------------------------------------------------


def test_a_comment_has_200_bytes_and_is_found_once_in_its_publication() -> None:
    for number in (0, 12, 4_000_000_000):
        said = wires.text(number, DUE_US)
        assert len(said.encode()) == wires.COMMENT_BYTES
        assert said == said.strip()
        published = wires.publication(number, DUE_US)
        assert published.count(wires.MARK) == 1
        digits = published.partition(wires.MARK)[2][:30]
        assert digits == b"%010d at %016d" % (number, DUE_US)


def test_the_floor_sends_the_frames_that_we_send() -> None:
    item = Published(8, wires.publication(7, DUE_US))
    assert wires.frame(7, DUE_US) == WebSocketForm(Writer()).encode("post:1", "epoch", [item])


def test_a_comment_is_asked_for_by_a_command_of_the_protocol() -> None:
    frame = wires.comment("5", 0, DUE_US)
    payload = frame[frame.index(b"{") :]
    assert frame == wires.client_frame(payload)
    (command,) = decode_commands(payload)
    assert command.id == 2


def test_centrifugo_is_told_by_a_command_of_the_protocol() -> None:
    frame = wires.centrifugo_publish(0, wires.publication(0, DUE_US))
    payload = frame[frame.index(b"{") :]
    assert frame == wires.client_frame(payload)
    told = msgspec.json.decode(payload)
    assert (told["id"], told["publish"]["channel"]) == (2, wires.CENTRIFUGO_CHANNEL)
    assert told["publish"]["data"]["comment"]["offset"] == 1


# -- the watchers -----------------------------------------------------------------------------------------------------


class ScriptedServer:
    """Answers each connection with a head, and sends what a test says, piece by piece."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer
        self._writers: list[asyncio.StreamWriter] = []
        self.heard = asyncio.Queue[bytes]()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self._writers.append(writer)
        writer.write(self._answer)
        while data := await reader.read(1_000):
            self.heard.put_nowait(data)
        writer.close()

    async def close_all(self) -> None:
        for writer in self._writers:
            writer.close()
            await writer.wait_closed()

    async def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            for writer in self._writers:
                writer.write(piece)
                await writer.drain()
            # The next piece is another segment, if the watchers are quick; if they are not, it was one read.
            await asyncio.sleep(0)


@asynccontextmanager
async def watched(
    programs: Programs, wire: wires.Wire, answer: bytes, count: int = 3
) -> AsyncIterator[tuple[ScriptedServer, Watchers]]:
    scripted = ScriptedServer(answer)
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, watching(programs.watch, port, count, wire) as watchers:
        # What is said to greet them is not what is tested.
        await watchers.report()
        yield scripted, watchers


def frames(*numbers: int) -> bytes:
    """One frame of so many comments, joined as ours are."""
    return text_frames([wires.push(number, monotonic_ns() // 1_000) for number in numbers])


def bytewise(data: bytes) -> Sequence[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


async def test_watchers_count_comments_however_they_arrive(programs: Programs) -> None:
    async with watched(programs, wires.bare("/"), wires.FLOOR_ANSWER) as (server, watchers):
        counters = text_frame(b'{"push":{"channel":"post:1","pub":{"data":{"type":"counters"}}}}')
        await server.send(frames(0), frames(1, 2) + counters + frames(3), *bytewise(frames(4)))
        await watchers.reached(4)
        seen = await watchers.report()
        check(seen, 5, 3)
        assert seen.others == 3
        assert 0 < seen.p50_ms <= seen.p99_ms < 10_000
        assert 0 < seen.max_ms < 10_000
        # A new report begins with nothing.
        await server.send(frames(5))
        await watchers.reached(5)
        check(await watchers.report(), 1, 3)


@pytest.mark.parametrize("sent", [(0, 2), (0, 0), (1, 0), (0, 1, 1, 2)])
async def test_watchers_notice_what_is_lost_sent_twice_or_out_of_order(programs: Programs, sent: Sequence[int]) -> None:
    async with watched(programs, wires.bare("/"), wires.FLOOR_ANSWER) as (server, watchers):
        await server.send(*(frames(number) for number in sent))
        await watchers.reached(sent[-1])
        seen = await watchers.report()
        assert seen.wrong > 0
        with pytest.raises(Incomplete):
            check(seen, len(sent), 3)


async def test_watchers_greet_a_server_and_answer_its_pings(programs: Programs) -> None:
    wire = wires.centrifuge("post:1")
    head, subscribed = b"HTTP/1.1 101 Switching Protocols\r\n\r\n", text_frame(b'{"id":2,"subscribe":{}}')
    async with watched(programs, wire, head + subscribed, count=1) as (server, watchers):
        assert await server.heard.get() == wire.hello
        await server.send(text_frame(b"{}"))
        assert await server.heard.get() == wire.pong
        assert (await watchers.report()).others == 0
        await server.send(text_frame(b'{"push":{}}\n{}'))
        assert await server.heard.get() == wire.pong
        await server.send(text_frame(b'{"push":{}}'), text_frame(b"{}"))
        assert await server.heard.get() == wire.pong
        assert (await watchers.report()).others == 2
        assert server.heard.empty()


async def test_watchers_read_events(programs: Programs) -> None:
    form = SseForm(Writer(), chunked=True)
    first = form.frame(b'id: e-0\nretry: 3000\ndata: {"type":"counters"}\n\n')
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + first
    async with watched(programs, wires.event_stream("1"), answer) as (server, watchers):
        items = [Published(number + 1, wires.publication(number, DUE_US)) for number in range(4)]
        await server.send(
            form.encode("post:1", "e", items[:1]),
            form.encode("post:1", "e", items[1:3]),
            form.frame(b": \n"),
            *bytewise(form.encode("post:1", "e", items[3:])),
        )
        await watchers.reached(3)
        seen = await watchers.report()
        check(seen, 4, 3)
        assert seen.others == 0


async def test_watchers_that_are_cut_off_are_no_result(programs: Programs, capfd: pytest.CaptureFixture[str]) -> None:
    async with watched(programs, wires.bare("/"), wires.FLOOR_ANSWER, count=1) as (server, watchers):
        await server.close_all()
        with pytest.raises(Incomplete):
            await watchers.reached(0)
    assert "a connection was closed" in capfd.readouterr().err


# -- the results ------------------------------------------------------------------------------------------------------


def test_what_is_missing_or_too_much_is_no_result() -> None:
    line = '{"deliveries":6,"wrong":0,"reads":6,"others":1,"bytes":9,"cpu_s":0.1,"p50_ms":1,"p99_ms":2,"max_ms":3.5}'
    seen = msgspec.json.decode(line, type=Report)
    check(seen, 2, 3)
    for publications in (1, 3):
        with pytest.raises(Incomplete):
            check(seen, publications, 3)
    with pytest.raises(Incomplete):
        check(msgspec.structs.replace(seen, wrong=1), 2, 3)


def test_a_ratio_is_the_median_of_those_within_a_round() -> None:
    quiet, hot = Phase(10), Phase(10, 200)
    runs = {
        quiet: {OURS: [measured(9.0), measured(18.0), measured(30.0)], FLOOR: [measured(10.0 * n) for n in (1, 2, 3)]},
        hot: {OURS: [measured(each) for each in (50.0, 40.0, 120.0)]},
    }
    assert ratios(runs, quiet, OURS, FLOOR) == Spread(0.9, 0.9, 1.0)
    assert ratios(runs, hot, OURS, FLOOR, quiet) == Spread(4.0, 2.0, 5.0)
    assert ratios(runs, hot, OURS, FLOOR) is None
    assert ratios(runs, quiet, "nobody", FLOOR) is None


def test_results_that_stay_behind_are_named() -> None:
    quiet, hot = Phase(10), Phase(10, 200)
    runs = {
        quiet: {OURS: [measured(9.5)], OURS_SSE: [measured(8.0)], FLOOR: [measured(10.0)]},
        hot: {OURS: [measured(59.0)], OURS_SSE: [measured(59.0)]},
    }
    assert len(list(shortcomings(runs))) == 4  # SSE in the quiet phase; both p99; of the floor 5.9 times.


async def test_all_that_can_be_started_deliver_everything_in_a_short_run(programs: Programs) -> None:
    known = contestants(programs.send)
    runs, fell_out = await measure(known, programs.watch, [20], [100], 1, 0.3, [10])
    assert {phase: list(by_name) for phase, by_name in runs.items()} == {
        Phase(20, pause_s=0.0): [FLOOR],
        Phase(20): [each.name for each in known],
        Phase(20, 100): [each.name for each in known if each.hot],
        Phase(10): [each.name for each in known if each.name in GROWING],
    }
    assert not fell_out
    text = report(runs, ["Somebody fell out at noon: late"], "a command", 0.0)
    assert text.count(f"\n| {OURS} |") == 3


def test_the_time_of_a_process_is_told_to_the_nanosecond() -> None:
    before = cpu_s(os.getpid())
    assert 0 < before < cpu_s(os.getpid())
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    with pytest.raises(ProcessLookupError):
        cpu_s(ended.pid)
