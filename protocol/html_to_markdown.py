"""HTML as blogs store it, turned into the Markdown that comments and posts are written in here.

Blog engines keep half-HTML: tags, but paragraphs and line breaks as plain newlines, which the common converters
collapse; and what strangers wrote nests as deep as they like, which the recursive ones do not survive. So this is a
small converter of its own, on the standard library's tokenizer: one pass, a bounded stack, no recursion. What Markdown
cannot say (tables, colours, forms) keeps its text. What Markdown would read as markup is escaped, so text stays what
it was.
"""

import re
from html.parser import HTMLParser
from urllib.parse import quote, urlsplit

NESTING_MAX = 20
"""Quotes and lists within each other; those beyond it keep their text, at this depth."""

_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "cite": "*"}
_HEADINGS = {f"h{level}": "#" * level + " " for level in range(1, 7)}
_CONTAINERS = ("blockquote", "ul", "ol", "li")
# fmt: off
_BLOCKS = (
    "address", "article", "aside", "body", "center", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption",
    "figure", "footer", "form", "header", "html", "legend", "main", "nav", "p", "section", "summary", "table", "tbody",
    "tfoot", "thead", "tr",
)
# fmt: on
_SILENT = ("script", "style", "template", "head")
_MEDIA = ("img", "iframe", "embed", "video", "audio", "source")

# CommonMark 0.31, 2.4 (backslash escapes). An underscore within a word is no emphasis: names_like_this stay readable.
_MARKUP = re.compile(r"[\\`*\[\]<~]|(?<![^\W_])_|_(?![^\W_])|&(?=#?\w+;)")
_LINE_START = re.compile(r"([-+=>#|])|(\d{1,9})([.)](?:\s|$))")


def html_to_markdown(html: str, *, newlines_break: bool = True) -> str:
    """The Markdown that renders to what ``html`` shows.

    ``newlines_break``: a newline in the text is a line break and an empty line ends the paragraph, as in what people
    type into a comment form; otherwise newlines are mere spaces, as in a document.
    """
    converter = _Converter(newlines_break)
    # A marked section is no HTML, and the tokenizer asserts that it knows its keyword.
    converter.feed(html.replace("<![", "&lt;!["))
    converter.close()
    return converter.finish()


class _Container:
    """A block that holds blocks: the document, a quote, a list or one of its items."""

    def __init__(self, tag: str, number: int = 0) -> None:
        self.tag = tag
        self.number = number
        """Of the next item, in an ordered list."""
        self.blocks: list[str] = []

    def render(self, marker: str) -> str:
        """The lines of this container as they stand in its parent; ``marker`` is that of a list item."""
        match self.tag:
            case "blockquote":
                return _indented("\n\n".join(self.blocks), "> ", "> ")
            case "li":
                return _indented(_join_item(self.blocks), marker, " " * len(marker))
            case "ul" | "ol":
                return "\n".join(self.blocks)
            case _:
                return "\n\n".join(self.blocks)


class _Span:
    """An open inline element and what it holds so far; a newline in it is a line break."""

    def __init__(self, tag: str, href: str | None = None) -> None:
        self.tag = tag
        self.href = href
        self.parts: list[str] = []

    def render(self) -> str:
        content = "".join(self.parts)
        core = content.strip()
        if not core:
            return content
        if self.tag == "a":
            inner = f"[{_one_line(core)}]({self.href})" if self.href else core
        elif self.tag == "code":
            inner = _code_span(_one_line(core))
        else:
            # Emphasis may neither begin nor end with a space, nor cross from one paragraph to the next.
            inner = "\n".join(_marked(line, _MARKS[self.tag]) for line in core.split("\n"))
        lead = content[: len(content) - len(content.lstrip())]
        trail = content[len(content.rstrip()) :]
        return lead + inner + trail


class _Converter(HTMLParser):
    def __init__(self, newlines_break: bool) -> None:
        super().__init__(convert_charrefs=True)
        self._newlines_break = newlines_break
        self._containers = [_Container("")]
        self._spans = [_Span("")]
        """The paragraph being gathered, and the inline elements open in it."""
        self._heading = ""
        self._preformatted: list[str] | None = None
        self._silent: str | None = None
        self._after_break = False
        self._in_row = False
        """In a table's row, which becomes one line."""

    def finish(self) -> str:
        if self._preformatted is not None:
            self._end_preformatted()
        self._end_paragraph()
        while len(self._containers) > 1:
            self._close_container()
        return self._containers[0].render("")

    # -- what the tokenizer finds

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._silent or self._preformatted is not None:
            return
        if tag in _SILENT:
            self._silent = tag
        elif tag == "br":
            self._append(" " if self._in_row else "\n")
            self._after_break = True
        elif tag == "pre":
            self._end_paragraph()
            self._preformatted = []
        elif tag == "hr":
            self._end_paragraph()
            self._containers[-1].blocks.append("---")
        elif tag in _HEADINGS:
            self._end_paragraph()
            self._heading = _HEADINGS[tag]
        elif tag in _CONTAINERS:
            self._open_container(tag, dict(attrs))
        elif tag in _BLOCKS:
            self._end_paragraph()
            self._in_row = tag == "tr"
        elif tag in ("td", "th"):
            self._append(" | " if "".join(self._spans[0].parts).strip() else "")
        elif tag in _MEDIA:
            self._link_media(dict(attrs))
        elif tag == "a" or tag == "code" or tag in _MARKS:
            self._open_span(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        if self._silent:
            if tag == self._silent:
                self._silent = None
        elif self._preformatted is not None:
            if tag == "pre":
                self._end_preformatted()
        elif tag in _CONTAINERS:
            self._end_paragraph()
            if any(container.tag == tag for container in self._containers):
                while self._close_container() != tag:
                    pass
        elif tag in _BLOCKS or tag in _HEADINGS:
            self._end_paragraph()
            self._in_row = self._in_row and tag != "tr"
        elif any(span.tag == tag for span in self._spans[1:]):
            while self._close_span() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self._silent:
            return
        if self._preformatted is not None:
            self._preformatted.append(data)
            return
        if self._after_break and self._newlines_break:
            # "<br />" and the newline behind it are one line break.
            data = data.lstrip(" \t").removeprefix("\n")
        text = self._spaced(data)
        self._append(text if self._spans[-1].tag == "code" else _MARKUP.sub(r"\\\g<0>", text))

    # -- blocks

    def _open_container(self, tag: str, attributes: dict[str, str | None]) -> None:
        self._end_paragraph()
        if tag == "li" and self._containers[-1].tag == "li":
            self._close_container()
        if len(self._containers) > NESTING_MAX:
            return
        start = attributes.get("start") or ""
        self._containers.append(_Container(tag, int(start) if re.fullmatch(r"[0-9]{1,8}", start) else 1))

    def _close_container(self) -> str:
        closed = self._containers.pop()
        parent = self._containers[-1]
        marker = "- "
        if closed.tag == "li" and parent.tag == "ol":
            marker = f"{parent.number}. "
            parent.number += 1
        if closed.blocks:
            parent.blocks.append(closed.render(marker))
        return closed.tag

    def _end_paragraph(self) -> None:
        while len(self._spans) > 1:
            self._close_span()
        text = "".join(self._spans[0].parts)
        self._spans = [_Span("")]
        self._after_break = False
        heading, self._heading = self._heading, ""
        lines = re.sub(r" *\n *", "\n", re.sub(" {2,}", " ", text)).strip(" \n|" if self._in_row else " \n")
        if not lines:
            return
        if heading:
            self._containers[-1].blocks.append(heading + _one_line(lines))
            return
        for paragraph in re.split(r"\n{2,}", lines):
            self._containers[-1].blocks.append("\\\n".join(_escape_start(line) for line in paragraph.split("\n")))

    def _end_preformatted(self) -> None:
        text = "".join(self._preformatted or ()).strip("\n")
        self._preformatted = None
        fence = "`" * max(3, _longest_run(text) + 1)
        if text.strip():
            self._containers[-1].blocks.append(f"{fence}\n{text}\n{fence}")

    # -- inline

    def _append(self, text: str) -> None:
        if text:
            self._spans[-1].parts.append(text)
            self._after_break = False

    def _spaced(self, data: str) -> str:
        """``data`` with its white space reduced to single spaces, and to newlines where those break lines."""
        data = data.replace("\xa0", " ").replace("\r\n", "\n").replace("\r", "\n")
        if not self._newlines_break or self._in_row or self._spans[-1].tag == "code":
            return re.sub(r"\s+", " ", data)
        return re.sub(r"[^\S\n]+", " ", data)

    def _open_span(self, tag: str, attributes: dict[str, str | None]) -> None:
        if tag == "a":
            if any(span.tag == "a" for span in self._spans):
                self.handle_endtag("a")
            self._spans.append(_Span("a", _address(attributes.get("href"))))
            return
        mark = _MARKS.get(tag, tag)
        # Emphasis within the same emphasis shows nothing new, and code holds text only.
        if all(_MARKS.get(span.tag, span.tag) != mark and span.tag != "code" for span in self._spans):
            self._spans.append(_Span(tag))

    def _close_span(self) -> str:
        closed = self._spans.pop()
        self._append(closed.render())
        return closed.tag

    def _link_media(self, attributes: dict[str, str | None]) -> None:
        address = _address(attributes.get("src"))
        label = (attributes.get("alt") or attributes.get("title") or "").strip()
        if not label and address:
            label = urlsplit(address).path.rpartition("/")[2] or address
        text = _MARKUP.sub(r"\\\g<0>", _one_line(label))
        # A link cannot hold another: a linked picture is the link, under the picture's name.
        linked = address and text and all(span.tag not in ("a", "code") for span in self._spans)
        self._append(f"[{text}]({address})" if linked else text)


def _address(href: str | None) -> str | None:
    """``href`` as a link's target in Markdown, if it is an absolute address of a kind that comments may link to."""
    try:
        address = (href or "").strip()
        parts = urlsplit(address)
    except ValueError:
        return None
    if (parts.scheme in ("http", "https") and parts.netloc) or (parts.scheme == "mailto" and parts.path):
        return quote(address, safe="!#$%&'*+,/:;=?@[]~-._")
    return None


def _marked(line: str, mark: str) -> str:
    text = line.strip()
    return f"{mark}{text}{mark}" if text else ""


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text)


def _code_span(text: str) -> str:
    fence = "`" * (_longest_run(text) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def _longest_run(text: str) -> int:
    """How many backticks stand together at most."""
    return max((len(run) for run in re.findall("`+", text)), default=0)


def _escape_start(line: str) -> str:
    """``line`` with what would begin a heading, a quote, a list, a table or a rule escaped."""
    found = _LINE_START.match(line)
    if not found:
        return line
    return line[: found.start(3)] + "\\" + line[found.start(3) :] if found[2] else "\\" + line


def _indented(text: str, first: str, rest: str) -> str:
    return "\n".join(((first if at == 0 else rest) + line).rstrip() for at, line in enumerate(text.split("\n")))


def _join_item(blocks: list[str]) -> str:
    """The blocks of a list item. A list within it stands close to its line, if it is one that may interrupt it."""
    joined = blocks[0]
    for block in blocks[1:]:
        joined += ("\n" if block.startswith(("- ", "1. ")) else "\n\n") + block
    return joined
