"""A real server and a real Chromium for the tests of the page; without Chromium they skip, and say so."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser, async_playwright

from tests.browser.reader import Author, Reader, new_reader, sign_up
from tests.processes import serving

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
# All readers share one address, and are quicker than people.
UNLIMITED = (
    "--sign-in-rate", "1000:1000",
    "--address-rate", "10000:10000",
    "--account-rate", "10000:10000",
)  # fmt: skip

OpenReader = Callable[..., Awaitable[Reader]]


@pytest.fixture(scope="session")
def chromium_path() -> str:
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        pytest.skip("Chromium is not installed: on Debian, apt-get install chromium")
    return path


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium_path: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path, args=list(CHROMIUM_FLAGS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site_url(chromium_path: str) -> AsyncIterator[str]:
    """Where one server listens for all tests of the page."""
    with tempfile.TemporaryDirectory(prefix="plaudit-page-") as directory:
        arguments = ("--port", "0", "--data-dir", str(Path(directory) / "data"))
        async with serving("server.py", *arguments, *UNLIMITED) as served:
            yield served.url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def author(site_url: str) -> AsyncIterator[Author]:
    async with httpx.AsyncClient(base_url=site_url) as client:
        yield await sign_up(client, "ada", "Ada Lovelace")


@pytest_asyncio.fixture(loop_scope="session")
async def reader(browser: Browser, site_url: str) -> AsyncIterator[OpenReader]:
    """Makes readers; in the end none of their pages may have thrown, or tried what its policy forbids."""
    async with AsyncExitStack() as stack:
        readers: list[Reader] = []

        async def open_reader(url: str = site_url, *, width: int = 1100, height: int = 800) -> Reader:
            one = await new_reader(browser, url, width=width, height=height)
            stack.push_async_callback(one.context.close)
            readers.append(one)
            return one

        yield open_reader
        assert [mistake for one in readers for mistake in one.mistakes] == []
