"""The rules of a site that an operator may choose."""

from typing import Literal

from msgspec import Struct


class Policy(Struct, frozen=True, kw_only=True):
    reaction_kinds: tuple[str, ...] = ("like", "laugh", "love")
    edit_window_s: int = 900
    """For so long an author may edit a comment."""
    erased_comments: Literal["tombstone", "anonymous"] = "anonymous"
    """What becomes of the comments of an account that is deleted."""
    timelines: Literal["push", "pull", "hybrid", "adaptive"] = "hybrid"
    """Whose posts are put into the timelines of their followers, rather than looked for when these read."""
    celebrity_followers: int = 10_000
    """Who has so many is a celebrity, whose posts hybrid and adaptive do not push."""
    search_language: str = "simple"
    """The text search configuration of Postgres by whose rules words are found."""
    operation_ttl_s: int = 86_400
    """For so long a repeated operation id gets the first result."""
