"""What waits to be sent over a bus."""

from store.bus import PENDING_BYTES_MAX
from store.outgoing import MESSAGE_OVERHEAD_BYTES, Outgoing


def test_messages_leave_in_order_and_inboxes_take_turns() -> None:
    outgoing = Outgoing()
    for inbox, message in (("a", b"1"), ("b", b"2"), ("a", b"3"), ("a", b"4")):
        assert outgoing.put(inbox, message)
    room_for_two = 2 * (1 + MESSAGE_OVERHEAD_BYTES)
    taken = []
    while outgoing:
        taken.append(outgoing.next(room_for_two))
    assert taken == [("a", [b"1", b"3"]), ("b", [b"2"]), ("a", [b"4"])]


def test_a_message_larger_than_allowed_leaves_alone() -> None:
    outgoing = Outgoing()
    for message in (b"large" * 10, b"small"):
        outgoing.put("a", message)
    assert outgoing.next(20) == ("a", [b"large" * 10])
    assert outgoing.next(20) == ("a", [b"small"])


def test_there_is_room_again_for_what_has_left_or_was_dropped() -> None:
    outgoing = Outgoing()
    half = bytes(PENDING_BYTES_MAX // 2 - MESSAGE_OVERHEAD_BYTES)
    assert [outgoing.put("a", half), outgoing.put("b", half), outgoing.put("b", b"")] == [True, True, False]
    outgoing.next(1)
    assert [outgoing.put("a", half), outgoing.put("a", b"")] == [True, False]
    assert outgoing.clear() == 2
    assert not outgoing
    assert outgoing.put("a", half + half)
