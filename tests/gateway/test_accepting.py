"""The listening socket of one worker, and of several that share it."""

import asyncio
import errno
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack

import pytest
from aiohttp import web

from protocol.gateway import accepting
from protocol.gateway.accepting import Acceptor, Census

WAIT_S = 10.0


class FullListener(socket.socket):
    """Its process has as many files open as it may have, for the first connection that it accepts."""

    full = True

    def accept(self) -> tuple[socket.socket, object]:
        if self.full:
            self.full = False
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


class Door:
    """One address, the workers that accept at it, and those who come."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack
        self.listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

    def worker(self, census: Census | None = None, listener: socket.socket | None = None) -> web.Server:
        server = web.Server(_answer)
        acceptor = Acceptor(listener or self.listener.dup(), server, census)
        acceptor.start()
        self._stack.push_async_callback(server.shutdown)
        self._stack.callback(acceptor.stop)
        return server

    async def come(self) -> None:
        _, writer = await asyncio.open_connection(*self.listener.getsockname())
        self._stack.callback(writer.close)


async def _answer(request: web.BaseRequest) -> web.Response:
    return web.Response()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with AsyncExitStack() as stack:
        yield Door(stack)


@pytest.fixture
def counts() -> Iterator[int]:
    with Census.file(2) as file:
        yield file


async def until_connected(count: int, *servers: web.Server) -> None:
    async with asyncio.timeout(WAIT_S):
        while sum(len(server.connections) for server in servers) < count:
            await asyncio.sleep(0.001)


async def test_one_worker_takes_all(door: Door) -> None:
    server = door.worker()
    for _ in range(20):
        await door.come()
    await until_connected(20, server)


async def test_two_workers_take_turns(door: Door, counts: int) -> None:
    one, other = (door.worker(Census(counts, 2, me=me)) for me in (1, 2))
    for number in range(20):
        await door.come()
        await until_connected(number + 1, one, other)
    assert len(one.connections) == len(other.connections) == 10


async def test_one_that_hangs_is_waited_for_no_more_than_a_moment(door: Door, counts: int) -> None:
    server = door.worker(Census(counts, 2, me=1))
    Census(counts, 2, me=2).room(0)
    for _ in range(20):
        await door.come()
    await until_connected(20, server)


async def test_a_system_without_room_is_waited_for(
    door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(accepting, "EXHAUSTED_S", 0.01)
    server = door.worker(listener=FullListener(fileno=door.listener.dup().detach()))
    await door.come()
    await until_connected(1, server)
    assert [record.getMessage() for record in caplog.records] == ["no more connections for now: Too many open files"]


async def test_who_has_ended_while_it_waited_harms_nobody(door: Door) -> None:
    early = socket.create_connection(door.listener.getsockname())
    early.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    early.close()
    server = door.worker()
    await door.come()
    await until_connected(1, server)


async def test_after_the_end_nobody_gets_in(door: Door) -> None:
    acceptor = Acceptor(door.listener, web.Server(_answer))
    address = door.listener.getsockname()
    acceptor.start()
    acceptor.stop()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*address)


def test_a_worker_has_room_until_it_has_a_sixteenth_more_than_another(counts: int) -> None:
    one, other = (Census(counts, 2, me=me) for me in (1, 2))
    assert other.room(0) == 1
    assert one.room(0) == 1
    assert one.room(1) == 0
    assert other.room(160) == -158
    assert one.room(160) == 10
    assert one.step() == 10
