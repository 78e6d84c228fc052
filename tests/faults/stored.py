"""What is in the tables at the end, and what the API shows of it."""

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import asyncpg

from tests.faults.history import Numbers, StoredComment, StoredPost, brief
from tests.site import Site

APPLAUSE = "applause"
"""The kind of the rows that hold applause."""


async def stored_posts(database_url: str, site: Site, posts: Sequence[str]) -> list[StoredPost]:
    connection = await asyncpg.connect(database_url)
    try:
        return [await _stored_post(connection, site, post) for post in posts]
    finally:
        await connection.close()


async def _stored_post(connection: "asyncpg.Connection[asyncpg.Record]", site: Site, post: str) -> StoredPost:
    number = int(post)
    state = await connection.fetchrow("SELECT * FROM post_state WHERE post_id = $1", number)
    assert state is not None
    rows = await connection.fetch("SELECT * FROM comment WHERE post_id = $1", number)
    given: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for row in await connection.fetch("SELECT * FROM reaction WHERE post_id = $1 AND amount > 0", number):
        given[str(row["comment_id"])][row["kind"]][str(row["user_id"])] = row["amount"]
    applause = given["0"].pop(APPLAUSE, {})
    shown = (await site.request("GET", f"/v1/posts/{post}"))["counters"]
    bodies, reactions = await _shown_comments(site, post)
    return StoredPost(
        post=post,
        head=state["head"],
        comments={
            str(row["id"]): StoredComment(
                brief(row["body"]), row["state"] == "deleted", row["changed_offset"], _people(given[str(row["id"])])
            )
            for row in rows
        },
        reactions=_people(given["0"]),
        applause=applause,
        kept=Numbers(state["comments"], state["applause"], _nonzero(json.loads(state["reactions"]))),
        shown=Numbers(shown["comments"], shown["applause"], _nonzero(shown["reactions"])),
        shown_bodies=bodies,
        shown_reactions=reactions,
    )


async def _shown_comments(site: Site, post: str) -> tuple[dict[str, str], dict[str, dict[str, int]]]:
    """All pages: the bodies and the reactions of the comments that can be seen."""
    bodies, reactions, after = {}, {}, ""
    while True:
        page: Any = await site.request("GET", f"/v1/posts/{post}/comments?order=oldest&limit=200{after}")
        for node in page["comments"]:
            if node["comment"]["state"] == "visible":
                bodies[node["comment"]["id"]] = brief(node["comment"]["body"])
                reactions[node["comment"]["id"]] = _nonzero(node["reactions"])
        if page["next"] is None:
            return bodies, reactions
        after = f"&after={page['next']}"


def _people(given: dict[str, dict[str, int]]) -> dict[str, list[str]]:
    return {kind: sorted(who) for kind, who in given.items()}


def _nonzero(counts: dict[str, int]) -> dict[str, int]:
    return {kind: number for kind, number in counts.items() if number}
