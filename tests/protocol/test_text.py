"""Texts are kept in one form, and what cannot be shown or stored is refused."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import text
from protocol.errors import Refused


@pytest.mark.parametrize(
    ("rule", "given", "kept"),
    [
        (text.plain, "a\r\nb\rc", "a\nb\nc"),
        (text.plain, "e\u0301", "\u00e9"),
        (text.comment_body, " \n\n    code\n \n", "    code"),
        (text.comment_body, "\u200b!", "\u200b!"),
        (text.comment_body, "x" * 10_000, "x" * 10_000),
        (text.comment_body, "e\u0301" * 10_000, "\u00e9" * 10_000),
        (text.post_body, " \n", ""),
        (text.one_line, " a \n b\t", "a b"),
        (text.title, "A  title", "A title"),
        (text.display_name, "Zo\u00eb \U0001f469\u200d\U0001f4bb", "Zo\u00eb \U0001f469\u200d\U0001f4bb"),
        (text.handle, " Ada_L. ".replace(".", ""), "ada_l"),
        (text.slug, "a-1", "a-1"),
        (text.slug, "", ""),
        (text.slug_of, "Über Änderungen: 50 % mehr!", "uber-anderungen-50-mehr"),
        (text.slug_of, "日本", ""),
        (text.tags, ["A", "b", " a"], ["a", "b"]),
        (text.web_address, " https://e.org/a?b#c ", "https://e.org/a?b#c"),
        (text.email_address, "Me@E.org", "me@e.org"),
        (text.decimal_id, "9223372036854775807", "9223372036854775807"),
        (text.operation_id, "a1 b2", "a1 b2"),
        (text.unix_ms, 0, 0),
    ],
)
def test_a_text_is_kept_in_one_form(rule: Callable[[Any], Any], given: Any, kept: Any) -> None:
    assert rule(given) == kept
    if rule is not text.slug_of:
        assert rule(kept) == kept


@pytest.mark.parametrize(
    ("rule", "given", "code"),
    [
        (text.plain, "a\0b", "invalid"),
        (text.plain, "\ud800", "invalid"),
        (text.comment_body, "", "comment_empty"),
        (text.comment_body, " \r\n\t\u00a0\u3000", "comment_empty"),
        (text.comment_body, "\u200b\u2060\ufeff\u00ad\u2800\u3164\ufe0f", "comment_empty"),
        (text.comment_body, "\x01", "comment_empty"),
        (text.comment_body, "x" * 10_001, "comment_too_long"),
        (text.comment_body, "\0", "invalid"),
        (text.post_body, "x" * 100_001, "invalid"),
        (text.one_line, "a\x07b", "invalid"),
        (text.display_name, "\u202eada", "invalid"),
        (text.display_name, "x" * 81, "invalid"),
        (text.title, "\u200b", "invalid"),
        (text.title, "x" * 301, "invalid"),
        (text.handle, "a", "invalid"),
        (text.handle, "a b", "invalid"),
        (text.handle, "-ab", "invalid"),
        (text.handle, "\u0430da", "invalid"),
        (text.handle, "x" * 31, "invalid"),
        (text.slug, "a--b", "invalid"),
        (text.slug, "a/b", "invalid"),
        (text.slug, "x" * 101, "invalid"),
        (text.tags, [""], "invalid"),
        (text.tags, ["x" * 41], "invalid"),
        (text.tags, [str(n) for n in range(21)], "invalid"),
        (text.web_address, "javascript:alert(1)", "invalid"),
        (text.web_address, "https://", "invalid"),
        (text.web_address, "https://e.org/a b", "invalid"),
        (text.web_address, "http://[", "invalid"),
        (text.web_address, "//e.org", "invalid"),
        (text.email_address, "a@b", "invalid"),
        (text.email_address, "a b@e.org", "invalid"),
        (text.decimal_id, "", "invalid"),
        (text.decimal_id, "0", "invalid"),
        (text.decimal_id, "1\n", "invalid"),
        (text.decimal_id, "\u0661", "invalid"),
        (text.decimal_id, "9223372036854775808", "invalid"),
        (text.operation_id, "", "invalid"),
        (text.operation_id, "a\n", "invalid"),
        (text.operation_id, "x" * 129, "invalid"),
        (text.unix_ms, -1, "invalid"),
    ],
)
def test_what_cannot_be_shown_or_stored_is_refused(rule: Callable[[Any], Any], given: Any, code: str) -> None:
    with pytest.raises(Refused) as refusal:
        rule(given)
    assert refusal.value.code == code


@given(st.text(alphabet=st.characters()))
def test_whatever_is_kept_is_kept_the_same_again_and_can_be_stored(given: str) -> None:
    for rule in (text.plain, text.comment_body, text.post_body, text.one_line, text.title, text.display_name):
        try:
            kept = rule(given)
        except Refused:
            continue
        assert rule(kept) == kept
        assert "\0" not in kept
        kept.encode()
