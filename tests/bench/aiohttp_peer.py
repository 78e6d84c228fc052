"""Fan-out as one would write it first: a WebSocket handler of aiohttp that sends to each of a set."""

import uvloop
from aiohttp import web

from tests.bench.listening import listen


async def serve() -> None:
    watchers: set[web.WebSocketResponse] = set()

    async def watch(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        watchers.add(socket)
        try:
            await socket.send_str("ready")
            async for _ in socket:
                pass
        finally:
            watchers.discard(socket)
        return socket

    async def publish(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False)
        await socket.prepare(request)
        await socket.send_str("ready")
        async for message in socket:
            for watcher in list(watchers):
                await watcher.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/watch", watch)
    app.router.add_get("/publish", publish)
    await listen(app)


if __name__ == "__main__":
    uvloop.run(serve())
