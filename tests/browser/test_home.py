"""The home feed: the posts of those one follows, as they are published, changed and deleted."""

import httpx
import pytest

from tests.browser.conftest import OpenReader
from tests.browser.reader import sign_up

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_post_of_somebody_one_follows_comes_and_goes_while_one_looks(
    reader: OpenReader, client: httpx.AsyncClient
) -> None:
    grace = await sign_up(client, "home-grace", "Grace Hopper")
    one = await reader()
    await one.sign_up("home-reader", "A Reader")
    await one.meet("home-grace")
    await one.follow("Grace Hopper")
    await one.go_home()
    post, _ = await grace.post("On compilers", "They are patient.")
    shown = await one.see(one.summary("On compilers"))
    assert "They are patient." in await shown.inner_text()
    await grace.call("PATCH", f"/v1/posts/{post}", {"title": "On good compilers"})
    await one.see(one.summary("On good compilers"))
    assert await one.titles() == ["On good compilers"]
    await grace.call("DELETE", f"/v1/posts/{post}")
    await one.see_no_more(one.summary("On good compilers"))
