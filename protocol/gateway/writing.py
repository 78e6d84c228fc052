"""How a post comes to be: id and slug are claimed first, then it is made; whoever repeats that makes no second."""

from protocol import requests
from protocol.commands import CreatePost, Person, ReadPost
from protocol.errors import Refused
from protocol.gateway.backend import Backend
from protocol.gateway.names import claim_first
from protocol.slugs import slug_candidates
from protocol.times import unix_ms
from protocol.views import PostView


class Writing:
    """Everything raises ``DomainError``."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def create(self, new_id: int, body: requests.NewPost, by: Person, op: str | None) -> int:
        """The id of a new post: ``new_id``, or that of the one post of all who repeat the operation id."""
        post_id = await self._post_id(new_id, by, op)
        slug = await self._slug(body, post_id)
        command = CreatePost(
            post=str(post_id),
            title=body.title,
            body=body.body,
            slug=slug,
            tags=body.tags,
            state=body.state,
            publish_at=None if body.publish_at is None else unix_ms(body.publish_at),
        )
        try:
            await self._backend.ask(f"post:{post_id}", command, by, op)
        except Refused:
            await self.release_unused(slug, post_id, by)
            raise
        return post_id

    async def read(self, post_id: int, by: Person) -> PostView:
        view: PostView = await self._backend.ask(f"post:{post_id}", ReadPost(post=str(post_id)), by)
        return view

    async def slug_of(self, post_id: int, by: Person) -> str | None:
        """The slug that a post has; None if it has none or is not there for ``by``."""
        try:
            return (await self.read(post_id, by)).slug
        except Refused:
            return None

    async def release_unused(self, slug: str, post_id: int, by: Person) -> None:
        """Give back a slug that was claimed for a post which bears another, or was not made."""
        if await self.slug_of(post_id, by) != slug:
            await self._backend.release_name("slug", slug, post_id)

    async def _post_id(self, new_id: int, by: Person, op: str | None) -> int:
        if op is None:
            return new_id
        name = f"{by.id}/{op}"
        claimed = await self._backend.claim_names("post", [("operation", name)], new_id)
        if isinstance(claimed, int):
            return claimed
        known = await self._backend.resolve("operation", name)
        assert known is not None, "a name that is taken is bound"
        return known

    async def _slug(self, body: requests.NewPost, post_id: int) -> str:
        candidates = [body.slug] if body.slug is not None else slug_candidates(body.title, post_id)
        slug = await claim_first(self._backend, "post", "slug", candidates, post_id)
        if slug is None:
            raise Refused("slug_taken")
        return slug
