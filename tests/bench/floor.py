"""The floor to compare with: aiohttp, asyncpg, a pool of 16 and one INSERT a comment, as one would write it first."""

import sys

import asyncpg
import msgspec
import uvloop
from aiohttp import web

from tests.bench.listening import listen

CONNECTIONS = 16
TABLE = """CREATE TABLE IF NOT EXISTS floor_comment (
    id bigserial PRIMARY KEY, post_id bigint NOT NULL, author_id bigint NOT NULL, body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp())"""
INSERT = "INSERT INTO floor_comment (post_id, author_id, body) VALUES ($1, $2, $3) RETURNING id"


class NewComment(msgspec.Struct):
    post: int
    author: int
    body: str


async def serve(database_url: str) -> None:
    decoder = msgspec.json.Decoder(NewComment)
    async with asyncpg.create_pool(database_url, min_size=CONNECTIONS, max_size=CONNECTIONS) as pool:
        await pool.execute(TABLE)

        async def create_comment(request: web.Request) -> web.Response:
            comment = decoder.decode(await request.read())
            id = await pool.fetchval(INSERT, comment.post, comment.author, comment.body)
            return web.Response(status=201, body=b'{"id":"%d"}' % id, content_type="application/json")

        app = web.Application()
        app.router.add_post("/comments", create_comment)
        await listen(app)


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1]))
