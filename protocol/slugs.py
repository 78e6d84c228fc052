"""Slugs: what a post is called in an address."""

import re
import unicodedata
from collections.abc import Iterator

SLUG_CHARS_MAX = 80


def slugify(text: str) -> str:
    """``text`` as a slug: lower case, Latin letters without accents, words joined by ``-``; "" if nothing is left."""
    decomposed = unicodedata.normalize("NFKD", text)
    # Only the accents of Latin, Greek and Cyrillic: other scripts' marks carry meaning.
    plain = "".join(char for char in decomposed if not "\u0300" <= char <= "\u036f")
    words = re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", plain).lower())
    return "-".join(words)[:SLUG_CHARS_MAX].strip("-")


def slug_candidates(title: str, post_id: int) -> Iterator[str]:
    """Slugs to try for a post, best first; the same ones each time, so that a retry finds its own.

    The last ends in the whole id: only a slug that someone chose by hand can be in its way.
    """
    base = slugify(title) or "post"
    yield base
    for ending in (f"-{post_id:x}"[-4:].lstrip("-"), f"{post_id:x}"):
        yield f"{base[: SLUG_CHARS_MAX - len(ending) - 1].rstrip('-')}-{ending}"
