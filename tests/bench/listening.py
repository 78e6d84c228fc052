"""How the servers listen that are compared with ours."""

import asyncio

from aiohttp import web


async def listen(app: web.Application) -> None:
    """Serve ``app`` on a free port of the loopback, whose address is printed, until the process is ended."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}/", flush=True)
    await asyncio.Event().wait()
