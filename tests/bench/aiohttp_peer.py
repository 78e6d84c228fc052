"""Fan-out as one would write it first: a WebSocket handler of aiohttp that sends to each of a set."""

import asyncio

import uvloop
from aiohttp import web


async def serve() -> None:
    """Listen on a free port of the loopback and print it."""
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
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
