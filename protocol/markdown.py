"""Markdown to safe HTML: CommonMark with strikethrough and bare links, hard line breaks, no raw HTML.

markdown-it-py parses, nh3 (ammonia) sanitises what comes out: either alone would do, so an error in one is no hole.
Links are http, https or mailto and absolute, because the HTML is shown on other sites. Rendering takes 50 to 500 µs for
an ordinary comment, at worst 7 µs a character: what would take time by the square of its length is shown as written.
"""

import html
import logging
import re
from collections.abc import Sequence
from typing import Any, Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

logger = logging.getLogger(__name__)

_LINK: Final = re.compile(r"(?:https?://[^\s/?#]|mailto:[^\s])", re.IGNORECASE)
_COMMENT_REL: Final = "nofollow ugc noopener"
_POST_REL: Final = "noopener"
_HEADINGS: Final = frozenset(f"h{level}" for level in range(1, 7))
_TAGS: Final = _HEADINGS | {
    "a", "blockquote", "br", "code", "em", "hr", "li", "ol", "p", "pre", "s", "strong", "ul",
}  # fmt: skip
_POST_TAGS: Final = _TAGS | {"img", "table", "thead", "tbody", "tr", "th", "td"}
_ATTRIBUTES: Final = {"a": {"href", "title"}, "ol": {"start"}}
_POST_ATTRIBUTES: Final = {**_ATTRIBUTES, "img": {"src", "alt", "title", "loading"}}
_SCHEMES: Final = {"http", "https", "mailto"}
# Searching for links takes time by the length of a paragraph for each mark that might begin one: 10,000 times "[" took
# 105 ms, 1,250 times "http://[" half a second. Marks times characters up to which a paragraph is searched, some 20 ms:
_BRACKETS_TIMES_CHARS_MAX: Final = 1 << 23
_ADDRESSES_TIMES_CHARS_MAX: Final = 1 << 20
# One long address, defined once and referred to a thousand times, would make megabytes of a comment.
_GROWTH_MAX: Final = 16


def render_comment(text: str) -> str:
    """A comment as HTML: headings as small ones, images as links, links marked as a stranger's. Never fails."""
    return _sanitised(_COMMENT, text, _TAGS, _ATTRIBUTES, _COMMENT_REL)


def render_post(text: str) -> str:
    """A post as HTML, with images and tables. Never fails."""
    return _sanitised(_POST, text, _POST_TAGS, _POST_ATTRIBUTES, _POST_REL)


def _sanitised(parser: MarkdownIt, text: str, tags: frozenset[str], attributes: dict[str, set[str]], rel: str) -> str:
    rendered = _rendered(parser, text)
    if len(rendered) > _GROWTH_MAX * (len(text) + 1_000):
        rendered = _as_written(text)
    return nh3.clean(
        rendered,
        tags=set(tags),
        attributes=attributes,
        url_schemes=_SCHEMES,
        url_relative="deny",
        link_rel=rel,
    )


def _rendered(parser: MarkdownIt, text: str) -> str:
    try:
        return str(parser.render(text))
    except Exception:
        # One text that the parser fails on, once stored, would otherwise break its stream and page for ever.
        logger.exception("Markdown of %d characters could not be rendered", len(text))
        return _as_written(text)


def _as_written(text: str) -> str:
    return f"<p>{html.escape(text)}</p>"


def _parser(*, heading_shift: int) -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "linkify": True, "breaks": True})
    parser.enable(["linkify", "strikethrough"])
    parser.core.ruler.at("inline", _parse_paragraphs)
    parser.validateLink = _is_link  # type: ignore[method-assign]
    assert parser.linkify is not None
    # "file.py" is no site in Paraguay.
    parser.linkify.set({"fuzzy_link": False, "fuzzy_ip": False})

    def heading(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, environment: Any) -> str:
        token = tokens[index]
        token.tag = f"h{min(6, int(token.tag[1:]) + heading_shift)}"
        return renderer.renderToken(tokens, index, options, environment)

    parser.add_render_rule("heading_open", heading)
    parser.add_render_rule("heading_close", heading)
    return parser


def _parse_paragraphs(state: StateCore) -> None:
    """What stands within a paragraph, heading or cell; as it is written where that would take too long."""
    for token in state.tokens:
        if token.type != "inline":
            continue
        token.children = []
        if _costly(token.content):
            token.children.append(Token("text", "", 0, content=token.content))
            # Or linkify would search it.
            token.content = ""
        else:
            state.md.inline.parse(token.content, state.md, state.env, token.children)


def _costly(paragraph: str) -> bool:
    length = len(paragraph)
    return (
        paragraph.count("[") * length > _BRACKETS_TIMES_CHARS_MAX
        or paragraph.count("://") * length > _ADDRESSES_TIMES_CHARS_MAX
    )


def _is_link(url: str) -> bool:
    return _LINK.match(url) is not None


def _image_as_link(renderer: RendererHTML, tokens: Sequence[Token], index: int, options: Any, environment: Any) -> str:
    token = tokens[index]
    address = str(token.attrGet("src") or "")
    label = renderer.renderInlineAsText(token.children or [], options, environment) or address
    return f'<a href="{html.escape(address)}">{html.escape(label)}</a>'


def _comment_parser() -> MarkdownIt:
    # The title of the page and that of the comments stand above.
    parser = _parser(heading_shift=3)
    parser.add_render_rule("image", _image_as_link)
    return parser


def _post_parser() -> MarkdownIt:
    parser = _parser(heading_shift=1)
    parser.enable("table")
    return parser


_COMMENT: Final = _comment_parser()
_POST: Final = _post_parser()
