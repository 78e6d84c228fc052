"""``kill -9`` at any moment, again and again on one data directory: what was acknowledged is there, and there once.

``ROUNDS=20 SEED=… python -m pytest tests/faults/test_kill.py -s`` repeats a run by its seed, as far as chance in the
kernel allows.
"""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random, SystemRandom
from typing import Any

import asyncpg
import pytest

from store.embedded import EmbeddedPostgres
from tests.faults.following import EventFollower, Follower, LiveFollower, SocketFollower
from tests.faults.writing import History, Writer
from tests.site import Site, host_token, running_site

ROUNDS = int(os.environ.get("ROUNDS", "5"))
SEED = int(os.environ.get("SEED") or SystemRandom().randrange(1 << 32))
POSTS = 3
SOCKET_WRITERS = 4
HTTP_WRITERS = 2
ACKNOWLEDGED_MAX = 1_500
"""Of one round; the kill comes after any number up to it."""
MOMENT_S = 0.02
"""And then at any time within this: in the middle of a commit, of a reply, of nothing."""
SETTLE_TIMEOUT_S = 30.0


@pytest.mark.timeout(60 + 30 * ROUNDS)
async def test_killed_again_and_again_every_acknowledged_write_is_there_once(tmp_path: Path) -> None:
    print(f"SEED={SEED} ROUNDS={ROUNDS}")
    rng, history = Random(SEED), History()
    data_dir = tmp_path / "data"
    async with running_site("--data-dir", str(data_dir)) as site:
        posts = [await site.create_post(f"Post {number}") for number in range(POSTS)]
        followers = [follower for post in posts for follower in await followers_of(site, post)]
        writers = [await writer(site, number, posts, history, rng) for number in range(SOCKET_WRITERS + HTTP_WRITERS)]
    for number in range(ROUNDS):
        async with running_site("--data-dir", str(data_dir)) as site, asyncio.TaskGroup() as tasks:
            for follower in followers:
                tasks.create_task(follower.follow(site))
            for each in writers:
                tasks.create_task(each.write(site))
            await history.grows_by(rng.randint(1, ACKNOWLEDGED_MAX))
            await asyncio.sleep(rng.random() * MOMENT_S)
            if number % 2:
                kill_postgres(data_dir)
                await asyncio.sleep(rng.random() * MOMENT_S)
            with suppress(ProcessLookupError):
                await site.served.kill()
        print(f"round {number + 1}: {history.acknowledged} operations acknowledged")
    async with running_site("--data-dir", str(data_dir)) as site:
        for each in writers:
            await each.settle(site)
        for post in posts:
            await check_api(site, post, history)
            await check_followers(site, post, [follower for follower in followers if follower.post == post], history)
    async with EmbeddedPostgres(data_dir) as postgres:
        database = await asyncpg.connect(postgres.url)
        try:
            await check_rows(database, history)
        finally:
            await database.close()


async def followers_of(site: Site, post: str) -> Sequence[Follower]:
    epoch, _, offset = (await site.request("GET", f"/v1/posts/{post}"))["cursor"].rpartition("-")
    return [kind(post, epoch, int(offset)) for kind in (SocketFollower, LiveFollower, EventFollower)]


async def writer(site: Site, number: int, posts: Sequence[str], history: History, rng: Random) -> Writer:
    user = 100 + number
    account = await site.request("GET", "/v1/me", token=host_token(user))
    return Writer(user, account["id"], posts, history, rng, http=number >= SOCKET_WRITERS)


def kill_postgres(data_dir: Path) -> None:
    """Its first process, by its id; the others see it and end."""
    os.kill(int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)


# -- what must be there -----------------------------------------------------------------------------------------------


def expected_bodies(history: History, post: str) -> dict[str, str]:
    return {id: body for (of, id), body in history.bodies.items() if of == post}


def expected_reactions(history: History, post: str, comment: str) -> dict[str, int]:
    given = [kind for (_, *target, kind), on in history.reactions.items() if on and target == [post, comment]]
    return dict(Counter(given))


async def check_api(site: Site, post: str, history: History) -> None:
    """The pages and counters show what was acknowledged, and nothing else."""
    shown: dict[str, Any] = {}
    after = ""
    while True:
        page = await site.request("GET", f"/v1/posts/{post}/comments?order=oldest&limit=200{after}")
        shown |= {node["comment"]["id"]: node for node in page["comments"]}
        if page["next"] is None:
            break
        after = f"&after={page['next']}"
    assert {id: node["comment"]["body"] for id, node in shown.items()} == expected_bodies(history, post)
    for id, node in shown.items():
        assert nonzero(node["reactions"]) == expected_reactions(history, post, id)
    counters = (await site.request("GET", f"/v1/posts/{post}"))["counters"]
    assert counters["comments"] == page["total"] == len(shown)
    assert nonzero(counters["reactions"]) == expected_reactions(history, post, "0")


async def check_followers(site: Site, post: str, followers: Sequence[Follower], history: History) -> None:
    """Who resumed, however often, has in the end what is there."""
    head = int((await site.request("GET", f"/v1/posts/{post}"))["cursor"].rpartition("-")[2])
    for follower in followers:
        if isinstance(follower, LiveFollower):
            continue
        following = asyncio.create_task(follower.follow(site), name="a last resume")
        try:
            await asyncio.wait_for(follower.reaches(head), SETTLE_TIMEOUT_S)
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following
        assert {id: comment["body"] for id, comment in follower.comments.items()} == expected_bodies(history, post)


async def check_rows(database: "asyncpg.Connection[asyncpg.Record]", history: History) -> None:
    """The tables hold each acknowledged write once, and the counters count them."""
    comments = await database.fetch("SELECT post_id, id, body, changed_offset FROM comment")
    assert {(str(row["post_id"]), str(row["id"])): row["body"] for row in comments} == history.bodies
    assert len({row["body"].partition(",")[0] for row in comments}) == len(comments), "a comment is there twice"
    reactions = await database.fetch("SELECT user_id, post_id, comment_id, kind, amount FROM reaction")
    given = {
        (str(row["user_id"]), str(row["post_id"]), str(row["comment_id"]), row["kind"])
        for row in reactions
        if row["amount"]
    }
    assert given == {target for target, on in history.reactions.items() if on}
    for post in await database.fetch("SELECT * FROM post JOIN post_state ON post_id = id"):
        own = [row for row in comments if row["post_id"] == post["id"]]
        assert post["comments"] == len(own)
        kept = json.loads(post["reactions"])
        assert nonzero(kept) == expected_reactions(history, str(post["id"]), "0")
        offsets = [post["changed_offset"], *(row["changed_offset"] for row in own)]
        assert len(set(offsets)) == len(offsets), "two things changed at one offset"
        assert post["head"] == max(offsets)


def nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {kind: number for kind, number in counts.items() if number}
