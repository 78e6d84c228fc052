"""Slugs to choose from: what a post is called in its address."""

from collections.abc import Iterator

from protocol.text import SLUG_CHARS_MAX, slug_of


def slug_candidates(title: str, post_id: int) -> Iterator[str]:
    """Slugs to try for a post, best first; the same ones each time, so that a retry finds its own.

    The last ends in the whole id: only a slug that someone chose by hand can be in its way.
    """
    base = slug_of(title) or "post"
    yield base
    digits = f"{post_id:x}"
    for ending in (digits[-4:], digits):
        yield f"{base[: SLUG_CHARS_MAX - len(ending) - 1].rstrip('-')}-{ending}"
