"""Excerpts by value."""

import pytest

from protocol.excerpts import HTML_READ_PER_CHAR, excerpt, without_signs


@pytest.mark.parametrize(
    ("html", "words"),
    [
        ("", ""),
        ("<p>Short.</p>\n", "Short."),
        ("<p>One <em>t</em>wo</p>\n<ul>\n<li>6</li>\n</ul>", "One two · 6"),
        ("<h2>One</h2><p>Two.</p><p>6</p>", "One · Two. 6"),
        ('<p>"One."</p><hr><p>Two</p>', '"One." Two'),
        ("<p>&lt;b&gt; &amp; &quot;c&quot;</p>", '<b> & "c"'),
        ("<p>twelve chars and more</p>", "twelve…"),
        ("<p>" + "x" * 50 + "</p>", "x" * 11 + "…"),
    ],
)
def test_an_excerpt_is_the_first_whole_words_as_plain_text(html: str, words: str) -> None:
    assert excerpt(html, 12) == words


def test_an_excerpt_reads_only_the_beginning_of_a_long_text() -> None:
    tags_only = "<br>" * 12 * HTML_READ_PER_CHAR
    assert excerpt(tags_only + "<p>far away</p>", 12) == ""
    cut_in_a_tag = "<p>begun</p>" + " " * (12 * HTML_READ_PER_CHAR - 15) + '<a href="https://example.org/">cut</a>'
    assert excerpt(cut_in_a_tag, 12) == "begun…"


@pytest.mark.parametrize(
    ("markdown", "words"),
    [
        ("", ""),
        ("Plain, with 2 * 3 and snake_case_names - all of it.", "Plain, with 2 * 3 and snake_case_names - all of it."),
        ("*one* **two** __three__ ~~four~~ `five`", "one two three four five"),
        ("# One\n> two\n- three\n12. four", "One\ntwo\nthree\nfour"),
        ("a [link](https://example.org/a_b) and ![a picture](p.png)", "a link and a picture"),
        ("cut *in the middle", "cut in the middle"),
        ("**\x02found\x03** [\x02here\x03](/p)", "\x02found\x03 \x02here\x03"),
        ("[not a link] (really)", "[not a link] (really)"),
    ],
)
def test_a_piece_of_markdown_is_read_without_its_signs(markdown: str, words: str) -> None:
    assert without_signs(markdown) == words


def test_many_brackets_cost_no_more_than_their_number() -> None:
    hostile = "[" * 20_000 + "]" * 20_000
    assert without_signs(hostile) == hostile
