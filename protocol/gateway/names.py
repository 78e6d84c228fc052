"""Choosing a name that is free: handles of host users and slugs of posts, by claims that survive a retry."""

from collections.abc import Iterable
from typing import Literal

from protocol.gateway.backend import Backend


async def claim_first(
    backend: Backend, thing: Literal["account", "post"], kind: str, candidates: Iterable[str], id: int
) -> str | None:
    """The first of ``candidates`` that is bound to ``id``, by now or before; None if others have them all."""
    for name in candidates:
        if await claim(backend, thing, kind, name, id):
            return name
    return None


async def claim(backend: Backend, thing: Literal["account", "post"], kind: str, name: str, id: int) -> bool:
    """Bind ``name`` to ``id``; whether it is bound to it now. Doing so twice is harmless."""
    claimed = await backend.claim_names(thing, [(kind, name)], id)
    return claimed == id or await backend.resolve(kind, name) == id
