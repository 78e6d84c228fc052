"""Bytes that are known beforehand, as JSON from bare aiohttp handlers: the least that a server in Python may do.

It is aiohttp as it listens by itself, on uvloop: neither aiofastnet, nor middleware, nor a path with a part to find.
"""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from aiohttp import web

from tests.bench.listening import listen


def answering(body: bytes) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type="application/json")

    return answer


async def serve(directory: Path) -> None:
    """Answer at the name of each file of ``directory`` with what it holds."""
    app = web.Application()
    for file in directory.iterdir():
        app.router.add_get(f"/{file.name}", answering(file.read_bytes()))
    await listen(app)


if __name__ == "__main__":
    uvloop.run(serve(Path(sys.argv[1])))
