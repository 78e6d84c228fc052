"""Excerpts by value."""

import pytest

from protocol.excerpts import HTML_READ_PER_CHAR, excerpt


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
