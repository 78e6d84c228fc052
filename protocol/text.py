"""What a client's text must be, and the one form in which it is kept.

Every function returns its text normalised: newlines as ``\\n``, Unicode in NFC. What cannot be shown or stored is
refused, with ``invalid`` unless said otherwise. Lengths are in characters, after normalisation.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from typing import Final, TypeVar
from urllib.parse import urlsplit

from protocol.commands import BODY_CHARS_MAX, POST_BODY_CHARS_MAX, TAGS_MAX, TITLE_CHARS_MAX
from protocol.errors import Refused

T = TypeVar("T")
U = TypeVar("U")

NAME_CHARS_MAX = 80
HANDLE_CHARS_MAX = 30
SLUG_CHARS_MAX = 100
TAG_CHARS_MAX = 40
URL_CHARS_MAX = 2_000
EMAIL_CHARS_MAX = 254
ID_MAX = (1 << 63) - 1
ID_DIGITS_SURE = 18
# The end of the year 9999, beyond which no date can be written.
TIME_MS_MAX = 253_402_300_799_999

# Letters and marks that show nothing although Unicode does not call them spaces or controls.
_VARIATION_SELECTORS: Final = "".join(map(chr, range(0xFE00, 0xFE10)))
_BLANKS: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0" + _VARIATION_SELECTORS)
# They reverse the text that follows, and so let one name pass for another.
_BIDI: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LEADING_BLANK_LINES: Final = re.compile(r"\A(?:[^\S\n]*\n)+")
_SPACES: Final = re.compile(r"\s+")
_HANDLE: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,28}[a-z0-9])")
_SLUG: Final = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
_NOT_SLUG: Final = re.compile(r"[^a-z0-9]+")
_EMAIL: Final = re.compile(r"[^\s@<>\"(),:;\\\[\]]+@[^\s@.]+(?:\.[^\s@.]+)+")
_ID: Final = re.compile(r"[1-9][0-9]{0,18}")
_WORDS: Final = re.compile(r"[!-~]+(?: [!-~]+)*")


def plain(text: str) -> str:
    """``text`` in its kept form; refuses NUL, which Postgres cannot store, and lone surrogates, which UTF-8 cannot."""
    if "\0" in text:
        raise Refused("invalid", "must not contain NUL")
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        raise Refused("invalid", "must not contain lone surrogates") from None
    return unicodedata.normalize("NFC", text)


def visible(text: str) -> bool:
    """Whether any character of it can be seen."""
    return any(not _invisible(character) for character in text)


def _invisible(character: str) -> bool:
    if "!" <= character <= "~":
        return False
    return character.isspace() or character in _BLANKS or unicodedata.category(character) in ("Cc", "Cf")


def comment_body(text: str) -> str:
    """The Markdown of a comment, without the blank around it; refuses ``comment_empty`` and ``comment_too_long``."""
    body = _without_blank_around(plain(text))
    if not visible(body):
        raise Refused("comment_empty")
    if len(body) > BODY_CHARS_MAX:
        raise Refused("comment_too_long", f"a comment has at most {BODY_CHARS_MAX} characters")
    return body


def post_body(text: str) -> str:
    """The Markdown of a post; it may be empty."""
    return _at_most(_without_blank_around(plain(text)), POST_BODY_CHARS_MAX)


def _without_blank_around(text: str) -> str:
    # Not strip(): the indentation of the first line has a meaning in Markdown.
    return (_LEADING_BLANK_LINES.sub("", text) if text[:1].isspace() else text).rstrip()


def one_line(text: str) -> str:
    """Text without line breaks, control characters or more than one space in a row; it may be empty."""
    if _WORDS.fullmatch(text):
        return text
    line = _SPACES.sub(" ", plain(text)).strip()
    if any(character in _BIDI or unicodedata.category(character) == "Cc" for character in line):
        raise Refused("invalid", "must not contain control characters")
    return line


def _shown_line(text: str, chars_max: int) -> str:
    line = one_line(text)
    if not visible(line):
        raise Refused("invalid", "must not be empty")
    return _at_most(line, chars_max)


def _at_most(text: str, chars_max: int) -> str:
    if len(text) > chars_max:
        raise Refused("invalid", f"must have at most {chars_max} characters")
    return text


def title(text: str) -> str:
    return _shown_line(text, TITLE_CHARS_MAX)


def display_name(text: str) -> str:
    return _shown_line(text, NAME_CHARS_MAX)


def handle(text: str) -> str:
    """A name to sign in with, in lower case: 2 to 30 of a–z, 0–9 and, inside, ``. _ -``."""
    lowered = plain(text).strip().lower()
    if not _HANDLE.fullmatch(lowered):
        raise Refused("invalid", "must be 2 to 30 letters a-z, digits, dots, dashes or underscores")
    return lowered


def slug(text: str) -> str:
    """A post's name in its address; empty for none."""
    lowered = plain(text).strip().lower()
    if lowered and not (len(lowered) <= SLUG_CHARS_MAX and _SLUG.fullmatch(lowered)):
        raise Refused("invalid", f"must be a-z and 0-9 joined by single dashes, at most {SLUG_CHARS_MAX} characters")
    return lowered


def slug_of(text: str) -> str:
    """A slug made from a title; empty if the title has no Latin letter or digit."""
    bare = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return _NOT_SLUG.sub("-", bare).strip("-")[:SLUG_CHARS_MAX].strip("-")


def tags(texts: Iterable[str]) -> list[str]:
    """Tags in lower case, each once, in the order given."""
    found = list(dict.fromkeys(_shown_line(text, TAG_CHARS_MAX).lower() for text in texts))
    if len(found) > TAGS_MAX:
        raise Refused("invalid", f"must have at most {TAGS_MAX} tags")
    return found


def web_address(text: str) -> str:
    """An absolute http or https address."""
    address = _at_most(plain(text).strip(), URL_CHARS_MAX)
    try:
        parts = urlsplit(address)
        well_formed = parts.scheme.lower() in ("http", "https") and bool(parts.hostname)
    except ValueError:
        well_formed = False
    if not well_formed or any(not _printable(character) for character in address):
        raise Refused("invalid", "must be an http or https address")
    return address


def _printable(character: str) -> bool:
    return not character.isspace() and character not in '<>"\\' and character.isprintable()


def email_address(text: str) -> str:
    """An e-mail address, in lower case so that it is found again."""
    address = plain(text).strip().lower()
    if len(address) > EMAIL_CHARS_MAX or not _EMAIL.fullmatch(address) or not address.isprintable():
        raise Refused("invalid", "must be an e-mail address")
    return address


def decimal_id(text: str) -> str:
    """An id as the store knows it: decimal, no leading zero, 63 bits."""
    if not _ID.fullmatch(text) or (len(text) > ID_DIGITS_SURE and int(text) > ID_MAX):
        raise Refused("invalid", "must be the decimal digits of an id")
    return text


def operation_id(text: str) -> str:
    """What a client calls one of its writes: 1 to 128 printable ASCII characters."""
    if len(text) > 128 or not _WORDS.fullmatch(text):
        raise Refused("invalid", "must be 1 to 128 printable ASCII characters")
    return text


def unix_ms(time_ms: int) -> int:
    """A time from 1970 to 9999, in Unix milliseconds."""
    if not 0 <= time_ms <= TIME_MS_MAX:
        raise Refused("invalid", "must be a time in Unix milliseconds")
    return time_ms


def in_field(name: str, rule: Callable[[T], U], value: T) -> U:
    """``rule`` applied to a field's value; a refusal as ``invalid`` names the field."""
    try:
        return rule(value)
    except Refused as refusal:
        if refusal.code != "invalid":
            raise
        raise Refused("invalid", f"{name}: {refusal.detail}") from None
