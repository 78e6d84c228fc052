"""Event blocks, as the standard's own rules read them back."""

import pytest
from httpx_sse import ServerSentEvent
from httpx_sse._decoders import SSEDecoder

from protocol.sse import block, chunk, comment


def read(blocks: bytes) -> list[ServerSentEvent]:
    decoder = SSEDecoder()
    events = [decoder.decode(line) for line in blocks.decode().splitlines()]
    return [event for event in events if event is not None]


def test_a_block_has_only_the_fields_that_were_given() -> None:
    assert block(b"x") == b"data: x\n\n"
    assert block(b"x", id="e-1", event="reset", retry_ms=3000) == b"id: e-1\nevent: reset\nretry: 3000\ndata: x\n\n"


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_data_of_many_lines_is_read_back_as_it_was(line_end: str) -> None:
    [event] = read(block(f"a{line_end}{line_end}b: c{line_end}".encode()))
    assert event.data == "a\n\nb: c\n"


def test_a_block_without_an_id_leaves_the_last_one() -> None:
    events = read(block(b"1", id="e-1") + block(b"2") + comment() + comment("still here") + block(b"3", id="e-2"))
    assert [(event.id, event.data) for event in events] == [("e-1", "1"), ("e-1", "2"), ("e-2", "3")]


@pytest.mark.parametrize("value", ["a\nb", "a\rb", "a\0b"])
def test_a_field_that_would_begin_another_is_our_own_mistake(value: str) -> None:
    with pytest.raises(AssertionError):
        block(b"x", id=value)


def test_a_chunk_has_its_length_in_hexadecimal() -> None:
    assert chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
