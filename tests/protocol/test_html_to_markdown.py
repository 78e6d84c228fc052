"""What HTML becomes: by value, and by rendering it back."""

from html import escape, unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from protocol.html_to_markdown import NESTING_MAX, html_to_markdown
from tests.work import calls_of

CASES = {
    "an empty line ends a paragraph, a newline breaks the line": ("a\n\nb\nc", "a\n\nb\\\nc"),
    "a break tag and the newline behind it are one break": ("a<br />\nb", "a\\\nb"),
    "paragraphs": ("<p>a</p><p>b</p>", "a\n\nb"),
    "emphasis keeps its spaces outside": ("a <b>bold </b>x", "a **bold** x"),
    "emphasis over two paragraphs is emphasis in each": ("<em>a\n\nb</em>", "*a*\n\n*b*"),
    "empty emphasis is nothing": ("a<b></b>b", "ab"),
    "a link": ('<a href="https://e.org/a b">t</a>', "[t](https://e.org/a%20b)"),
    "brackets in an address cannot end it": ('<a href="https://e.org/(x)">t</a>', "[t](https://e.org/%28x%29)"),
    "a script's address is no link": ('<a href="javascript:alert(1)">t</a>', "t"),
    "an image becomes a link": ('<img src="https://e.org/i.png" alt="a dog">', "[a dog](https://e.org/i.png)"),
    "an image without a text is called by its file": (
        '<img src="https://e.org/i.png">',
        "[i.png](https://e.org/i.png)",
    ),
    "a linked image is one link": (
        '<a href="https://e.org"><img src="https://e.org/i.png"></a>',
        "[i.png](https://e.org)",
    ),
    "code": ("x <code>a*b</code>", "x `a*b`"),
    "code with backticks": ("<code>a`b</code>", "``a`b``"),
    "preformatted text is kept as it is": ("<pre>a\n\n  <b>*b*</b></pre>", "```\na\n\n  *b*\n```"),
    "a fence in preformatted text": ("<pre>```</pre>", "````\n```\n````"),
    "a quote": ("<blockquote>a\n\nb</blockquote>c", "> a\n>\n> b\n\nc"),
    "lists in lists": ("<ul>\n<li>a</li>\n<li>b<ol><li>x<li>y</ol></li></ul>", "- a\n- b\n  1. x\n  2. y"),
    "a list that starts at eight": ('<ol start="8"><li>a</li><li>b</li></ol>', "8. a\n9. b"),
    "a heading": ("<h2>a\nb</h2>c", "## a b\n\nc"),
    "a rule": ("a<hr>b", "a\n\n---\n\nb"),
    "a table's rows": ("<table><tr>\n<td>a</td>\n<td>b</td></tr><tr><td>c</td></tr></table>", "a | b\n\nc"),
    "scripts, styles and comments are nothing": ("a<script>x</script><style>y</style><!-- z -->b", "ab"),
    "unknown tags keep their text": ("<blink>a</blink>", "a"),
    "what is never closed is closed at the end": ("<ul><li><b>a", "- **a**"),
    "what was never opened is ignored": ("a</b></ul></pre>", "a"),
    "text that looks like markup is escaped": (
        "1. a\n- b\n# c\n*d* [e](f) _g_ h_i",
        "1\\. a\\\n\\- b\\\n\\# c\\\n\\*d\\* \\[e\\](f) \\_g\\_ h_i",
    ),
    "an escaped tag stays text": ("&lt;b&gt; &amp;copy; &amp;", "\\<b> \\&copy; &"),
    "a marked section is text": ("<![foo[ x", "\\<!\\[foo\\[ x"),
}


@pytest.mark.parametrize("case", CASES)
def test_html_becomes_markdown(case: str) -> None:
    html, markdown = CASES[case]
    assert html_to_markdown(html) == markdown


def test_newlines_of_a_document_are_spaces() -> None:
    assert html_to_markdown("<p>a\nb</p>\n\n<p>c</p>", newlines_break=False) == "a b\n\nc"


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp", "Cf"])
        | st.sampled_from(" \n*_`<>[]()#+-=~|!&;:.1\\")
    )
)
def test_any_text_renders_back_to_itself(text: str) -> None:
    html = MarkdownIt("commonmark").render(html_to_markdown(escape(text)))
    shown = unescape(html.replace("<p>", "").replace("</p>", "").replace("<br />", ""))
    assert "<" not in html.replace("<p>", "").replace("</p>", "").replace("<br />", "")
    assert shown.split() == text.split()


@given(
    st.lists(
        st.sampled_from(
            [
                "<b>",
                "</b>",
                "<i>",
                "<a href=http://e.org>",
                "</a>",
                "<ul>",
                "<li>",
                "</ul>",
                "<pre>",
                "</pre>",
                "<code>",
                "</code>",
                "<blockquote>",
                "</blockquote>",
                "<h1>",
                "</h1>",
                "<br>",
                "<tr>",
                "<td>",
                "<hr>",
                "\n",
                "x",
                "y",
            ]
        )
    )
)
def test_no_letter_is_lost_however_the_tags_are_crossed(parts: list[str]) -> None:
    rendered = MarkdownIt("commonmark").render(html_to_markdown("".join(parts)))
    letters = "".join(part for part in parts if part in ("x", "y"))
    assert [char for char in _without_tags(rendered) if char in "xy"] == list(letters)


def test_deep_nesting_is_bounded_and_keeps_its_text() -> None:
    markdown = html_to_markdown("<blockquote>" * 10_000 + "deep")
    assert markdown == "> " * NESTING_MAX + "deep"


def test_open_tags_take_linear_work() -> None:
    tags = "<b><i><a href=x><li>"
    assert calls_of(lambda: html_to_markdown(tags * 5_000)) < 2.5 * calls_of(lambda: html_to_markdown(tags * 2_500))


def _without_tags(html: str) -> str:
    return "".join(piece.partition(">")[2] if at else piece for at, piece in enumerate(html.split("<")))
