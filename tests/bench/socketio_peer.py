"""Fan-out by python-socketio, on aiohttp: whoever publishes, it is emitted to all others."""

import asyncio
from importlib import import_module
from typing import Any

import uvloop
from aiohttp import web


async def serve() -> None:
    """Listen on a free port of the loopback and print it."""
    # Not needed but for this comparison, and without types.
    socketio: Any = import_module("socketio")
    server = socketio.AsyncServer(async_mode="aiohttp", http_compression=False)

    async def publish(sender: str, comment: Any) -> None:
        await server.emit("comment", comment, skip_sid=sender)

    server.on("publish", publish)
    app = web.Application()
    server.attach(app)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve())
