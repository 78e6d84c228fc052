"""Random requests to every endpoint: whatever comes of one, it is what the description says.

``SEED=… python -m pytest tests/gateway/test_random_input.py`` repeats a run by its seed.
"""

import os
import random
from typing import Any
from urllib.parse import quote

from protocol.routes import ENDPOINTS, Endpoint
from tests.gateway.http_site import HOST_SECRET, Api, host_token, http_site

SEED = int(os.environ.get("SEED") or random.SystemRandom().getrandbits(32))
REQUESTS = 400
ORIGIN = "https://blog.example"
ENDING = ("delete_me", "sign_out", "delete_post")
"""After these the rest would be refused alike."""
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 50, 51, 1.5, 1e308, 1 << 63, [], {}, ["a"], {"a": 1}, [None], [["1"]], ["1", "1"]),
    *("", " ", "a", "0", "1", "a b", "\0", "\u200b", "\u202e", "😀", "İ", "ß" * 30, "é" * 50, "x" * 300, "x" * 10_001),
    *(str((1 << 63) - 1), str(1 << 63), "like", "ada", "ada@example.org", "guest-1", "correct horse battery"),
    *("2026-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59Z"),
    *(f"{ORIGIN}/x", f"{ORIGIN}/\u202e", f"{ORIGIN}/%zz?", "http://[", "/p/../x", "javascript:alert(1)"),
)


def some(fields: tuple[str, ...], rng: random.Random) -> dict[str, Any]:
    return {name: rng.choice(VALUES) for name in fields if rng.random() < 0.7}


def random_path(endpoint: Endpoint, post: str, rng: random.Random) -> str:
    path = endpoint.path
    for name, values in {
        "id": [post, post, post, "1", "x"],
        "comment": ["1", "1", "2", "x"],
        "kind": ["like", "love", "x"],
        "slug": ["a-post", "x"],
        "handle": ["ada", "x"],
    }.items():
        path = path.replace(f"{{{name}}}", rng.choice(values))
    if endpoint.query is None:
        return path
    query = some(endpoint.query.__struct_fields__, rng)
    return f"{path}?{'&'.join(f'{name}={quote(str(value)[:500])}' for name, value in query.items())}"


async def random_call(api: Api, endpoint: Endpoint, post: str, tokens: list[str | None], rng: random.Random) -> None:
    path = random_path(endpoint, post, rng)
    body = None if endpoint.body is None else some(endpoint.body.__struct_fields__, rng)
    op = rng.choice([None, None, "op-1", "op-2", f"op-{rng.random()}"])
    headers = rng.choice([{}, {"Origin": ORIGIN}])
    answer = await api.call(endpoint.method, path, body, token=rng.choice(tokens), op=op, headers=headers)
    told = f"{endpoint.method} {path} {body!r} {op!r}: {answer}"
    assert answer.status < 500, told
    assert answer.code in ("", *endpoint.error_codes()), told
    assert answer.code or answer.status == endpoint.status, told


async def test_random_requests_get_what_the_description_says() -> None:
    print(f"SEED={SEED}")
    rng = random.Random(SEED)
    endpoints = [endpoint for endpoint in ENDPOINTS if endpoint.name not in ENDING]
    async with http_site(allowed_origins=(ORIGIN,), host_jwt_secret=HOST_SECRET) as site:
        ada, gus = await site.api.member("ada"), await site.api.guest()
        post = await site.api.post(ada.access_token)
        await site.api.comment(gus.access_token, post["id"])
        moderator = host_token({"id": "m", "username": "mod", "role": "admin"})
        tokens = [ada.access_token, gus.access_token, moderator, None]
        for _ in range(REQUESTS):
            await random_call(site.api, rng.choice(endpoints), post["id"], tokens, rng)
