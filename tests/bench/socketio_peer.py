"""Fan-out by python-socketio, on aiohttp: whoever publishes, it is emitted to all others."""

from importlib import import_module
from typing import Any

import uvloop
from aiohttp import web

from tests.bench.listening import listen


async def serve() -> None:
    # Not needed but for this comparison, and without types.
    socketio: Any = import_module("socketio")
    server = socketio.AsyncServer(async_mode="aiohttp", http_compression=False)

    async def publish(sender: str, comment: Any) -> None:
        await server.emit("comment", comment, skip_sid=sender)

    server.on("publish", publish)
    app = web.Application()
    server.attach(app)
    await listen(app)


if __name__ == "__main__":
    uvloop.run(serve())
