"""Who is subscribed to a stream: what each worker says of its own subscribers, and what that makes together.

However many there are, a worker says little: names of a few, or of none, and a bitmap of people, so that who is on two
workers is counted once.
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct
from pyroaring import BitMap

from protocol.delivery import PRESENT_LISTED_MAX, Presence, Present, Sink


class Here(Struct, frozen=True, array_like=True):
    """What one worker says."""

    clients: int
    users: bytes
    """A bitmap: 2 bytes for each of a few people; of a million accounts it has at most 128 KiB."""
    listed: list[Present]


def encode_here(sinks: Sequence[Sink]) -> bytes:
    """The subscribers of one worker."""
    users = BitMap({sink.by.id for sink in sinks})
    users.discard(0)
    few = len(sinks) <= PRESENT_LISTED_MAX
    listed = [Present(sink.client, sink.by) for sink in sinks] if few else []
    return msgspec.msgpack.encode(Here(len(sinks), users.serialize(), listed))


def together(said: Iterable[bytes]) -> Presence:
    """The subscribers of all who have said something."""
    clients, users, listed = 0, BitMap(), list[Present]()
    for data in said:
        here = msgspec.msgpack.decode(data, type=Here)
        clients += here.clients
        users |= BitMap.deserialize(here.users)
        listed += here.listed
    return Presence(clients, len(users), listed if clients <= PRESENT_LISTED_MAX else [])
