"""A few words of a text, for those who show a link to it."""

import re
from html.parser import HTMLParser

BLOCKS = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "li", "blockquote", "pre", "tr", "td", "th", "hr"))
SEPARATOR = "·"
"""Stands between two blocks, where the first does not end as a sentence does."""
_ENDED = re.compile(r"""[.!?…:;,]["'”’)\]]*$""")
HTML_READ_PER_CHAR = 16
"""So many characters of HTML are read for one of the excerpt: enough for text, and a bound for what is all tags."""
_LINK = re.compile(r"!?\[([^\[\]]*)\]\([^()\s]*\)")
_BLOCK_SIGN = re.compile(r"^[ \t]*(?:#{1,6}|>+|[-+*]|[0-9]{1,9}[.)])[ \t]+", re.MULTILINE)
_EMPHASIS = re.compile(r"(?<=\S)[*`~]+|[*`~]+(?=\S)|(?<!\w)_+(?=\S)|(?<=\S)_+(?!\w)")


def without_signs(markdown: str) -> str:
    """A piece of ``markdown`` as one would read it aloud: emphasis, headings, lists and links without their signs.

    By their look alone: a piece may begin and end anywhere, and what cannot be told from text stays.
    """
    return _EMPHASIS.sub("", _BLOCK_SIGN.sub("", _LINK.sub(r"\1", markdown)))


def excerpt(html: str, chars_max: int) -> str:
    """The first words of sanitised ``html``, at most ``chars_max`` characters of plain text; an ellipsis ends a cut."""
    read = html[: chars_max * HTML_READ_PER_CHAR]
    *first, last = _lines(read) or [""]
    words = " ".join([*(line if _ENDED.search(line) else f"{line} {SEPARATOR}" for line in first), last])
    if len(words) <= chars_max and len(read) == len(html):
        return words
    cut = words[: chars_max - 1]
    whole_words = cut.rpartition(" ")[0]
    return f"{whole_words or cut}…" if cut else ""


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.blocks: list[list[str]] = [[]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._end_block(tag)

    def handle_endtag(self, tag: str) -> None:
        self._end_block(tag)

    def handle_data(self, data: str) -> None:
        self.blocks[-1].append(data)

    def _end_block(self, tag: str) -> None:
        if tag in BLOCKS:
            self.blocks.append([])


def _lines(html: str) -> list[str]:
    """What stands in each block, in one line; nothing for those without text."""
    words = _Words()
    # Not closed: a tag or an entity that the cut went through is left out.
    words.feed(html)
    lines = (" ".join("".join(block).split()) for block in words.blocks)
    return [line for line in lines if line]
