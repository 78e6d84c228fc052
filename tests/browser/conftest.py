"""A real Chromium for the tests of the page; without it they skip, and say so."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, async_playwright

from tests.browser.reader import Author, Reader, new_reader, sign_up
from tests.processes import Served

CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
OpenReader = Callable[..., Awaitable[Reader]]
CLOSED_WITHIN_S = 10.0


async def closed(what: Browser | BrowserContext) -> None:
    """Close it; one that does not close in time is no matter of the test's, and ends with the browser's driver."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSED_WITHIN_S):
            await what.close()


@pytest.fixture(scope="session")
def chromium_path() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed: on Debian, apt-get install chromium")
    return path


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    """A new one for each file: one that has had a hundred contexts takes seconds for what took none."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=list(CHROMIUM_FLAGS))
        yield browser
        await closed(browser)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(chromium_path: str, server: Served) -> AsyncIterator[httpx.AsyncClient]:
    """By which people act who have no browser open."""
    async with httpx.AsyncClient(base_url=server.url) as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def author(client: httpx.AsyncClient) -> Author:
    """Who wrote the posts that are read."""
    return await sign_up(client, "author", "Ada Lovelace")


@pytest_asyncio.fixture(loop_scope="session")
async def reader(browser: Browser, server: Served) -> AsyncIterator[OpenReader]:
    """Makes readers; in the end none of their pages may have thrown, or tried what its policy forbids."""
    async with AsyncExitStack() as stack:
        readers: list[Reader] = []

        async def open_reader(url: str = server.url, *, width: int = 1100, height: int = 800) -> Reader:
            one = await new_reader(browser, url, width=width, height=height)
            stack.push_async_callback(closed, one.context)
            readers.append(one)
            return one

        yield open_reader
        assert [mistake for one in readers for mistake in one.mistakes] == []
