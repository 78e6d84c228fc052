"""The beginning of a text, for those who show a link to it."""

from html.parser import HTMLParser

HTML_READ_PER_CHAR = 16
"""So many characters of HTML are read for one of the excerpt: enough for text, and a bound for what is all tags."""


def excerpt(html: str, chars_max: int) -> str:
    """The first words of sanitised ``html``, at most ``chars_max`` characters of plain text; an ellipsis ends a cut."""
    read = html[: chars_max * HTML_READ_PER_CHAR]
    words = " ".join(_text(read).split())
    if len(words) <= chars_max and len(read) == len(html):
        return words
    cut = words[: chars_max - 1]
    whole_words = cut.rpartition(" ")[0]
    return f"{whole_words or cut}…" if cut else ""


class _Words(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def _text(html: str) -> str:
    words = _Words()
    # Not closed: a tag or an entity that the cut went through is left out.
    words.feed(html)
    return "".join(words.parts)
