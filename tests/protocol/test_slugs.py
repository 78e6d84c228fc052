"""Slugs to choose from."""

from protocol.slugs import slug_candidates
from protocol.text import SLUG_CHARS_MAX, slug


def test_a_slug_is_made_of_the_title_then_with_more_and_more_of_the_id() -> None:
    assert list(slug_candidates("Über uns & Co!", 0x1234ABCDE)) == [
        "uber-uns-co",
        "uber-uns-co-bcde",
        "uber-uns-co-1234abcde",
    ]


def test_a_title_without_latin_letters_still_gets_one() -> None:
    assert list(slug_candidates("日本語", 1)) == ["post", "post-1", "post-1"]


def test_every_candidate_of_a_long_title_is_a_slug() -> None:
    for candidate in slug_candidates("word " * 100, (1 << 63) - 1):
        assert slug(candidate) == candidate
        assert len(candidate) <= SLUG_CHARS_MAX
