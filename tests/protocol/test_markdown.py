"""Markdown becomes safe HTML, whatever it is, in bounded time."""

from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.markdown import render_comment, render_post
from tests.work import calls_of

REL = 'rel="nofollow ugc noopener"'


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("hello", "<p>hello</p>\n"),
        ("one\ntwo", "<p>one<br>\ntwo</p>\n"),
        ("**b** _e_ ~~s~~ `c`", "<p><strong>b</strong> <em>e</em> <s>s</s> <code>c</code></p>\n"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>\n"),
        ("3. a", '<ol start="3">\n<li>a</li>\n</ol>\n'),
        ("> q", "<blockquote>\n<p>q</p>\n</blockquote>\n"),
        ("```js\n<x>\n```", "<pre><code>&lt;x&gt;\n</code></pre>\n"),
        ("# title", "<h4>title</h4>\n"),
        ("###### deep", "<h6>deep</h6>\n"),
        ("[x](https://e.org 't')", f'<p><a href="https://e.org" title="t" {REL}>x</a></p>\n'),
        ("https://e.org/a?b=1&c=2", f'<p><a href="https://e.org/a?b=1&amp;c=2" {REL}>https://e.org/a?b=1&amp;c=2</a></p>\n'),
        ("me@e.org", f'<p><a href="mailto:me@e.org" {REL}>me@e.org</a></p>\n'),
        ("see file.py and e.org", "<p>see file.py and e.org</p>\n"),
        ("![a cat](https://e.org/cat.png)", f'<p><a href="https://e.org/cat.png" {REL}>a cat</a></p>\n'),
        ("![](https://e.org/cat.png)", f'<p><a href="https://e.org/cat.png" {REL}>https://e.org/cat.png</a></p>\n'),
    ],
)  # fmt: skip
def test_a_comment_is_rendered_as_its_author_expects(text: str, html: str) -> None:
    assert render_comment(text) == html


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<b>bold</b>",
        "a <!-- comment -->",
        '<a href="/x" onclick="alert(1)">x</a>',
    ],
)
def test_raw_html_is_shown_as_text(text: str) -> None:
    assert "&lt;" in render_comment(text)
    assert tags_of(render_comment(text)) <= {"p"}


@pytest.mark.parametrize(
    "target",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        "&#106;avascript:alert(1)",
        "vbscript:x",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "//evil.example",
        "/relative",
        "#here",
        "ftp://e.org",
        "https:e.org",
        "https://",
    ],
)
@pytest.mark.parametrize("form", ["[x]({})", "[x](<{}>)", "![x]({})", "<{}>", "[x]\n\n[x]: {}"])
def test_only_absolute_links_to_web_and_mail_are_links(target: str, form: str) -> None:
    for render in (render_comment, render_post):
        html = render(form.format(target))
        assert "href=" not in html
        assert "src=" not in html


def test_a_post_may_show_images_and_tables() -> None:
    html = render_post("# h\n\n![a cat](https://e.org/cat.png)\n\n|a|\n|-|\n|1|\n")
    assert '<img src="https://e.org/cat.png" alt="a cat">' in html
    assert "<td>1</td>" in html
    assert "<h2>h</h2>" in html
    assert 'rel="noopener"' in render_post("<https://e.org>")


N = 10_000
CALLS_PER_CHARACTER_MAX = 60
"""Counted: at most 41; what is quadratic takes thousands."""
HOSTILE = {
    mark: (mark * N)[:N]
    for mark in (
        "[", "*", "_", ">", "`", "~", "![", "[a](", "](", "<", "<!--", "&", "\\", "- ", "1. ", "  - ", "*a ", "**a _b ",
        "a**b", "[[]", "[]()", "http://", "://", "http://[", "@", "a@", "https://a.b/(", "(", "|", "\n>", ">>>>>a\n",
        "- a\n  ", "#", "a\n=\n", "``` ", "~~a", "*_~`[", "[a][b]", "[a]: b\n", "![](", "[x](<", "<a@b.c>", "\t", "-\n",
        "+ a\n\n", "é", "\u200b", "\U0001f4a9", "\x01", "&#0;",
    )
} | {
    "brackets": "[" * 5_000 + "]" * 5_000,
    "ticks": "".join("`" * n + " " for n in range(1, 140)),
    "stars": "*" * 5_000 + "a" + "*" * 4_999,
    "one address, many references": "[a]: http://e.org/" + "x" * 5_000 + "\n\n" + "[a]" * 1_600,
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_text_of_full_length_takes_linear_work_and_space(name: str) -> None:
    text = HOSTILE[name]
    assert len(render_comment(text)) < 40 * N
    assert calls_of(lambda: render_comment(text)) < CALLS_PER_CHARACTER_MAX * N


@settings(max_examples=300, deadline=None)
@given(
    st.text(
        alphabet=st.one_of(st.sampled_from("[]()<>*_~`#-+!\\&:/@ \n\thttps://a.b\"'|="), st.characters(codec="utf-8"))
    )
)
def test_any_text_is_rendered_to_allowed_tags_alone(text: str) -> None:
    allowed = {"a", "p", "br", "em", "strong", "s", "code", "pre", "blockquote", "ul", "ol", "li", "hr"}
    assert tags_of(render_comment(text)) <= allowed | {"h4", "h5", "h6"}
    tables = {"table", "thead", "tbody", "tr", "th", "td"}
    assert tags_of(render_post(text)) <= allowed | {"h2", "h3", "h4", "h5", "h6", "img"} | tables


def tags_of(html: str) -> set[str]:
    found = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.add(tag)

    parser = Tags()
    parser.feed(html)
    parser.close()
    return found
